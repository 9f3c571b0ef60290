"""Slots: how many processes compute at the same time in a project.

A program that runs stages side by side says in a variable how many slots there are. So a stage that could
use more processes, for several training runs, takes the slots that no other stage needs, and no more. The
system frees a slot when the process that holds it ends in any way.
"""

import fcntl
import os
from pathlib import Path

VARIABLE = "EVIDENCE_SLOTS"
_FOLDER = Path(".dvc/tmp/slots")  # git ignores it


class Slots:
    """The slots of the project in the current folder: a file each, locked by the process that has the slot.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        _FOLDER.mkdir(parents=True, exist_ok=True)

    @classmethod
    def inherited(cls) -> "Slots":
        """Return the slots of the program that runs this stage; without one, as many as there are cores."""
        count = os.environ.get(VARIABLE, "")
        return cls(int(count) if count.isdigit() else core_count())

    def environment(self) -> dict[str, str]:
        """Return the variable by which a child process knows them."""
        return {VARIABLE: str(self.count)}

    def take(self) -> int | None:
        """Return a descriptor that holds a free slot until it is released; None if all are taken."""
        for number in range(self.count):
            descriptor = os.open(
                _FOLDER / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None

    @staticmethod
    def release(descriptor: int) -> None:
        """Free a slot, also where a copy of this process has inherited the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def core_count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
