"""The groups that a regular expression finds in the paths of files, in limited time."""

import re
import signal
from collections.abc import Sequence
from types import FrameType

from stages.core.errors import UserError

_SECONDS = 5.0  # of processor time that matching may take, and for each path:
_SECONDS_PER_PATH = 0.001  # a simple pattern takes microseconds


class _TooSlowError(Exception):
    """The time is up."""


def match_paths(pattern: str, paths: Sequence[str], key: str) -> "list[re.Match[str] | None]":
    """Return where the pattern first matches in each path.

    Nested repetitions such as `(a+)+$` can take longer than the age of the universe on a long name. The
    time of the processor is limited by a signal, which interrupts a match; so it is called in the main
    thread.

    Args:
        pattern: a regular expression.
        paths: of the files.
        key: of the pattern, for errors.

    Raises:
        UserError: matching takes too long.
    """
    expression, matches = re.compile(pattern), []
    before = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS + _SECONDS_PER_PATH * len(paths))
    try:
        for path in paths:
            matches.append(expression.search(path))  # noqa: PERF401 (their number names the slow one)
    except _TooSlowError:
        raise UserError(
            f"{key}: {pattern!r} takes too long to match {paths[len(matches)]!r}; write it without a "
            "repetition in a repetition, such as (a+)+"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return matches


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _TooSlowError
