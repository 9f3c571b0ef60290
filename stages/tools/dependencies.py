"""Write the code dependencies of each stage into dvc.yaml, as computed from imports.

`python -m stages.tools.dependencies` after a change of imports; a test compares what is committed with
what this command writes.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stages.core.errors import exit_on_user_error
from stages.core.files import write
from stages.core.task import STAGES
from stages.kinds.registry import KINDS

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = Path("dvc.yaml")
KIND_FOLDER = Path("stages/kinds")
# DVC tracks params by value, so a stage of a task does not depend on the code that checks them.
CHECKED_BY_VALUE = {
    "stages/kinds/params.py",
    "stages/kinds/registry.py",
    "stages/kinds/kind.py",
    "stages/core/params.py",
    "stages/core/schema.py",
    *(f"stages/kinds/{kind}/{name}.py" for kind in KINDS for name in ("__init__", "schema")),
}
_DATA_SUFFIXES = (".j2", ".json", ".js", ".css")
_TEMPLATE_PARTS = re.compile(r"{% (?:extends|include|from) \"([^\"]+)\"")


@cache
def imports(path: Path) -> frozenset[Path]:
    """Return the project's files that `path` uses when it runs: modules, templates, specifications.

    Imports for type checkers only (`if TYPE_CHECKING`) do not count.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".py":
        return frozenset(_used(ROOT / path, ast.parse(text)))
    return frozenset(path.parent / name for name in _TEMPLATE_PARTS.findall(text))


def _used(path: Path, node: ast.AST) -> Iterator[Path]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.endswith(_DATA_SUFFIXES)
    ):
        yield from (file.relative_to(ROOT) for file in path.parent.glob(f"*/{node.value}"))
    for name in names:
        file = Path(name.replace(".", "/") + ".py")
        if name.startswith("stages") and (ROOT / file).is_file():
            yield file
    for child in ast.iter_child_nodes(node):
        yield from _used(path, child)


def closure(*entries: Path, excluded: Iterable[str] = ()) -> set[str]:
    """Return the files that `entries` use, directly or not, themselves included.

    Args:
        entries: paths below the project's root.
        excluded: files to leave out, with what only they use.
    """
    pending, visited = list(entries), set[Path]()
    while pending:
        path = pending.pop()
        if path in visited or path.as_posix() in excluded:
            continue
        visited.add(path)
        if path.suffix in {".py", ".j2"}:
            pending += imports(path)
    return {path.as_posix() for path in visited}


def code_dependencies(stage: str) -> list[str]:
    """Return the code among the dependencies of a stage, sorted.

    A file that each kind has under the same name is listed once, with `${item.kind}` for the kind.
    """
    entry = Path(f"stages/{stage}.py")
    if stage not in STAGES:
        return sorted(closure(entry))
    files: set[str] = set()
    by_kind: dict[str, set[str]] = {}
    for kind in KINDS:
        used = closure(entry, KIND_FOLDER / kind / f"{stage}.py", excluded=CHECKED_BY_VALUE)
        prefix = f"{(KIND_FOLDER / kind).as_posix()}/"
        by_kind[kind] = {path.removeprefix(prefix) for path in used if path.startswith(prefix)}
        files |= {path for path in used if not path.startswith(prefix)}
    used_names = set.union(*by_kind.values())
    common = {
        name
        for name in used_names
        if all((ROOT / KIND_FOLDER / kind / name).is_file() for kind in KINDS)
    }
    files |= {f"{KIND_FOLDER.as_posix()}/${{item.kind}}/{name}" for name in common}
    files |= {
        f"{KIND_FOLDER.as_posix()}/{kind}/{name}"
        for kind in KINDS
        for name in by_kind[kind] - common
    }
    return sorted(files)


def rewrite(text: str) -> str:
    """Return the text of dvc.yaml with the code dependencies of each stage computed anew."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    pipeline: Any = yaml.load(text)
    for name, stage in pipeline["stages"].items():
        body = stage.get("do", stage)
        data = [dep for dep in body["deps"] if not dep.startswith("stages/")]
        body["deps"] = [*data, *code_dependencies(name)]
    stream = io.StringIO()
    yaml.dump(pipeline, stream)
    return stream.getvalue()


def main() -> None:
    """Rewrite dvc.yaml."""
    with exit_on_user_error("dependencies"):
        write(PIPELINE, rewrite(PIPELINE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
