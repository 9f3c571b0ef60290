"""Stages run for another command: those that it names, with all that they depend on or alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stages.core import runtime
from stages.core.slots import Slots
from stages.kinds.params import load_params, load_tasks
from stages.tools.repro.command import default_jobs
from stages.tools.repro.display import LineDisplay, last_lines
from stages.tools.repro.pipeline import Pipeline
from stages.tools.repro.reproduce import log_file, reproduce
from stages.tools.repro.seconds import expected_seconds
from stages.tools.repro.summaries import Summaries


@dataclass(frozen=True)
class TargetRun:
    """What a run came to.

    Attributes:
        error: the line of the first stage that failed, "" if none did.
        status: its exit status, 0 if none failed.
        outputs_in_git: the outputs that DVC's cache does not hold.
    """

    error: str
    status: int
    outputs_in_git: Sequence[str]


def run_targets(
    targets: Sequence[str], *, single_item: bool = False, progress_seconds: float
) -> TargetRun:
    """Run stages of the project in the current folder; print a line for each that ends.

    Args:
        targets: names of stages.
        single_item: whether they run without what they depend on.
        progress_seconds: between two lines that say how far a running stage is.

    Raises:
        UserError: the params are wrong, or DVC cannot read the pipeline.
    """
    params = load_params()
    runtime.pin_threads(params.runtime)
    display = LineDisplay(Summaries(load_tasks(params)), progress_seconds)
    jobs = min(default_jobs(), Slots.inherited().count)
    with Pipeline.opened(targets, single_item=single_item) as pipeline:
        outcome = reproduce(pipeline, jobs, expected_seconds(pipeline.stages), display)
        outputs = pipeline.outputs_in_git()
    name, status = next(iter(outcome.failures.items()), ("", 0))
    return TargetRun(failure_line(name, status) if name else "", status, outputs)


def failure_line(name: str, status: int) -> str:
    """Return the line on which a stage failed: its own message, else the last line that it printed."""
    lines = [line.strip() for line in last_lines(log_file(name))]
    messages = [line for line in lines if re.match(rf"{re.escape(name)}: ", line)]
    return [f"{name} failed (exit status {status})", *lines, *messages][-1]
