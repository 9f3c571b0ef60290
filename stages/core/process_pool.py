"""Many commands, a few at the same time."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from stages.core.processes import Guard, command_environment, end_of, start

TIME_LIMIT_STATUS = 124  # as of timeout(1)
_PAUSE = 0.1  # seconds between two looks at what has ended


@dataclass(frozen=True)
class EndedCommand:
    """A command that has ended.

    Attributes:
        status: its exit status; 124 where it was ended at the time limit.
        output: the end of what it wrote.
        errors: the end of what it wrote to stderr.
        seconds: that it ran.
    """

    status: int
    output: str
    errors: str
    seconds: float


class _RunningCommand:
    """A command that runs, and ends with this process in any case."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._began = time.monotonic()
        with ExitStack() as resources:
            self._files = [resources.enter_context(tempfile.TemporaryFile()) for _ in range(2)]
            guard = resources.enter_context(Guard())
            process = start(folder, command, command_environment(), *self._files)
            self._process = resources.enter_context(process)
            guard.add(process)
            self._resources = resources.pop_all()

    def ended(self, limit: float | None) -> EndedCommand | None:
        """Return how it ended, None while it runs; it is ended after `limit` seconds."""
        seconds = time.monotonic() - self._began
        if self._process.poll() is None:
            if limit is None or seconds <= limit:
                return None
            self.end()
            return EndedCommand(TIME_LIMIT_STATUS, "", f"it took longer than {limit:g} s", seconds)
        output, errors = map(end_of, self._files)
        self._resources.close()
        return EndedCommand(self._process.returncode, output, errors, seconds)

    def end(self) -> None:
        """End it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._resources.close()


def run_pool(
    commands: Mapping[str, tuple[Path, Sequence[str]]], jobs: int, seconds: float | None = None
) -> Iterator[tuple[str, EndedCommand]]:
    """Run commands as `run_command` does, and yield each with its name when it has ended.

    Those that still run end when the iteration is left, by an error or Ctrl-C.

    Args:
        commands: by name, the folder and the words of each; started in this order.
        jobs: how many run at the same time, at most.
        seconds: after which one is ended; None for no limit.
    """
    waiting = dict(commands)
    running: dict[str, _RunningCommand] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = next(iter(waiting))
                running[name] = _RunningCommand(*waiting.pop(name))
            time.sleep(_PAUSE)
            for name, command in list(running.items()):
                ended = command.ended(seconds)
                if ended:
                    del running[name]
                    yield name, ended
    finally:
        for command in running.values():
            command.end()
