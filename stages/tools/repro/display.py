"""The progress of `evidence repro`: what runs, in a terminal; a line for each stage that has ended."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from stages.tools.repro.reproduce import RunningStage

if TYPE_CHECKING:
    from rich.live import Live

_WIDTH = 24  # of the names of stages that run, longer ones push the rest to the right
_LINES = 12  # of what a stage printed, the last ones


class LineDisplay:
    """A line for each stage that has ended: what it came to, its seconds, and what it printed.

    Args:
        summarise: returns what a stage came to in words, "" where there is nothing to say.
        interval: seconds between two lines of a stage's progress; infinite: a file or pipe that keeps
            every line gets none.
    """

    def __init__(self, summarise: Callable[[str], str], interval: float = math.inf) -> None:
        self._summarise, self._interval = summarise, interval
        self._last = monotonic()

    def running(self, stages: Iterable[RunningStage]) -> None:
        """Print how far each stage is, where a line is due."""
        if monotonic() - self._last < self._interval:
            return
        self._last = monotonic()
        for stage in stages:
            if text := _progress(stage):
                self._print(f"{stage.name.replace('@', ' ')}: {text}")

    def finished(self, name: str, ending: str, log: Path | None) -> None:
        """Print a stage's line, and below it what the stage printed."""
        self._print_stage(name, [self._summarise(name), ending], log)

    def failed(self, name: str, reason: str, log: Path) -> None:
        """Print a stage's line, and below it what the stage printed."""
        self._print_stage(name, [reason], log)

    def _print_stage(self, name: str, parts: Iterable[str], log: Path | None) -> None:
        self._print(f"{name.replace('@', ' ')}: {', '.join(filter(None, parts))}")
        for line in last_lines(log):
            self._print(f"  {line}")

    def _print(self, line: str) -> None:
        print(printable_line(line), flush=True)


class TerminalDisplay(LineDisplay):
    """The same, and below it a line for each stage that runs.

    Args:
        summarise: as of `LineDisplay`.
        live: the part of the terminal that is drawn again and again.
    """

    def __init__(self, summarise: Callable[[str], str], live: "Live") -> None:
        super().__init__(summarise)
        self._live = live

    def running(self, stages: Iterable[RunningStage]) -> None:
        """Draw a line for each stage that runs: its name, its seconds and its own line of progress."""
        from rich.text import Text

        lines = [
            f"{stage.name:<{_WIDTH}} {stage.seconds():.0f} s  {_progress(stage)}"
            for stage in stages
        ]
        text = Text("\n".join(printable_line(line) for line in lines), "dim")
        text.no_wrap, text.overflow = True, "ellipsis"
        self._live.update(text, refresh=True)

    def _print(self, line: str) -> None:
        self._live.console.print(printable_line(line), markup=False, highlight=False)


def printable_line(line: str) -> str:
    """Return a line without control characters."""
    return "".join(character if character.isprintable() else " " for character in line)


def last_lines(log: Path | None) -> list[str]:
    """Return the last lines of what a stage printed."""
    if log is None:
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
    lines = [line.rstrip() for line in lines if line.strip()]
    left_out = len(lines) - _LINES
    return [f"... ({left_out} lines)", *lines[-_LINES:]] if left_out > 0 else lines


def _progress(stage: RunningStage) -> str:
    """Return the last line of progress, without the stage's name."""
    try:
        text = stage.command.progress.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rstrip("\n").rpartition("\n")[2].removeprefix(f"{stage.name}, ")
