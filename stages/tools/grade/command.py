"""Hold learners' repositories against a rubric: points, evidence, and what a person must judge.

A submission is a folder with a clone, the URL of a git repository, or a file of `evidence archive`. The
rubric is a YAML file; the one that comes with the project looks for a reproduced result, a beaten baseline,
commented failures, a change that was tried, traced shapes and a named failure mode (docs/grading.md).

Each submission is cloned and verified in a process of its own. Tiers hashes and metrics run nothing of it;
predictions and retrain run its code only with --yes where it differs from this project's.

Exit status: 0 all submissions could be read, 1 some could not (their row says why), 2 wrong input.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError, printable
from stages.tools.verify.report import TIERS

if TYPE_CHECKING:
    from stages.tools.grade.rubric import Rubric
    from stages.tools.grade.table import Grade
    from stages.tools.verify.batch.entries import Entry
    from stages.tools.verify.batch.running import MakeCommand, Place

_UNREAD_STATUS = 1
_FORMS = ("csv", "markdown", "json")
_CHEAP_SECONDS, _SECONDS = 600, 4 * 3600  # for one submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "submissions", nargs="*", metavar="DIR", help="clones, URLs of repositories, or archives"
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="CSV or YAML: name, repository (or pr) and revision of further submissions",
    )
    parser.add_argument(
        "--rubric", type=Path, metavar="FILE", help="YAML (default: that of this project)"
    )
    parser.add_argument(
        "--tier", choices=TIERS, help="the last tier of verify (default: the rubric's)"
    )
    parser.add_argument(
        "--revision", default="HEAD", help="of the submissions named here: a tag or branch (HEAD)"
    )
    parser.add_argument(
        "--yes", action="store_true", help="run code of a submission that differs, confined"
    )
    parser.add_argument("--network", action="store_true", help="let that code use the network")
    parser.add_argument("--remote", default="", help="DVC remote to take weights and data from")
    parser.add_argument(
        "--seconds",
        type=int,
        metavar="N",
        help=f"for one submission (default: {_CHEAP_SECONDS}; {_SECONDS} where its code runs)",
    )
    parser.add_argument("--jobs", type=int, help="submissions at the same time (half the cores)")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="keep each result, and grade only what has changed since",
    )
    for form in _FORMS:
        parser.add_argument(
            f"--{form}", type=Path, metavar="FILE", help=f"write the grades as {form}"
        )


def run(arguments: argparse.Namespace) -> int:
    """Grade, print the grades and write them; return the exit status.

    Raises:
        UserError: an option, the rubric or the list is wrong.
    """
    from stages.core.files import write
    from stages.tools.grade.rubric import DEFAULT, read_rubric
    from stages.tools.grade.table import make_grades, text

    outputs = {form: path for form in _FORMS if (path := getattr(arguments, form)) is not None}
    for form, path in outputs.items():  # before minutes of work
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UserError(f"--{form}: given {path}; must be a file in an existing folder")
    for name in ("jobs", "seconds"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: given {value}; must be at least 1")
    rubric_path = (arguments.rubric or DEFAULT).absolute()
    rubric = read_rubric(rubric_path)
    entries = _entries(arguments)
    grades = make_grades(rubric, _run_all(entries, rubric_path, rubric, arguments))
    print(text(rubric, grades).encode("utf-8", "backslashreplace").decode())
    for form, path in outputs.items():
        write(path, _render(rubric, grades, form))
    return 0 if all(grade.was_read for grade in grades) else _UNREAD_STATUS


def _entries(arguments: argparse.Namespace) -> "dict[str, Entry]":
    """Return the submissions by name, with absolute paths.

    Raises:
        UserError: there is none, the list is wrong, or one has claims, which a rubric makes.
    """
    from stages.tools.verify.batch.entries import Entry, name_entries, read_table
    from stages.tools.verify.batch.running import source_of

    entries = []
    if arguments.list:
        for name, entry in read_table(arguments.list).items():
            if entry.claims:
                raise UserError(
                    f"{arguments.list}: {name}: claims are for `evidence verify --batch`; put them into "
                    "the rubric, as a criterion with `check: claim`"
                )
            source = entry.repository and source_of(entry, arguments.list.parent)
            entries.append(entry.model_copy(update={"repository": source, "name": name}))
    labels = _names(arguments.submissions)
    for text, label in zip(arguments.submissions, labels, strict=True):
        source = source_of(Entry(repository=text), Path())
        entries.append(Entry(repository=source, revision=arguments.revision, name=label))
    if not entries:
        raise UserError("name a submission, or a file of them with --list")
    return name_entries(entries, arguments.list or Path("submissions"))


def _names(sources: Sequence[str]) -> list[str | None]:
    """Return a name for each source: as many last parts of its path as tell it from the others."""
    parts = [
        [
            re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip(".-_")
            for part in re.split(r"[/:]", source.rstrip("/").removesuffix(".git"))
        ]
        for source in (
            str(Path(text).absolute()) if Path(text).exists() else text for text in sources
        )
    ]
    parts = [[part for part in words if part] for words in parts]
    for count in range(1, 4):
        names = ["-".join(words[-count:])[:80] or None for words in parts]
        if len(set(names)) == len(names):
            return names
    return [None] * len(parts)


def _run_all(
    entries: "dict[str, Entry]", path: Path, rubric: "Rubric", arguments: argparse.Namespace
) -> Any:
    """Return the result of each entry."""
    from stages.core.processes import scratch_folder
    from stages.tools.verify.batch.running import digest_of, run_batch
    from stages.tools.verify.verification import CHEAP_TIERS

    tier = arguments.tier or rubric.tier
    request = {
        "rubric": str(path),
        "tier": tier,
        "code": arguments.yes,
        "network": arguments.network,
        "remote": arguments.remote,
    }
    seconds = arguments.seconds or (_CHEAP_SECONDS if tier in CHEAP_TIERS else _SECONDS)
    jobs = arguments.jobs or max(1, (os.cpu_count() or 1) // 2)
    with ExitStack() as stack:
        folder = arguments.results or stack.enter_context(scratch_folder())
        return run_batch(
            entries,
            Path(),
            folder,
            {"request": request, "digests": {str(path): digest_of(path)}},
            jobs,
            seconds,
            lambda line: print(f"grade: {printable(line)}", file=sys.stderr),
            _make_command(request),
        )


def _make_command(request: dict[str, Any]) -> "MakeCommand":
    """Return the function that returns the command which grades an entry."""

    def make_command(name: str, entry: "Entry", place: "Place", _: Sequence[str]) -> list[str]:
        from stages.tools.verify.batch.running import source_of
        from stages.tools.verify.pull_request import parse_url

        if entry.pr:
            pull_request = parse_url(entry.pr)
            source, revision = pull_request.repository, pull_request.ref
        else:
            source, revision = source_of(entry, place.base), entry.revision
        content = json.dumps({**request, "source": source, "revision": revision})
        worker = (sys.executable, "-m", "stages.tools.grade.worker")
        return [*worker, content, str(place.scratch / f"{name}.json")]

    return make_command


def _render(rubric: "Rubric", grades: "Sequence[Grade]", form: str) -> Any:
    from stages.core.files import to_csv, to_json
    from stages.tools.grade import table

    if form == "csv":
        return to_csv(table.data_table(grades))
    if form == "json":
        return to_json(table.data(rubric, grades))
    return table.markdown(rubric, grades)
