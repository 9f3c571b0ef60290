"""Training runs of one stage side by side, each in a process of its own.

A process leaves the state after its last epoch, as a run does that is killed there. The stage then goes
over all runs in their order and resumes each from that state: the number of processes changes nothing.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.processes import end_with_parent
from stages.core.progress import LINE_SECONDS, show_in, shows_bars
from stages.core.slots import VARIABLE, Slots

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

_PAUSE = 1.0  # seconds between two looks for a free slot


def run_side_by_side(runs: Sequence[Callable[[], object]]) -> None:
    """Call functions in copies of this process, one at first and more while slots are free.

    A function that fails is of no concern here: whoever needs its result calls it again.

    Args:
        runs: what to call. A copy has one thread, so nothing must have been computed by several before.
    """
    if len(runs) == 1 or sys.platform != "linux":  # elsewhere a copy of a process is not safe
        return
    slots = Slots.inherited()
    # Under a program that runs stages side by side this stage has a slot already.
    own_slot = None if VARIABLE in os.environ else slots.take()
    context = multiprocessing.get_context("fork")
    waiting = list(runs)
    # With the slot of each; None for the first, which has the stage's own.
    running: dict[ForkProcess, int | None] = {}
    try:
        while waiting or running:
            while waiting:
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
    finally:
        for process in running:
            process.kill()
        if own_slot is not None:
            slots.release(own_slot)


def _run(function: Callable[[], object]) -> None:
    """Call a function as this process, which ends with the stage. Its error is the stage's to report."""
    end_with_parent()
    if shows_bars():  # of several processes they would overwrite each other
        show_in(sys.stderr, LINE_SECONDS)
    try:
        function()
    except UserError:
        sys.exit(1)
