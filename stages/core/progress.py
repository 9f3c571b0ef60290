"""Progress of work that takes more than two seconds: a bar in a terminal, otherwise a line now and then.

Everything goes to stderr. A stage names itself once (`set_stage`); each loop is wrapped in `progress`.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

LINE_SECONDS = 30.0  # between lines, where there is no terminal
_BAR_SECONDS = 2.0  # before a bar appears
_MINUTE, _HOUR = 60, 3600
Item = TypeVar("Item")


def duration(seconds: float) -> str:
    """Return a time in words: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 1.5 * _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 1.5 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    return f"{seconds / _HOUR:.1f} h"


class Lines:
    """Lines of progress, at most one in an interval, however many loops there are.

    Args:
        clock: seconds, from any start.
        stream: to write to; None: stderr at the time of writing.
        interval: seconds between two lines.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
        interval: float = LINE_SECONDS,
    ) -> None:
        self.stage = ""
        self._clock, self._stream, self._interval = clock, stream, interval
        self._last = clock()

    def begin(self, stage: str) -> None:
        """Begin a stage, or a command ("")."""
        self.stage, self._last = stage, self._clock()

    def are_shown(self) -> bool:
        """Return whether there are lines instead of bars."""
        return self._stream is not None or not sys.stderr.isatty()

    def follow(
        self, items: Iterable[Item], title: str, total: int | None, start: int
    ) -> Iterator[Item]:
        """Yield the items of a loop, with a line where one is due; arguments as of `progress`."""
        began = self._clock()
        for count, item in enumerate(items):
            time_ = self._clock()
            if time_ - self._last >= self._interval:
                self._last = time_
                rate = (time_ - began) / count if count else 0.0
                self._write(title, start + count, total, rate)
            yield item

    def _write(self, title: str, count: int, total: int | None, seconds: float) -> None:
        parts = [part for part in (self.stage, title) if part]
        if total:
            parts.append(f"{min(count, total) / total:.0%}")
            if seconds:
                parts.append(f"about {duration(seconds * max(0, total - count))} left")
        else:
            parts.append(f"{count:,}")
        print(", ".join(parts), file=self._stream or sys.stderr, flush=True)


_LINES = Lines()


def show_in(stream: TextIO, interval: float) -> None:
    """Write lines into a stream from now on, and no bars, though it be a terminal.

    Args:
        stream: to write to.
        interval: seconds between two lines.
    """
    global _LINES
    stage, _LINES = _LINES.stage, Lines(stream=stream, interval=interval)
    _LINES.stage = stage


def shows_bars() -> bool:
    """Return whether progress is shown as bars: in a terminal."""
    return not _LINES.are_shown()


def set_stage(name: str) -> None:
    """Begin every title with a stage's name, `train@photos`; its first line is due an interval from now."""
    _LINES.begin(name)


def progress(
    items: Iterable[Item], title: str, total: int | None = None, start: int = 0
) -> Iterator[Item]:
    """Yield `items`, and show how far the loop is.

    Args:
        items: of the loop.
        title: what the loop does: "comparing images".
        total: number of items, of earlier loops of the same work included; None: the length of
            `items`, where they have one.
        start: number of items of those earlier loops.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not shows_bars():
        yield from _LINES.follow(items, title, total, start)
        return
    from tqdm import tqdm

    heading = ", ".join(part for part in (_LINES.stage, title) if part)
    yield from tqdm(
        items, heading, total, initial=start, delay=_BAR_SECONDS, leave=False, file=sys.stderr
    )
