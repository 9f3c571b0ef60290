"""Add a task for your own images or texts: a section in params.yaml, and a review note.

A folder with a sub-folder of images for each class becomes a task of image classification (or, with
--kind image_generation, of generation). A CSV or TSV file with a header, a text and its label in each row,
becomes one of text classification. The data are surveyed and not changed; every proposed param can be
edited in params.yaml afterwards. `evidence remove NAME` undoes it.
"""

import argparse
import os
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError, printable

if TYPE_CHECKING:
    from stages.kinds.kind import Kind
    from stages.kinds.proposal import Proposal

_COMMENT_COLUMN = 26  # where comments in params.yaml begin, unless the value is longer
_OUTPUTS = ("data/params", "data/compare", "data/resume", "evidence", "metrics", "plots", "stages")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", help="of the task: lower-case letters, digits and underscores")
    parser.add_argument("path", help="the folder of images, or the table of texts")
    parser.add_argument("--kind", help="of the task (default: by the type of PATH)")


def run(arguments: argparse.Namespace) -> None:
    """Write the section and the review note; print the facts about the data and the proposed params."""
    from stages.core.files import write
    from stages.kinds.params import FILE
    from stages.report.review import FOLDER

    _check_name(arguments.name)
    path = _params_path(arguments.path, arguments.name)
    kind = _select_kind(arguments.kind, Path(path))
    proposal = _propose(kind, Path(path), arguments.name)
    values = {**proposal.values, "name": arguments.name, "path": _yaml(path)}
    section = fill_template(_template(kind, "template.yaml"), values)
    params = _extended_params(FILE.read_bytes().decode(), section, arguments.name)
    note = FOLDER / f"{arguments.name}.md"
    has_note = note.exists()
    if not has_note:
        write(note, _template(kind, "review.md").format(name=arguments.name))
    write(FILE, params)
    _print(arguments.name, kind, proposal, path)
    print(f"written: {FILE} (tasks.{arguments.name}){f', {note}' if not has_note else ''}")
    print(f"next: dvc repro pack@{arguments.name}")


def _params_path(path: str, name: str) -> str:
    """Return `path` as params.yaml names it: relative where it lies in this folder.

    Raises:
        UserError: it does not exist, or the pipeline writes there.
    """
    from stages.core.task import DATA, STAGES

    try:
        exists = Path(path).exists()
    except (OSError, ValueError):
        exists = False
    if not exists or not path:
        raise UserError(f"given path {path!r}; no such file or folder")
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
    if not absolute.is_relative_to(Path.cwd()):
        return str(Path(path))
    relative = absolute.relative_to(Path.cwd())
    outputs = [*_OUTPUTS, *(f"{DATA}/{stage}" for stage in STAGES)]
    overlaps = [
        output
        for output in outputs
        if relative.is_relative_to(output) or Path(output).is_relative_to(relative)
    ]
    if overlaps:
        raise UserError(
            f"given path {path!r}; the project itself writes to {overlaps[0]}; move the data elsewhere, "
            f"for example to {DATA}/raw/{name}"
        )
    return relative.as_posix()


def _check_name(name: str) -> None:
    from stages.kinds.params import FILE, TASK_NAME, load_params

    if not re.fullmatch(TASK_NAME, name):
        raise UserError(
            f"given name {name!r}; must begin with a lower-case letter, and have lower-case letters, "
            "digits and underscores only, at most 40 in all"
        )
    if name in load_params().tasks:
        raise UserError(f"{FILE}: tasks.{name} exists already; give another name")


def _select_kind(name: str | None, path: Path) -> "Kind":
    """Return the kind of that name, or the first that reads a folder or file like `path`.

    Raises:
        UserError: there is no such kind, it proposes nothing, or reads the other of folder and file.
    """
    from stages.kinds.registry import KINDS

    kinds = {kind.name: kind for kind in KINDS.values() if kind.can_propose}
    data = "folder" if path.is_dir() else "file"
    suitable = [kind for kind in kinds.values() if kind.data == data]
    if name is None and suitable:
        return suitable[0]
    if name not in kinds:
        raise UserError(f"--kind: given {name!r}; must be one of {', '.join(kinds)}")
    if kinds[name].data != data:
        raise UserError(f"--kind: {name} needs a {kinds[name].data}; {path} is a {data}")
    return kinds[name]


def _propose(kind: "Kind", path: Path, name: str) -> "Proposal":
    from importlib import import_module

    proposal: Proposal = import_module(f"stages.kinds.{kind.name}.propose").propose(path, name)
    return proposal


def _template(kind: "Kind", file: str) -> str:
    return resources.files(f"stages.kinds.{kind.name}").joinpath(file).read_text(encoding="utf-8")


def _yaml(text: str) -> str:
    from stages.kinds.proposal import yaml_scalar

    return yaml_scalar(text)


def fill_template(template: str, values: dict[str, str]) -> str:
    """Return the template with its placeholders filled in, and its comments aligned."""
    lines = []
    for line in template.splitlines():
        code, mark, comment = line.partition(" # ")
        filled = code.format(**values)
        lines.append(f"{filled.rstrip():<{_COMMENT_COLUMN - 1}}{mark}{comment}" if mark else filled)
    return "\n".join(lines) + "\n"


def _extended_params(text: str, section: str, name: str) -> str:
    """Return params.yaml with the section added, once the result is known to be valid.

    Raises:
        UserError: the file's form leaves no place for a section, or the params are not allowed.
    """
    from stages.kinds.params import FILE, check_params
    from stages.tools.yaml_sections import add_section, parse

    try:
        extended = add_section(text, "tasks", section)
    except UserError as error:
        raise UserError(f"{FILE}: {error}") from None
    before, after = parse(text), parse(extended)
    if {**before, "tasks": {**before["tasks"], name: after["tasks"].get(name)}} != after:
        raise UserError(
            f"{FILE}: its form leaves no place for a section below tasks; add it by hand"
        )
    check_params(after)
    return extended


def _print(name: str, kind: "Kind", proposal: "Proposal", path: str) -> None:
    print(f"{name}: {kind.title} of {path}")
    for subject, fact in proposal.data.items():
        print(f"  {subject}: {printable(fact)}")
    print(f"proposed, below tasks.{name}:")
    for key, value in proposal.settings.items():
        print(f"  {key}: {printable(value)}")
    remarks = [*proposal.remarks, *_storage_remarks(path)]
    for remark in remarks:
        print(f"note: {printable(remark)}")


def _storage_remarks(path: str) -> list[str]:
    """Return whether others who clone the repository have the data."""
    from stages.core.processes import git

    if Path(path).is_absolute() or ".." in Path(path).parts:
        outside = (
            "DVC notices when its content changes, but git does not have it; others need it at"
        )
        return [f"{path} lies outside this repository: {outside} the same path"]
    try:
        in_git = git(Path.cwd(), "ls-files", "--", path)
    except UserError:
        in_git = ""
    if in_git or Path(f"{path}.dvc").exists():
        return []
    return [
        f"{path} is not in git; `git add` it, or `dvc add` it where it is large, so that others have it"
    ]
