"""Print docs/reference.md: commands, exit statuses, params, and the files of a pack.

`python -m stages.tools.reference > docs/reference.md` after a change of any of them; a test compares what
is committed with what this command prints. Meanings are in reference.yaml.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import (
    EVIDENCE_ERROR_STATUS,
    INTERRUPTED_STATUS,
    USER_ERROR_STATUS,
    UserError,
    exit_on_user_error,
)
from stages.core.files import read_json
from stages.core.params import read_yaml
from stages.core.task import STAGES, Task
from stages.kinds.params import load_tasks
from stages.kinds.registry import KINDS
from stages.report.artifacts import Artifact
from stages.report.formatting import markdown_table
from stages.tools.cli import COMMANDS
from stages.tools.reference_params import params_sections

MEANINGS = Path(__file__).with_name("reference.yaml")
_INTRODUCTION = """# Reference

Printed by `python -m stages.tools.reference` from the code, params.yaml and the committed evidence; do not
edit it by hand. How the parts work together: [design.md](design.md)."""
_STATUSES = {
    0: "success; of `evidence verify`: nothing disagrees; of `evidence compare` for two tables or "
    "revisions: B is better or equivalent, or predicts the same",
    1: "of `evidence compare`: that is not shown; of `evidence grade`: a submission could not be read; "
    "otherwise a disagreement: of `evidence verify` a stage is *outside*, of `evidence faults run` a fault "
    "is missed or a warning false, of `evidence repro` (and so `make repro`) a result is outside the "
    "measured tolerance",
    USER_ERROR_STATUS: "wrong input or a failed check, in one line that says what to do; of `evidence "
    "verify`: something that was requested could not be checked",
    EVIDENCE_ERROR_STATUS: "stored results contradict each other or their source: weights and log, data "
    "and hash",
    INTERRUPTED_STATUS: "interrupted with Ctrl-C; the same command resumes",
    255: "`dvc repro`: a stage failed; the stage's own line stands above DVC's",
}


def reference() -> str:
    """Return the text of docs/reference.md.

    Raises:
        UserError: a param, a file or a column of the committed packs has no meaning in reference.yaml.
    """
    tasks, meanings = load_tasks(), read_yaml(MEANINGS)
    parts = [
        _INTRODUCTION,
        *_commands(),
        *_exit_statuses(),
        *_params(meanings["params"]),
        *_files(tasks, meanings["files"]),
    ]
    return "\n\n".join(parts) + "\n"


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield "`evidence COMMAND --help` lists the arguments of a command."
    yield markdown_table(
        ("command", "what it does", "example"),
        (
            (f"`evidence {name}`", command.purpose, f"`{command.examples[0]}`")
            for name, command in COMMANDS.items()
        ),
    )
    stages = ", ".join(f"`{name}`" for name in STAGES)
    yield (
        f"Each stage also runs alone: `python -m stages.STAGE TASK`, where STAGE is one of {stages}. "
        "`python -m stages.params` and `python -m stages.compare` take no task. `make help` lists the "
        "targets of the Makefile."
    )


def _exit_statuses() -> Iterator[str]:
    yield "## Exit statuses"
    yield markdown_table(("status", "meaning"), _STATUSES.items(), [0])


def _params(meanings: Mapping[str, str]) -> Iterator[str]:
    yield "## Params"
    yield (
        "Unknown keys are errors. Rules that involve several "
        "keys are checked as well, and the error names them. `dvc exp run -S 'KEY=VALUE'` takes the full "
        "key: `tasks.image.train.epochs`."
    )
    yield from params_sections(meanings)


def _files(tasks: Mapping[str, Task], meanings: Mapping[str, Any]) -> Iterator[str]:
    files = pack_files(tasks, meanings)
    yield "## Files of a pack"
    yield (
        "Paths are below `evidence/<task>`. A pack also holds the pages README.md and index.html, and "
        "their pictures. Every stage writes its files to `data/<stage>/<task>`; the pack copies those in "
        "the table."
    )
    titles = [kind.title for kind in KINDS.values()]
    yield markdown_table(
        ("file", "written by", *titles),
        (
            (
                f"[{file.name}](#{_anchor(file.name)})" if file.meanings else file.name,
                file.written_by,
                *("yes" if title in file.kinds else "" for title in titles),
            )
            for file in files
        ),
    )
    for file in files:
        if file.meanings:
            yield f"### {file.name}"
            yield f"{file.about[0].upper()}{file.about[1:]}."
            yield _column_table(file, titles)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _column_table(file: "PackFile", titles: Sequence[str]) -> str:
    """Return the columns of a file, with the kinds that have a column where not all do."""
    rows: list[tuple[str, ...]] = []
    for column, meaning in file.meanings.items():
        kinds = file.columns.get(column) or file.kinds
        only = "" if kinds == file.kinds else ", ".join(title for title in titles if title in kinds)
        rows.append((f"`{column}`", meaning, only))
    header: tuple[str, ...] = (
        "key" if file.name.endswith(".json") else "column",
        "meaning",
        "only in",
    )
    if not any(only for *_, only in rows):
        header, rows = header[:2], [row[:2] for row in rows]
    return markdown_table(header, rows)


@dataclass
class PackFile:
    """A file of a pack.

    Attributes:
        name: its path below evidence/<task>.
        about: what it holds.
        written_by: the stage, with the stage's own name of the file where it differs.
        meanings: by column or key.
        kinds: the titles of the kinds whose packs hold it.
        columns: by column or key, the titles of the kinds in whose committed packs it occurs.
    """

    name: str
    about: str
    written_by: str
    meanings: Mapping[str, str]
    kinds: set[str] = field(default_factory=set)
    columns: dict[str, set[str]] = field(default_factory=dict)


def pack_files(tasks: Mapping[str, Task], meanings: Mapping[str, Any]) -> list[PackFile]:
    """Return the files of the tasks' packs, in the order of `meanings`.

    Raises:
        UserError: a file or a column of a committed pack has no meaning.
    """
    files: dict[str, PackFile] = {}
    missing: list[str] = []
    for task in tasks.values():
        title = KINDS[task.kind].title
        artifacts = {f"data/{a.packed_as}": a for a in task.module("artifacts").artifacts(task)}
        committed = _committed(task)
        for name in dict.fromkeys([*artifacts, *committed]):
            if name not in meanings:
                missing.append(f"{task.evidence / name}")
                continue
            file = files.setdefault(name, _pack_file(name, artifacts.get(name), meanings[name]))
            file.kinds.add(title)
            for column in columns_of(task.evidence / name) if name in committed else ():
                documented = match_column(column, file.meanings)
                if documented:  # what all kinds have: a committed file may be of an earlier version
                    same = meanings[name].get("kinds") == "all"
                    file.columns.setdefault(documented, set()).update(
                        file.kinds if same else {title}
                    )
                elif file.meanings:
                    missing.append(f"{task.evidence / name}: {column}")
    if missing:
        raise UserError(
            f"stages/tools/{MEANINGS.name} does not say what these are; add them: {', '.join(missing)}"
        )
    return [files[name] for name in meanings if name in files]


def _pack_file(name: str, artifact: Artifact | None, meaning: Mapping[str, Any]) -> PackFile:
    if artifact is None:
        stage, stage_file = meaning["written_by"], meaning.get("stage_file", "")
    else:
        stage = artifact.stage
        stage_file = artifact.file if artifact.file != artifact.packed_as else ""
    writer = f"{stage}, as {stage_file}" if stage_file else stage
    kinds = {kind.title for kind in KINDS.values()} if meaning.get("kinds") == "all" else set()
    return PackFile(name, meaning["about"], writer, meaning.get("columns", {}), kinds)


def _committed(task: Task) -> list[str]:
    """Return the files of a pack on disk but for its pages and pictures, as paths below its folder."""
    paths = [
        path for pattern in ("*.json", "*.csv", "data/*") for path in task.evidence.glob(pattern)
    ]
    return sorted(path.relative_to(task.evidence).as_posix() for path in paths)


def columns_of(path: Path) -> list[str]:
    """Return the columns of a CSV file, the dotted keys of a JSON file, or none of another file."""
    if path.suffix == ".json":
        return list(dict.fromkeys(_keys(read_json(path))))
    if path.suffix != ".csv":
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _keys(value: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted keys of nested values; the items of a list of mappings share one, with []."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _keys(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for item in value:
            yield from _keys(item, f"{key}[]")
    elif key and value != []:  # an empty list does not show what its items have
        yield key


def match_column(column: str, known: Iterable[str]) -> str:
    """Return the name among `known` that stands for a column: itself, or one with <...>; "" if none."""
    if column in known:
        return column
    patterns = {name: re.sub(r"<\w+>", ".+", re.escape(name)) for name in known if "<" in name}
    return next((name for name, pattern in patterns.items() if re.fullmatch(pattern, column)), "")


def main() -> None:
    """Print the reference."""
    with exit_on_user_error("reference"):
        print(reference(), end="")


if __name__ == "__main__":
    main()
