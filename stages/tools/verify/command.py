"""Check from a clean clone whether a committed result can be believed, stage by stage.

Four tiers, cheapest first: hashes (files, dvc.lock, dvc.yaml, params), metrics (computed again from the
predictions in git), predictions (from the weights), retrain (everything). The first two run none of the
revision's code; the others run it without network, and it can write to the clone only, where the system
allows this. The work tree, its lock, cache and refs are not touched.

Exit status: 0 nothing disagrees, 1 something does, 2 something could not be checked, 3 nothing disagrees
but the revision has code of its own, which you have to read.
"""

import argparse
import math
import sys
from pathlib import Path

from stages.core.errors import UserError, printable
from stages.core.files import to_json, write
from stages.tools.verify import receiver_options
from stages.tools.verify.report import TIERS, Report
from stages.tools.verify.report_views import document, table
from stages.tools.verify.verification import verify

FORMATS = ("json", "markdown", "page")
_PAGE_LIMIT_MB = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "revision",
        nargs="?",
        default="HEAD",
        help="full hash, tag or branch (default: HEAD); or a file of `evidence archive`",
    )
    parser.add_argument(
        "--repo", default=".", help="path or URL of a git repository with DVC (default: .)"
    )
    parser.add_argument(
        "--tier", choices=TIERS, help=f"the last one to run (default: {TIERS[-1]}, or the policy's)"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="stages, or tasks (image)"
    )
    parser.add_argument("--remote", default="", help="DVC remote to take weights and data from")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="for the metrics of a repository without a measured tolerance",
    )
    parser.add_argument(
        "--base",
        default="",
        metavar="REVISION",
        help="of the same repository, whose code you trust (default: this project's code)",
    )
    parser.add_argument(
        "--yes", action="store_true", help="run code of the revision that differs, without asking"
    )
    parser.add_argument("--network", action="store_true", help="let that code use the network")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="limit for each stage, and for the cheap tiers"
    )
    for form in FORMATS:
        parser.add_argument(
            f"--{form}", type=Path, metavar="FILE", help=f"write the report as {form}"
        )
    receiver_options.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify, print the table and write the reports; return the exit status."""
    from stages.tools.verify.conditions.policy import time_limit
    from stages.tools.verify.receiver import Receiver

    if arguments.batch:
        from stages.tools.verify.batch import command

        return command.run(arguments)
    if not 0 <= arguments.tolerance < math.inf:
        raise UserError(f"--tolerance: given {arguments.tolerance:g}; must be a number, 0 or more")
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise UserError(f"--seconds: given {arguments.seconds:g}; must be a number above 0")
    paths: dict[str, Path] = {
        form: path for form in FORMATS if (path := getattr(arguments, form)) is not None
    }
    for form, path in paths.items():  # before minutes of work
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UserError(f"--{form}: given {path}; must be a file in an existing folder")
    request = Receiver.read(arguments)
    last = request.last_tier(arguments.tier)
    with time_limit(request.policy.seconds if request.policy else None):
        report = verify(
            request.repository,
            request.revision,
            last=last,
            only=arguments.only,
            remote=arguments.remote,
            tolerance=arguments.tolerance,
            base=request.base,
            network=arguments.network,
            seconds=arguments.seconds,
            approve=lambda warning: _approve(warning, yes=arguments.yes),
            inspect=request.inspect,
            progress=_say,
        )
    print(table(report))
    for form, path in paths.items():
        try:
            write(path, _render(report, form))
        except OSError as error:
            raise UserError(f"--{form}: {path}: {error.strerror}") from None
    for path in request.write(report, Path.cwd()):
        print(f"see: {path}")
    return report.status()


def _say(line: str) -> None:
    print(f"verify: {printable(line)}", file=sys.stderr)


def _approve(warning: str, *, yes: bool) -> bool:
    """Return whether to run code that is not trusted: as the user says, or answers on a terminal."""
    _say(warning)
    if yes:
        return True
    if not sys.stdin.isatty():
        _say("not run; --yes runs it, --base REVISION trusts the code of another revision")
        return False
    print("verify: run it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _render(report: Report, form: str) -> str | bytes:
    from stages.report.rendering import render_markdown, render_page

    if form == "json":
        return to_json(report.data())
    content = document(report)
    return render_markdown(content) if form == "markdown" else render_page(content, _PAGE_LIMIT_MB)
