"""Running the stages of a pipeline, as many side by side as there are jobs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

from stages.core.errors import USER_ERROR_STATUS, UserError
from stages.core.slots import Slots
from stages.tools.repro.queue import StageQueue
from stages.tools.repro.stage_process import StageCommand, StageServer

LOGS = Path(".dvc/tmp/repro")  # git ignores it
_PAUSE = 0.25  # seconds between two looks at the progress of what runs


class Steps(Protocol):
    """The stages to run, and what happens before and after each."""

    @property
    def dependencies(self) -> Mapping[str, set[str]]:
        """The stages that must end before each stage, by its name."""

    def is_changed(self, name: str) -> bool:
        """Return whether a stage has to run."""

    def begin(self, name: str, *, force: bool) -> bool:
        """Make ready for a stage; return whether its command has to run."""

    def finish(self, name: str) -> None:
        """Store what a stage has made; a `UserError` is a failure of the stage."""

    def commands(self, name: str) -> Sequence[str]:
        """Return the commands of a stage, one after the other."""

    def folder(self, name: str) -> Path:
        """Return the folder in which they run."""

    def environment(self, name: str) -> Mapping[str, str]:
        """Return the variables to set for them."""


class Display(Protocol):
    """Shows how a run of the pipeline gets on."""

    def running(self, stages: "Iterable[RunningStage]") -> None:
        """Show the stages that run."""

    def finished(self, name: str, ending: str, log: Path | None) -> None:
        """Show that a stage has finished, in what time or from where, and what it printed."""

    def failed(self, name: str, reason: str, log: Path) -> None:
        """Show that a stage has failed, why, and what it printed."""


@dataclass(frozen=True)
class RunningStage:
    """A stage that runs.

    Attributes:
        name: of it.
        command: that it runs.
        slot: a descriptor that holds its slot.
        start: the time of a monotonic clock at which it started.
    """

    name: str
    command: StageCommand
    slot: int
    start: float

    def seconds(self) -> float:
        """Return how long it has run."""
        return monotonic() - self.start


@dataclass
class Outcome:
    """What a run of the pipeline came to.

    Attributes:
        seconds: of each stage that ran to its end.
        unchanged: the number of stages that did not have to run.
        failures: the exit status of each stage that failed.
        skipped: the stages that depend on one that failed.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    unchanged: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def reproduce(
    pipeline: Steps,
    jobs: int,
    seconds: Mapping[str, float],
    display: Display,
    *,
    force: bool = False,
) -> Outcome:
    """Run the stages that have changed; a failing one leaves out those that depend on it, and no other.

    Args:
        pipeline: to run.
        jobs: how many stages run at the same time, at most.
        seconds: by stage, how long it is expected to take.
        display: shows the progress.
        force: whether stages run that have not changed.
    """
    server = StageServer()
    queue = StageQueue(pipeline.dependencies, seconds)
    outcome = Outcome()
    slots = Slots(jobs)
    running: dict[int, RunningStage] = {}  # by process
    try:
        while queue or running:
            while (slot := slots.take()) is not None:
                name = _next_stage(pipeline, queue, outcome, display, force=force)
                if name is None:
                    slots.release(slot)
                    break
                command = _command(pipeline, name, slots)
                process = server.start(command)
                running[process] = RunningStage(name, command, slot, monotonic())
            for process, status in server.ended(_PAUSE).items():
                stage = running.pop(process)
                slots.release(stage.slot)
                _end(pipeline, stage, status, outcome, display)
                if stage.name in outcome.failures:
                    outcome.skipped += queue.fail(stage.name)
                else:
                    queue.finish(stage.name)
            display.running(running.values())
    finally:
        server.close()
    return outcome


def _next_stage(
    pipeline: Steps, queue: StageQueue, outcome: Outcome, display: Display, *, force: bool
) -> str | None:
    """Return the next stage of which the command has to run, None if none may start."""
    while (name := queue.take()) is not None:
        if not force and not pipeline.is_changed(name):
            outcome.unchanged += 1
        elif pipeline.begin(name, force=force):
            return name
        else:
            display.finished(name, "taken from the cache", None)
        queue.finish(name)
    return None


def log_file(name: str) -> Path:
    """Return the file with what a stage printed when it ran last."""
    return LOGS / f"{name.replace('/', '_')}.log"


def _command(pipeline: Steps, name: str, slots: Slots) -> StageCommand:
    log = log_file(name)
    return StageCommand(
        lines=pipeline.commands(name),
        folder=pipeline.folder(name),
        environment={**pipeline.environment(name), **slots.environment()},
        log=log.resolve(),
        progress=log.with_suffix(".progress").resolve(),
    )


def _end(
    pipeline: Steps, stage: RunningStage, status: int, outcome: Outcome, display: Display
) -> None:
    """Store what a stage has made, or note that it failed."""
    seconds, reason = stage.seconds(), f"failed with exit status {status}"
    if status == 0:
        try:
            pipeline.finish(stage.name)
        except UserError as error:
            status, reason = USER_ERROR_STATUS, str(error)
    if status == 0:
        outcome.seconds[stage.name] = seconds
        display.finished(stage.name, f"{seconds:.1f} s", stage.command.log)
    else:
        outcome.failures[stage.name] = status
        display.failed(stage.name, reason, stage.command.log)
    stage.command.progress.unlink(missing_ok=True)
