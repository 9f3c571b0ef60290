"""Add a task for your own images or texts: a section in params.yaml, and a review note.

A folder with a sub-folder of images for each class becomes a task of image classification (or, with
--kind image_generation, of generation). A CSV or TSV file with a header, a text and its label in each row,
becomes one of text classification. The data are surveyed, a few training steps are timed, and params
proposed that fit both; all can be edited in params.yaml afterwards. DVC tracks the data, which stay where
they are. In a terminal the proposal is shown first, and written once you agree. `evidence remove NAME`
undoes it.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Collection
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError, printable

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.kinds.kind import Kind
    from stages.kinds.proposal import DataOptions, Proposal

_OUTPUTS = ("data/params", "data/compare", "data/resume", "evidence", "metrics", "plots", "stages")
_LONGEST_CELL = 60  # characters of the table of proposals
LAYOUTS = ("classes", "splits", "table")
DECLINED_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", help="of the task: lower-case letters, digits and underscores")
    parser.add_argument("path", help="the folder of images, or the table of texts")
    parser.add_argument("--kind", help="of the task (default: by the type of PATH)")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        help="of a folder of images, where it can be read in several ways",
    )
    parser.add_argument("--text", metavar="COLUMN", help="of a table: the column of texts")
    parser.add_argument("--label", metavar="COLUMN", help="of a table: the column of labels")
    parser.add_argument(
        "--groups",
        metavar="REGEX",
        help="what must not be in two splits: a regular expression on the path of an image, whose first "
        "group names it; of a table, a column; or none",
    )
    parser.add_argument(
        "--minutes",
        metavar="N",
        help="for all stages of the task on this machine (default: at most 10 minutes of training a seed)",
    )
    parser.add_argument(
        "--no-track", action="store_true", help="do not let DVC track data that git does not hold"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")


def run(arguments: argparse.Namespace) -> int:
    """Propose params, and write the section and the review note; return the exit status."""
    from stages.core.runtime import pin_threads
    from stages.kinds.params import load_params
    from stages.kinds.plans import Budget
    from stages.kinds.proposal import fill_template, read_template
    from stages.tools.schedule import minutes, scheduled

    params = load_params()
    pin_threads(params.runtime)  # before numpy is imported
    name = arguments.name
    _check_name(name, params.tasks)
    path = _params_path(arguments.path, name)
    kind = _select_kind(arguments.kind, Path(path))
    budget = Budget.of_minutes(minutes(arguments.minutes) if arguments.minutes else None)
    asks = not arguments.yes and sys.stdin.isatty() and sys.stdout.isatty()
    proposal = _propose(kind, Path(path), arguments, asks=asks)
    if arguments.minutes and proposal.ladder is None:
        raise UserError(f"--minutes: a task of {kind.title} has a fixed training; leave it out")
    proposal = scheduled(kind, name, proposal, budget, params.runtime)
    section = fill_template(read_template(kind.name, "template.yaml"), proposal.values)
    _extended_params(section, name)  # refuses what cannot be added before anything is asked
    _print(name, kind, proposal, path)
    if not asks and not arguments.yes:
        print("not a terminal: nothing is asked, as with --yes", file=sys.stderr)
    if asks and not _confirmed("Add this task?", default=True):
        print("nothing was written")
        return DECLINED_STATUS
    note = read_template(kind.name, "review.md").format(name=name)
    files = _add_task(name, path, section, note, track=not arguments.no_track)
    print(f"written: {', '.join(map(str, files))}")
    print(f"next: dvc repro pack@{name}")
    return 0


def _add_task(name: str, path: str, section: str, note: str, *, track: bool) -> list[Path]:
    """Track the data, write the review note, an empty log and the section; after an error, undo it.

    Args:
        name: of the task.
        path: of its data.
        section: of params.yaml.
        note: the review note, which is written where there is none.
        track: whether DVC may track the data.

    Returns:
        The files that are new or changed.
    """
    from stages.core.files import write
    from stages.evaluation.experiment_log import LOG, to_table
    from stages.kinds.params import FILE
    from stages.report.review import FOLDER
    from stages.tools.tracking import untrack

    contents: dict[Path, Content] = {
        FOLDER / f"{name}.md": note,
        Path("evidence", name, LOG): to_table([]),
    }
    tracking_files, notes = _track(path, name, track=track), []
    try:
        for note_path in [path for path in contents if not path.exists()]:
            write(note_path, contents[note_path])
            notes.append(note_path)
        # Read again: people and other commands may have changed the file since the proposal.
        write(FILE, _extended_params(section, name))
    except BaseException:
        for note_path in notes:
            note_path.unlink()
            if note_path.parent.name == name and not any(note_path.parent.iterdir()):
                note_path.parent.rmdir()
        if tracking_files:
            untrack(path, name, [])
        raise
    return [FILE, *tracking_files, *notes]


def _confirmed(question: str, *, default: bool) -> bool:
    """Return the answer to a question; an empty one, or the end of the input, is the default."""
    choices = "Y/n" if default else "y/N"
    while True:
        try:
            answer = input(f"{question} [{choices}] ").strip().lower()
        except EOFError:
            return False
        if answer in {"", "y", "yes", "n", "no"}:
            return answer in {"y", "yes"} if answer else default


def _params_path(path: str, name: str) -> str:
    """Return `path` as params.yaml names it: relative where it lies in this folder, absolute elsewhere.

    A relative path to a place outside would lead elsewhere from the folder of an experiment. Links are
    followed: neither git nor DVC holds what they lead to.

    Raises:
        UserError: it does not exist, is a pipe or a device, or the pipeline writes there.
    """
    from stages.core.task import DATA, FOLDERS
    from stages.tools.tracking import is_inside

    try:
        exists = Path(path).exists()
    except (OSError, ValueError):
        exists = False
    if not exists or not path:
        raise UserError(f"given path {path!r}; no such file or folder")
    if not (Path(path).is_file() or Path(path).is_dir()):  # reading a pipe waits for its writer
        raise UserError(f"given path {path!r}; must be a regular file or a folder")
    if not is_inside(path):
        return str(Path(path).resolve())
    relative = Path(path).resolve().relative_to(Path.cwd().resolve())
    outputs = [*_OUTPUTS, *(f"{DATA}/{folder}" for folder in FOLDERS)]
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


def _check_name(name: str, tasks: Collection[str]) -> None:
    from stages.kinds.params import FILE, RESERVED_NAMES, TASK_NAME

    if not re.fullmatch(TASK_NAME, name):
        raise UserError(
            f"given name {name!r}; must begin with a lower-case letter, and have lower-case letters, "
            "digits and underscores only, at most 40 in all"
        )
    if name in RESERVED_NAMES:
        raise UserError(f"given name {name!r}; evidence/{name} is no task's: give another name")
    if name in tasks:
        raise UserError(f"{FILE}: tasks.{name} exists already; give another name")


def _select_kind(name: str | None, path: Path) -> "Kind":
    """Return the kind of that name, or the first that reads a folder or file like `path`.

    Raises:
        UserError: there is no such kind, it proposes nothing, or reads the other of folder and file.
    """
    from stages.kinds.registry import KINDS

    kinds = {kind.name: kind for kind in KINDS.values() if kind.can_propose}
    data = "folder" if path.is_dir() and not _holds_tables(path) else "file"
    suitable = [kind for kind in kinds.values() if kind.data == data]
    if name is None and suitable:
        return suitable[0]
    if name not in kinds:
        raise UserError(f"--kind: given {name!r}; must be one of {', '.join(kinds)}")
    if kinds[name].data != data:
        raise UserError(f"--kind: {name} needs a {kinds[name].data}; {path} is a {data}")
    return kinds[name]


def _holds_tables(folder: Path) -> bool:
    """Return whether a folder holds a table of training data, and neither images nor folders."""
    from stages.datasets.images.folder_tree import is_image_name
    from stages.datasets.tables.reading import SUFFIXES, official_split

    entries = [*folder.iterdir()]
    if any(entry.is_dir() or (entry.suffix and is_image_name(entry.name)) for entry in entries):
        return False
    names = [entry.name.lower() for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    return any(official_split(name.partition(".")[0]) == "train" for name in names)


def _propose(kind: "Kind", path: Path, arguments: argparse.Namespace, *, asks: bool) -> "Proposal":
    """Return the kind's proposal, with the groups that file names suggest where the user wants them."""
    from stages.kinds.proposal import DataOptions, yaml_scalar

    options = DataOptions(arguments.layout, arguments.groups, arguments.text, arguments.label)
    _check_options(kind, options)
    propose = import_module(f"stages.kinds.{kind.name}.propose").propose
    proposal: Proposal = propose(path, arguments.name, options)
    hint = proposal.group_hint
    if hint and options.groups is None and asks:
        print(
            f"file names suggest {printable(hint.description)} (--groups {shlex.quote(hint.pattern)})"
        )
        if _confirmed("Keep each group in one split?", default=False):
            proposal = propose(path, arguments.name, replace(options, groups=hint.pattern))
    names = {"name": arguments.name, "path": yaml_scalar(str(path))}
    return replace(proposal, values={**proposal.values, **names})


