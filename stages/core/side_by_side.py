"""Parts of a stage's work side by side, each in a process of its own.

A process leaves its result in a file: a training run the state after its last epoch, as one that is killed
there, a shard of image files its pixels. The stage then goes over all parts in their order and takes each
from its file, or does it itself: the number of processes changes nothing.
"""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.processes import end_with_parent
from stages.core.progress import LINE_SECONDS, show_in, shows_bars
from stages.core.slots import VARIABLE, Slots

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

_PAUSE = 1.0  # seconds between two looks for a free slot


def run_side_by_side(
    parts: Sequence[Callable[[], object]], limit: int | None = None
) -> Iterator[int]:
    """Call functions in copies of this process, one at first and more while slots are free.

    Yields the exit status of each when it has ended: 0, 1 after an error, -9 if it was killed. A function
    that fails is of no concern here: whoever needs its result calls it again.

    Args:
        parts: what to call. A copy has one thread, so nothing must have been computed by several before.
        limit: copies at the same time, at most; None: as many as there are slots.
    """
    if len(parts) <= 1 or sys.platform != "linux":  # elsewhere a copy of a process is not safe
        return
    slots = Slots.inherited()
    # Under a program that runs stages side by side this stage has a slot already.
    own_slot = None if VARIABLE in os.environ else slots.take()
    context = multiprocessing.get_context("fork")
    waiting = list(parts)
    # With the slot of each; None for the first, which has the stage's own.
    running: dict[ForkProcess, int | None] = {}
    try:
        while waiting or running:
            while waiting and (limit is None or len(running) < limit):
                has_own = None in running.values()
                slot = slots.take() if has_own else None
                if has_own and slot is None:
                    break
                process = context.Process(target=_run, args=(waiting.pop(0),))
                process.start()
                running[process] = slot
            wait([process.sentinel for process in running], _PAUSE if waiting else None)
            for process in [process for process in running if not process.is_alive()]:
                slot = running.pop(process)
                process.join()
                if slot is not None:
                    slots.release(slot)
                yield process.exitcode or 0
    finally:
        for process in running:
            process.kill()
        if own_slot is not None:
            slots.release(own_slot)


def _run(function: Callable[[], object]) -> None:
    """Call a function as this process, which ends with the stage. Its error is the stage's to report."""
    end_with_parent()
    gc.freeze()  # looking for garbage among the stage's objects would copy them all into this process
    if shows_bars():  # of several processes they would overwrite each other
        show_in(sys.stderr, LINE_SECONDS)
    try:
        function()
    except UserError:
        sys.exit(1)
