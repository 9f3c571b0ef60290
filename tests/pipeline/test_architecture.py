"""The rules of the code: imports point down only, files and functions are short, names are nouns."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT

# From the bottom to the top; a package may import from itself and from those before it.
LAYERS = ("core", "datasets", "training", "evaluation", "report", "kinds", "stage modules", "tools")
STAGE_MODULES = {
    "baseline.py",
    "check.py",
    "compare.py",
    "evaluate.py",
    "failures.py",
    "pack.py",
    "params.py",
    "prepare.py",
    "train.py",
}
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
# Pronouns, participles and adverbs, which do not say what a value is.
UNCLEAR_NAMES = set(
    """
    answered asked away both chosen done each either elsewhere everybody everyone everything found
    given gone got held her here hers herself him himself his how it its itself kept learnt left lent
    many me mine more most much my nobody nothing now nowhere one ones other others our ours own ran
    reached said saw seen she shown some somebody someone something that their theirs them then there
    these they thing things this those told us want wanted way ways we what when where which whole who
    whom whose why you your yours
    """.split()  # noqa: SIM905 (easier to read)
)
# Exceptions, by file.
ALLOWED_NAMES = {
    # Columns of experiments.csv.
    "stages/tools/experiment.py": {"why"},
    "stages/evaluation/experiment_log.py": {"why", "kept"},
}

FILES = sorted((ROOT / "stages").rglob("*.py"))


def layer(module: str) -> int:
    """Return the layer of a module: `stages.core.files` -> 0."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 and parts[1] in LAYERS else "stage modules"
    return LAYERS.index(name)


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[str]:
    """Yield the project's modules that a file imports, in functions and for type checkers as well."""
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("stages"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
            assert node.module
            yield node.module
            for alias in node.names:
                path = ROOT / node.module.replace(".", "/") / alias.name
                if path.is_dir() or path.with_suffix(".py").is_file():
                    yield f"{node.module}.{alias.name}"


def kind_of(module: str) -> str | None:
    """Return the kind whose package contains a module."""
    parts = module.split(".")
    is_package = parts[1:2] == ["kinds"] and len(parts) > 2
    return parts[2] if is_package and (ROOT / "/".join(parts[:3])).is_dir() else None


def bindings(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds: variables, loop variables, parameters, functions, attributes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.id if isinstance(node, ast.Name) else node.attr
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.alias) and node.asname:
        yield node.asname
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name


def test_imports_point_down_only() -> None:
    wrong = [
        f"{module_name(file)} imports {target}"
        for file in FILES
        for target in imports(file)
        if layer(target) > layer(module_name(file))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_shared_packages_know_no_kind_and_kinds_do_not_know_each_other() -> None:
    wrong = []
    for file in FILES:
        module = module_name(file)
        for target in imports(file):
            kind = kind_of(target)
            if kind and kind_of(module) != kind and module != "stages.kinds.registry":
                wrong.append(f"{module} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_stages_contains_only_the_stage_modules_and_packages() -> None:
    entries = [path for path in (ROOT / "stages").iterdir() if path.name != "__pycache__"]
    files = {path.name for path in entries if path.is_file()}
    packages = {path.name for path in entries if path.is_dir()}
    assert files == STAGE_MODULES | {"__init__.py"}
    assert packages == set(LAYERS) - {"stage modules"}


def test_files_are_short() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    long = {str(file): length for file, length in lengths.items() if length > MAX_FILE_LINES}
    assert not long, long


def test_functions_are_short() -> None:
    long = [
        f"{file}:{node.lineno} {node.name}: {length} lines"
        for file in FILES
        for node in ast.walk(parse(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("package", [*sorted({*LAYERS} - {"stage modules"}), "."])
def test_names_say_what_a_value_is(package: str) -> None:
    folder = ROOT / "stages" / package
    files = sorted(folder.glob("*.py") if package == "." else folder.rglob("*.py"))
    wrong = []
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        for node in ast.walk(parse(file)):
            for binding in bindings(node):
                bare = binding.strip("_").lower()
                if bare in UNCLEAR_NAMES - ALLOWED_NAMES.get(name, set()):
                    wrong.append(f"{name}:{getattr(node, 'lineno', 0)} {binding}")
    assert not wrong, "\n".join(wrong)
