"""`evidence verify --batch`: the options, the table of results, and the exit status."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, printable
from stages.core.files import to_json, write
from stages.tools.verify.batch.entries import read_table
from stages.tools.verify.batch.results import (
    Result,
    data_table,
    document,
    text_table,
    worst_status,
)
from stages.tools.verify.batch.running import digest_of, run_batch, verify_command
from stages.tools.verify.conditions.other_data import parse_other_data
from stages.tools.verify.receiver import Receiver

_PAGE_LIMIT_MB = 20
_OF_ONE = ("attest", "record", "sign_key", "pr")  # options that are about one result
_VALUES = (
    "tier",
    "remote",
    "tolerance",
    "base",
    "seconds",
)  # options that each entry gets as they are


def run(arguments: argparse.Namespace) -> int:
    """Verify the entries of a table, print and write the results; return the worst exit status.

    Raises:
        UserError: an option is wrong, or does not go with --batch.
    """
    _refuse_others(arguments)
    receiver = Receiver.read(arguments)
    receiver.last_tier(arguments.tier)
    outputs = _outputs(arguments)
    jobs = max(1, (os.cpu_count() or 1) // 2) if arguments.jobs is None else arguments.jobs
    if jobs < 1:
        raise UserError(f"--jobs: given {jobs}; must be at least 1")
    folder = arguments.results or arguments.batch.with_name(f"{arguments.batch.stem}-results")
    results = run_batch(
        read_table(arguments.batch),
        arguments.batch.parent,
        folder,
        {"words": _words(arguments), "digests": _digests(arguments)},
        jobs,
        receiver.policy.seconds if receiver.policy else None,
        lambda line: print(f"verify: {printable(line)}", file=sys.stderr),
        verify_command,
    )
    print(text_table(results))
    print(f"see: {folder}")
    for form, path in outputs.items():
        write(path, _render(results, form))
    return worst_status(results)


def _refuse_others(arguments: argparse.Namespace) -> None:
    options = [f"--{name.replace('_', '-')}" for name in _OF_ONE if getattr(arguments, name)]
    if arguments.repo != "." or arguments.revision != "HEAD":
        options.append("--repo or a revision")
    if options:
        raise UserError(f"--batch: given with {', '.join(options)}, which are about one result")


def _outputs(arguments: argparse.Namespace) -> dict[str, Path]:
    """Return where the table is written, by format.

    Raises:
        UserError: a path is no file in an existing folder.
    """
    paths = {form: getattr(arguments, form) for form in ("json", "markdown", "page", "csv")}
    paths = {form: path for form, path in paths.items() if path is not None}
    for form, path in paths.items():
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UserError(f"--{form}: given {path}; must be a file in an existing folder")
    return paths


def _words(arguments: argparse.Namespace) -> list[str]:
    """Return the words of the command line that each entry gets; paths are absolute."""
    words = [f"--claim={text}" for text in arguments.claim]
    for text in arguments.data:
        data = parse_other_data(text)
        words.append(f"--data={data.task}={data.path}")
    for name in _VALUES:
        value = getattr(arguments, name)
        if value not in {None, ""}:
            words.append(f"--{name}={value}")
    if arguments.policy:
        words.append(f"--policy={arguments.policy.absolute()}")
    words += [f"--{name}" for name in ("yes", "network") if getattr(arguments, name)]
    return [*words, *(["--only", *arguments.only] if arguments.only else [])]


def _digests(arguments: argparse.Namespace) -> dict[str, str]:
    """Return digests of the files that options name, by path: with others the results differ."""
    paths = [parse_other_data(text).path for text in arguments.data]
    if arguments.policy:
        receiver = Receiver.read(arguments)
        test_data = receiver.policy.official_test_data if receiver.policy else {}
        paths += [arguments.policy, *(arguments.policy.parent / d.path for d in test_data.values())]
    return {str(path.absolute()): digest_of(path) for path in paths}


def _render(results: Sequence[Result], form: str) -> Any:
    from stages.report.rendering import render_markdown, render_page

    if form == "csv":
        return data_table(results)
    if form == "json":
        return to_json([result.data() for result in results])
    content = document(results)
    return render_markdown(content) if form == "markdown" else render_page(content, _PAGE_LIMIT_MB)