def _check_options(kind: "Kind", options: "DataOptions") -> None:
    """Reject options that are for the other type of data."""
    tables = {"--text": options.text, "--label": options.label}
    wrong = {"--layout": options.layout} if kind.modality == "texts" else tables
    for option, value in wrong.items():
        if value is not None:
            data = "folder of images" if option == "--layout" else "table of texts"
            raise UserError(f"{option}: given {value!r}; it is for a {data}")


def _extended_params(section: str, name: str) -> str:
    """Return params.yaml, as it is now, with the section added, once the result is known to be valid.

    Raises:
        UserError: the file has a task of that name, its form leaves no place for a section, or the
            params are not allowed.
    """
    from stages.core.params import parse_yaml
    from stages.kinds.params import FILE, check_params, load_params
    from stages.tools.yaml_sections import add_section

    _check_name(name, load_params().tasks)
    text = FILE.read_bytes().decode()
    try:
        extended = add_section(text, "tasks", section)
    except UserError as error:
        raise UserError(f"{FILE}: {error}") from None
    before, after = parse_yaml(text), parse_yaml(extended)
    if {**before, "tasks": {**before["tasks"], name: after["tasks"].get(name)}} != after:
        raise UserError(
            f"{FILE}: its form leaves no place for a section below tasks; add it by hand"
        )
    check_params(after)
    return extended


