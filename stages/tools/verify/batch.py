"""Many results at once: a table of repositories, each verified by a process of its own.

What was verified is kept in a folder. A further call verifies only what has changed since: entries with
another commit, other options or another verifier, and those that came to no report.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from stages.core.errors import USER_ERROR_STATUS, UserError, printable
from stages.core.files import to_json, write
from stages.core.params import read_yaml, validate
from stages.core.processes import last_line, run_pool, scratch_folder
from stages.core.repositories import git, resolve_revision
from stages.core.schema import Name, Section
from stages.tools.verify.claim import parse_claim
from stages.tools.verify.code import CODE
from stages.tools.verify.conditions import summary
from stages.tools.verify.pull_request import parse_url
from stages.tools.verify.verifier import code_digest

if TYPE_CHECKING:
    import pandas as pd

    from stages.report.document import Document

COLUMNS = ("name", "repository", "revision", "commit", "verdict", "claims", "status", "seconds")
_WORST_FIRST = (1, 2, 3, 0)  # exit statuses of one verification
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,80}")
_SEPARATOR = ";"  # of the claims in a cell of a CSV file
_GRACE = 120  # seconds over the limit of the policy, after which an entry is ended from outside


class Entry(Section):
    """A row of the table.

    Attributes:
        repository: the path or URL of a git repository; a path is relative to the table's folder.
        pr: the URL of a pull or merge request, instead of repository and revision.
        revision: as git names it.
        claims: that must hold.
        name: of the entry; absent: the last part of the repository's name, with a number if it is taken.
    """

    repository: Name | None = None
    pr: Name | None = None
    revision: Name = "HEAD"
    claims: list[Name] = Field(default_factory=list)
    name: Annotated[str, Field(pattern=_NAME.pattern)] | None = None


class Table(Section):
    """The table of a YAML file."""

    entries: Annotated[list[Entry], Field(min_length=1)]


@dataclass(frozen=True)
class Result:
    """The result of an entry.

    Attributes:
        name: of the entry.
        entry: as in the table.
        key: what the result depends on: commit, verifier, options.
        status: the exit status of its verification.
        seconds: that it took.
        line: the result in one line, or why there is no report.
        report: as data; None where it came to none.
        is_kept: whether it was read from the folder of results.
    """

    name: str
    entry: Entry
    key: dict[str, Any]
    status: int
    seconds: float
    line: str
    report: dict[str, Any] | None = None
    is_kept: bool = False

    def row(self) -> list[str]:
        """Return the cells of its row, by `COLUMNS`."""
        report = self.report or {}
        outcomes = [condition["outcome"] for condition in report.get("conditions", [])]
        return [
            self.name,
            self.entry.pr or self.entry.repository or "",
            "" if self.entry.pr else self.entry.revision,
            str(report.get("revision") or self.key.get("commit") or "")[:12],
            str(report.get("verdict", "no report")),
            summary(outcomes),
            str(self.status),
            f"{self.seconds:.0f}",
        ]

    def data(self) -> dict[str, Any]:
        """Return the result as JSON takes it; `read` reads it back."""
        return {
            "name": self.name,
            "entry": self.entry.model_dump(),
            "key": self.key,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "line": self.line,
            "report": self.report,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for many results."""
    parser.add_argument(
        "--batch",
        type=Path,
        metavar="FILE",
        help="YAML or CSV: repositories to verify, see the docs",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=max(1, (os.cpu_count() or 1) // 2),
        help="of --batch: entries at the same time (default: half the cores)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="of --batch: the folder of results (default: beside the file)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="of --batch: the table as CSV")


# The table


def read_table(path: Path) -> dict[str, Entry]:
    """Return the entries of a table by name, in their order.

    Raises:
        UserError: it is missing or no table, a key or value is wrong, or two entries have one name.
    """
    if path.suffix.lower() in {".csv", ".tsv"}:
        content: Any = {"entries": _csv_rows(path)}
    else:
        content = read_yaml(path)
        content = {"entries": content} if isinstance(content, list) else content
    entries = validate(Table, content, path).entries
    for place, entry in enumerate(entries):
        key = f"{path}: entries[{place}]"
        if (entry.repository is None) == (entry.pr is None):
            raise UserError(f"{key}: must have either repository or pr")
        for text in entry.claims:
            parse_claim(text, f"{key}.claims")
        if entry.pr is not None:
            parse_url(entry.pr, f"{key}.pr")
    return _named(entries, path)


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file; an empty cell is none, claims are separated by semicolons."""
    from stages.datasets.tables.reading import open_table

    table = open_table(path, "the separator", "tab" if path.suffix.lower() == ".tsv" else "comma")
    header = table.header()
    rows = []
    for row in table.rows():
        if row.fault:
            raise UserError(f"{path}: {row.location}: {row.fault}")
        cells = {name.strip(): cell.strip() for name, cell in zip(header, row.cells, strict=True)}
        values: dict[str, Any] = {name: cell for name, cell in cells.items() if cell}
        if "claims" in values:
            claims = (claim.strip() for claim in values["claims"].split(_SEPARATOR))
            values["claims"] = [claim for claim in claims if claim]
        rows.append(values)
    return rows


def _named(entries: Sequence[Entry], path: Path) -> dict[str, Entry]:
    taken = {entry.name for entry in entries if entry.name}
    named: dict[str, Entry] = {}
    for entry in entries:
        name = entry.name or _default_name(entry, {*taken, *named})
        if name in named:
            raise UserError(f"{path}: two entries are called {name!r}; give each a name of its own")
        named[name] = entry
    return named


def _default_name(entry: Entry, taken: set[str | None]) -> str:
    """Return a name that is free: the last part of the repository's, of a request with its number."""
    if entry.pr:
        request = parse_url(entry.pr)
        text = f"{request.repository}-{request.ref.split('/')[2]}".replace(".git-", "-")
    else:
        text = str(entry.repository)
    stem = text.rstrip("/").removesuffix("/.git").removesuffix(".git")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.split(r"[/:]", stem)[-1]).strip(".-_") or "entry"
    names = [stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


# Running


def run_batch(
    path: Path,
    folder: Path,
    options: Mapping[str, Any],
    jobs: int,
    seconds: int | None,
    progress: Callable[[str], None],
) -> list[Result]:
    """Verify the entries of a table, or take their results from the folder.

    Args:
        path: of the table.
        folder: of the results; it is made.
        options: of the command line for each entry: its words by name, and digests of files that they name.
        jobs: entries at the same time.
        seconds: that one may take; None for any number.
        progress: is called with a line when an entry is done.

    Raises:
        UserError: the table is wrong, or the folder cannot be written.
    """
    entries = read_table(path)
    folder.mkdir(parents=True, exist_ok=True)
    keys = {name: _key(entry, path.parent, options) for name, entry in entries.items()}
    results = {
        name: kept
        for name, entry in entries.items()
        if (kept := _read_result(folder / f"{name}.json", name, entry, keys[name]))
    }
    for name, result in results.items():
        progress(f"{name}: unchanged, {result.line}")
    pending = [name for name in entries if name not in results]
    with scratch_folder() as scratch:
        commands = {
            name: (CODE, _command(name, entries[name], path.parent, folder, scratch, options))
            for name in pending
        }
        limit = None if seconds is None else seconds + _GRACE
        for name, process in run_pool(commands, jobs, limit):
            report = _read_report(scratch / f"{name}.json")
            line = report["line"] if report else printable(last_line(process.stderr))
            status = process.returncode if process.returncode in _WORST_FIRST else USER_ERROR_STATUS
            results[name] = Result(
                name, entries[name], keys[name], status, process.seconds, line, report
            )
            write(folder / f"{name}.json", to_json(results[name].data()))
            progress(f"{len(results)} of {len(entries)}: {name}: {line}")
    return [results[name] for name in entries]


def worst_status(results: Sequence[Result]) -> int:
    """Return the worst exit status: disagreement, then not checked, then code of its own, then none."""
    statuses = {result.status for result in results}
    return next(status for status in _WORST_FIRST if status in statuses)


def _key(entry: Entry, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result of an entry depends on; the commit is "" where it cannot be resolved."""
    return {
        "commit": _commit(entry, folder),
        "claims": entry.claims,
        "options": dict(options),
        "verifier": code_digest(),
    }


def _commit(entry: Entry, folder: Path) -> str:
    """Return the commit that an entry names now, without cloning; "" where its verification must say."""
    try:
        if entry.pr:
            request = parse_url(entry.pr)
            return _remote_commit(request.repository, request.ref)
        source = _source(entry, folder)
        if Path(source).is_dir():
            return resolve_revision(Path(source), entry.revision)
        return _remote_commit(source, entry.revision)
    except UserError:
        return ""


def _remote_commit(url: str, revision: str) -> str:
    """Return the commit of a tag or branch of a repository by URL, "" if the name is not that of one."""
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision):
        return revision
    listing = git(Path(), "ls-remote", "--", url)
    refs = {
        ref: commit for commit, ref in (line.split("\t") for line in listing.split("\n") if line)
    }
    names = [revision, f"refs/heads/{revision}", f"refs/tags/{revision}"]
    peeled = {name: refs.get(f"{name}^{{}}", refs.get(name)) for name in names}
    commits = {commit for commit in peeled.values() if commit}
    return commits.pop() if len(commits) == 1 else ""


def _source(entry: Entry, folder: Path) -> str:
    """Return the repository of an entry; a path as an absolute one."""
    path = folder / str(entry.repository)
    return str(path.resolve()) if path.is_dir() else str(entry.repository)


def _command(
    name: str, entry: Entry, folder: Path, results: Path, scratch: Path, options: Mapping[str, Any]
) -> list[str]:
    """Return the command that verifies an entry."""
    subject = (
        [f"--pr={entry.pr}"]
        if entry.pr
        else [f"--repo={_source(entry, folder)}", f"--revision={entry.revision}"]
    )
    return [
        *(sys.executable, "-m", "stages.tools", "verify"),
        *subject,
        *(f"--claim={claim}" for claim in entry.claims),
        *options.get("words", []),
        f"--json={scratch / f'{name}.json'}",
        f"--markdown={results.absolute() / f'{name}.md'}",
    ]


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_result(path: Path, name: str, entry: Entry, key: Mapping[str, Any]) -> Result | None:
    """Return the kept result of an entry, None where there is none that still holds."""
    content = _read_report(path)
    if not content or not key["commit"] or content.get("key") != json.loads(json.dumps(key)):
        return None
    report = content.get("report")
    if not isinstance(report, dict):  # it came to no report: try again
        return None
    return Result(
        name,
        entry,
        dict(key),
        int(content["status"]),
        float(content["seconds"]),
        str(content["line"]),
        report,
        is_kept=True,
    )


def digest_of(path: Path) -> str:
    """Return a digest of a file's content, or of names, sizes and times of the files in a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    lines = [
        f"{file.relative_to(path)} {file.stat().st_size} {file.stat().st_mtime_ns}\n"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


# The table of results


def text_table(results: Sequence[Result]) -> str:
    """Return the results for a terminal."""
    rows = [list(COLUMNS), *(list(map(printable, result.row())) for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"{result.name}: {printable(result.line)}" for result in results if result.status]
    return "\n".join([*lines, summary_line(results)])


def summary_line(results: Sequence[Result]) -> str:
    """Return how many results have each exit status, in words."""
    words = {0: "nothing disagrees", 3: "with code of its own", 2: "not checked", 1: "disagrees"}
    statuses = [result.status for result in results]
    parts = [f"{statuses.count(key)} {word}" for key, word in words.items() if key in statuses]
    return f"{len(results)} results: {', '.join(parts)}"


def document(results: Sequence[Result]) -> "Document":
    """Return the results as a document, to be rendered as Markdown or as a page."""
    from stages.report.document import Document, Facts, Section
    from stages.report.document import Table as DocumentTable

    rows = [result.row() for result in results]
    table = DocumentTable("Every entry of the table", COLUMNS, rows, [7])
    facts = [
        (
            f"{result.name}: {condition['condition']}",
            f"{condition['outcome']}: {condition['reason']}",
        )
        for result in results
        for condition in (result.report or {}).get("conditions", [])
    ]
    return Document(
        "Verifications",
        summary_line(results),
        f"Verifier: code {code_digest()[:12]}; {time.strftime('%Y-%m-%d', time.gmtime())}",
        [
            Section("results", "Results", [table]),
            Section("lines", "In one line", [Facts([(r.name, r.line) for r in results])]),
            *([Section("conditions", "Conditions", [Facts(facts)])] if facts else []),
        ],
    )


def data_table(results: Sequence[Result]) -> "pd.DataFrame":
    """Return the results as a table, with their lines."""
    import pandas as pd

    return pd.DataFrame(
        [[*result.row(), result.line] for result in results], columns=[*COLUMNS, "line"]
    )
