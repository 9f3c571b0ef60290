"""Run a batch: each entry is verified by a process of its own, unless its result is kept.

What was verified is kept in a folder. A further call verifies only what has changed since: entries with
another commit, other options or another verifier, and those that came to no report.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import USER_ERROR_STATUS, UserError, printable
from stages.core.files import to_json, write
from stages.core.process_pool import run_pool
from stages.core.processes import last_line, scratch_folder
from stages.core.repositories import git, resolve_revision
from stages.tools.verify.attestation.verifier import code_digest
from stages.tools.verify.batch.entries import Entry
from stages.tools.verify.batch.results import WORST_FIRST, Result
from stages.tools.verify.code import CODE
from stages.tools.verify.pull_request import parse_url

_GRACE = 120  # seconds over the limit of the policy, after which an entry is ended from outside


@dataclass(frozen=True)
class Place:
    """Where an entry is verified.

    Attributes:
        base: the folder to which the paths of entries are relative.
        results: the folder in which results are kept.
        scratch: the folder in which the command of an entry writes NAME.json, its report.
    """

    base: Path
    results: Path
    scratch: Path


# Returns the command that verifies an entry, of its name, itself and the words of all entries.
MakeCommand = Callable[[str, Entry, Place, Sequence[str]], list[str]]


def run_batch(
    entries: Mapping[str, Entry],
    base: Path,
    folder: Path,
    options: Mapping[str, Any],
    jobs: int,
    seconds: int | None,
    progress: Callable[[str], None],
    make_command: MakeCommand,
) -> list[Result]:
    """Verify entries, or take their results from the folder.

    Args:
        entries: by name.
        base: the folder to which their paths are relative.
        folder: of the results; it is made.
        options: of the command line for each entry: its words by name, and digests of files that they name.
        jobs: entries at the same time.
        seconds: that one may take; None for any number.
        progress: is called with a line when an entry is done.
        make_command: returns the command that verifies an entry.

    Raises:
        UserError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = {name: _key(entry, base, options) for name, entry in entries.items()}
    results = {
        name: result
        for name, entry in entries.items()
        if (result := _read_result(folder / f"{name}.json", name, entry, keys[name]))
    }
    for name, result in results.items():
        progress(f"{name}: unchanged, {result.line}")
    pending = [name for name in entries if name not in results]
    with scratch_folder() as scratch:
        place = Place(base, folder, scratch)
        commands = {
            name: (CODE, make_command(name, entries[name], place, options.get("words", [])))
            for name in pending
        }
        limit = None if seconds is None else seconds + _GRACE
        for name, ended in run_pool(commands, jobs, limit):
            report = _read_report(scratch / f"{name}.json")
            line = report["line"] if report else printable(last_line(ended.errors))
            status = ended.status if ended.status in WORST_FIRST else USER_ERROR_STATUS
            results[name] = Result(
                name, entries[name], keys[name], status, ended.seconds, line, report
            )
            write(folder / f"{name}.json", to_json(results[name].data()))
            progress(f"{len(results)} of {len(entries)}: {name}: {line}")
    return [results[name] for name in entries]


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
        source = source_of(entry, folder)
        if Path(source).is_file():  # an archive
            return digest_of(Path(source))
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


def source_of(entry: Entry, folder: Path) -> str:
    """Return the repository of an entry; a path as an absolute one."""
    path = folder / str(entry.repository)
    return str(path.resolve()) if path.exists() else str(entry.repository)


def verify_command(name: str, entry: Entry, place: Place, words: Sequence[str]) -> list[str]:
    """Return the command that verifies an entry."""
    subject = [f"--pr={entry.pr}"] if entry.pr else [f"--repo={source_of(entry, place.base)}"]
    return [
        *(sys.executable, "-m", "stages.tools", "verify"),
        *subject,
        *(f"--claim={claim}" for claim in entry.claims),
        *words,
        f"--json={place.scratch / f'{name}.json'}",
        f"--markdown={place.results.absolute() / f'{name}.md'}",
        *([] if entry.pr else ["--", entry.revision]),
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