def _print(name: str, kind: "Kind", proposal: "Proposal", path: str) -> None:
    """Print the facts about the data, the table of proposed params, and what the user should decide."""
    from stages.kinds.proposal import NO_GROUPS

    print(f"{name}: {kind.title} of {printable(path)}")
    for subject, fact in proposal.data.items():
        print(f"  {subject}: {printable(fact)}")
    print(f"proposed, below tasks.{name}:")
    rows = [
        (setting.key, printable(setting.value)[:_LONGEST_CELL], printable(setting.reason))
        for setting in proposal.settings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for key, value, reason in rows:
        print(f"  {key:<{widths[0]}}  {value:<{widths[1]}}  {reason}".rstrip())
    for remark in proposal.remarks:
        print(f"note: {printable(remark)}")
    if proposal.group_hint and proposal.values.get("groups") == "null":
        hint = proposal.group_hint
        print(
            f"note: file names suggest {printable(hint.description)}, which are not used; to keep each in "
            f"one split: --groups {shlex.quote(hint.pattern)}; to leave it so without this note: "
            f"--groups {NO_GROUPS}"
        )


def _track(path: str, name: str, *, track: bool) -> list[Path]:
    """Let DVC track the data where nothing holds them, and say who does; return the files written."""
    from stages.tools.tracking import Storage, tracking_of
    from stages.tools.tracking import track as track_with_dvc

    tracking, place = tracking_of(path), printable(path)
    if tracking.storage is Storage.DVC:
        print(f"data: DVC tracks {place} already ({printable(str(tracking.pointer))})")
    elif tracking.storage is Storage.GIT:
        rest = "" if tracking.complete else ", but not all of its files: git add the others"
        print(f"data: git holds {place}{rest}")
    elif tracking.storage is Storage.OUTSIDE:
        print(
            f"data: {place} lies outside this repository; DVC notices when it changes and holds no copy. "
            "Another machine needs it at the same path, or the data in the repository"
        )
    elif not track:
        print(
            f"data: nothing tracks {place}; other clones and evidence verify lack it until you run "
            f"`dvc add {place}` or `git add {place}`"
        )
    else:
        print(
            f"data: dvc add {place} (evidence remove {name} undoes it; --no-track leaves it out)",
            flush=True,  # copying the data may take minutes
        )
        return track_with_dvc(path, name)
    return []
