"""Run the pipeline as `dvc repro` does, with the stages that do not depend on each other side by side.

The results and dvc.lock come out the same, byte for byte. A stage that fails stops what depends on it and
nothing else, and is named last.
"""

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.slots import core_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stages.tools.repro.reproduce import Display, Outcome

_MEMORY = 1.5 * 2**30  # bytes for each stage beside another: those of the largest that ship
_FAILURE_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="STAGE",
        help="stages, with all that they depend on (default: the whole pipeline)",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="stages at a time (default: what fits this machine)"
    )
    parser.add_argument(
        "--glob", action="store_true", help="take STAGE as a pattern, such as '*@image'"
    )
    parser.add_argument("--force", action="store_true", help="run also what has not changed")


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline; return 0, or the exit status of a failure."""
    from stages.core import runtime
    from stages.kinds.params import load_params
    from stages.tools.repro.pipeline import Pipeline
    from stages.tools.repro.reproduce import reproduce
    from stages.tools.repro.seconds import expected_seconds, remember_seconds

    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs: given {arguments.jobs}; must be 1 or more")
    if Path("stages").is_dir():  # the pipeline is this project's
        # Stages are copies of a process that this one starts.
        runtime.pin_threads(load_params().runtime)
    jobs = arguments.jobs or default_jobs()
    with Pipeline.opened(arguments.targets, glob=arguments.glob) as pipeline, _display() as display:
        seconds = expected_seconds(pipeline.stages)
        outcome = reproduce(pipeline, jobs, seconds, display, force=arguments.force)
        remember_seconds(outcome.seconds)
    return _conclude(outcome)


def default_jobs() -> int:
    """Return how many stages this machine runs side by side: by its cores and its free memory."""
    import psutil

    memory: int = psutil.virtual_memory().available
    return max(1, min(core_count(), int(memory / _MEMORY)))


@contextmanager
def _display() -> "Iterator[Display]":
    from stages.tools.repro.display import LineDisplay, TerminalDisplay

    if not sys.stdout.isatty():
        yield LineDisplay()
        return
    from rich.live import Live

    with Live(transient=True, auto_refresh=False) as live:
        yield TerminalDisplay(live)


def _conclude(outcome: "Outcome") -> int:
    """Print what was not run and which stage failed; return the exit status."""
    if not outcome.seconds and not outcome.failures:
        print(f"{outcome.unchanged} stages are up to date")
    if not outcome.failures:
        return 0
    if outcome.skipped:
        print(f"not run: {', '.join(outcome.skipped)}", file=sys.stderr)
    for name, status in outcome.failures.items():
        print(f"{name} failed (exit status {status})", file=sys.stderr)
    return max(outcome.failures.values(), default=_FAILURE_STATUS)
