"""On which machine committed results were computed, and whether this one is like it.

On a like machine the bytes must be the same. Whatever is wrong with a record, its results count as
computed on another machine: no record makes a verdict milder than that.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import UserError


@dataclass(frozen=True)
class Machines:
    """This machine, and those of the committed results.

    Attributes:
        host: the record of this machine.
        recorded: the record by task, for the tasks that have a valid one.
        notes: why a task has none.
    """

    host: dict[str, Any]
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def differences(self, task: str) -> dict[str, Any]:
        """Return in which properties the machine of a task's results differs from this one."""
        record = self.recorded[task]
        keys = sorted(record.keys() | self.host.keys())
        return {
            key: record.get(key, "unknown") for key in keys if record.get(key) != self.host.get(key)
        }

    def other_machines(self) -> list[str]:
        """Return in words on which other machines results were computed, with their tasks."""
        tasks: dict[str, list[str]] = {}
        for task in self.recorded:
            differences = self.differences(task)
            if differences:
                properties = ", ".join(f"{key} {value}" for key, value in differences.items())
                tasks.setdefault(properties, []).append(task)
        return [
            f"computed on another machine ({properties}): {', '.join(names)}"
            for properties, names in tasks.items()
        ]

    def is_alike(self, task: str) -> bool:
        """Return whether a task's results were computed, by their record, on the CPU of a like machine.

        Whether this machine would use a GPU of its own does not count.
        """
        record = self.recorded.get(task, {})
        return record.get("device") == "cpu" and self.differences(task).keys() <= {"device"}


def read_machines(root: Path, tasks: Sequence[str]) -> Machines:
    """Return this machine, and the records in a clone that belong to the results in it.

    Args:
        root: the clone, in which nothing has been run.
        tasks: by name.
    """
    from stages.core.machine import FILE, host_record, machine_record, read_machines, results_digest
    from stages.kinds.params import FILE as PARAMS
    from stages.kinds.params import load_params

    machines = Machines(host_record())
    with suppress(UserError):  # the hashes tier reports it
        if tasks:
            machines.host.update(machine_record(load_params(root / PARAMS).runtime))
    records = read_machines(root / FILE)
    for task in tasks:
        record = records.get(task)
        if record is None:
            machines.notes.append(f"{FILE} has no record of {task}; {_CONSEQUENCE}")
        elif record.get("results_sha256") != results_digest(_pack_files(root / "evidence" / task)):
            machines.notes.append(
                f"{FILE}: its record of {task} is of other results; {_CONSEQUENCE}"
            )
        else:
            machines.recorded[task] = dict(record["machine"])
    return machines


_CONSEQUENCE = "they count as computed on another machine"


def _pack_files(folder: Path) -> Mapping[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
