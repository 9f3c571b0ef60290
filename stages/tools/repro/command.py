"""Run the pipeline as `dvc repro` does, with the stages that do not depend on each other side by side.

The results and dvc.lock come out the same, byte for byte. Each stage that ends gets a line with what it
came to. At the end stand a table of the results and whether they are the committed ones; the exit status is
1 where they are outside the measured tolerance. A stage that fails stops what depends on it and nothing
else, and is named last. A run that had nothing to do prints its report again until a file, a commit or an
installed package changes.
"""

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.slots import core_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stages.core.task import Task
    from stages.tools.repro.reproduce import Display, Outcome
    from stages.tools.repro.up_to_date import Report

_MEMORY = 1.5 * 2**30  # bytes for each stage beside another: those of the largest that ship


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
    from stages.tools.repro.up_to_date import project_state, remember_report, remembered_report

    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs: given {arguments.jobs}; must be 1 or more")
    is_whole = not arguments.targets and not arguments.force
    state = project_state(Path.cwd()) if is_whole else None
    report = remembered_report(state)
    if report is None:
        report, stays_true = _reproduce(arguments)
        if state and stays_true:
            remember_report(state, report)
    if report.text:
        print(report.text)
    return report.status


def _reproduce(arguments: argparse.Namespace) -> "tuple[Report, bool]":
    """Run the stages that have changed.

    Returns:
        What to say of it, and whether that stays true until a file of the project changes: no stage had to
        run, and none reads anything from outside.
    """
    from stages.core import runtime
    from stages.kinds.params import load_params, load_tasks
    from stages.tools.repro.pipeline import Pipeline
    from stages.tools.repro.reproduce import reproduce
    from stages.tools.repro.seconds import expected_seconds, remember_seconds

    tasks: dict[str, Task] = {}
    if Path("stages").is_dir():  # the pipeline is this project's
        params = load_params()
        tasks = load_tasks(params)
        # Stages are copies of a process that this one starts.
        runtime.pin_threads(params.runtime)
    jobs = arguments.jobs or default_jobs()
    with (
        Pipeline.opened(arguments.targets, glob=arguments.glob) as pipeline,
        _display(tasks) as display,
    ):
        seconds = expected_seconds(pipeline.stages)
        outcome = reproduce(pipeline, jobs, seconds, display, force=arguments.force)
        remember_seconds(outcome.seconds)
        is_up_to_date = outcome.unchanged == len(pipeline.stages)
        stays_true = is_up_to_date and pipeline.is_in_project()
    return _report(outcome, tasks), stays_true


def default_jobs() -> int:
    """Return how many stages this machine runs side by side: by its cores and its free memory."""
    import psutil

    memory: int = psutil.virtual_memory().available
    return max(1, min(core_count(), int(memory / _MEMORY)))


@contextmanager
def _display(tasks: "Mapping[str, Task]") -> "Iterator[Display]":
    from stages.tools.repro.display import LineDisplay, TerminalDisplay
    from stages.tools.repro.summaries import Summaries

    summaries = Summaries(tasks)
    if not sys.stdout.isatty():
        yield LineDisplay(summaries)
        return
    from rich.live import Live

    with Live(transient=True, auto_refresh=False) as live:
        yield TerminalDisplay(summaries, live)


def _report(outcome: "Outcome", tasks: "Mapping[str, Task]") -> "Report":
    """Return the results; or print what was not run and which stage failed, and return the exit status."""
    from stages.tools.repro.up_to_date import Report

    if outcome.skipped:
        print(f"not run: {', '.join(outcome.skipped)}", file=sys.stderr)
    for name, status in outcome.failures.items():
        print(f"{name} failed (exit status {status})", file=sys.stderr)
    if outcome.failures:
        return Report("", max(outcome.failures.values()))
    lines = [] if outcome.seconds else [f"{outcome.unchanged} stages are up to date"]
    if not tasks:
        return Report("\n".join(lines), 0)
    from stages.tools.repro.results import report

    results = report(tasks)
    return Report("\n".join([*lines, results.text]), results.status)
