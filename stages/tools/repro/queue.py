"""Which stages may run, and which of them first."""

from collections.abc import Collection, Mapping
from functools import cache


class StageQueue:
    """The stages that wait, those that run, and those that a failure leaves out.

    Of the stages that may run, the one with the longest remaining path comes first: it and the longest
    chain of stages that wait for it, in seconds (list scheduling by critical path: Graham, 1969).

    Args:
        dependencies: by stage, those that must end before it starts.
        seconds: by stage, how long it is expected to take.
    """

    def __init__(
        self, dependencies: Mapping[str, Collection[str]], seconds: Mapping[str, float]
    ) -> None:
        self._waiting = {name: set(names) for name, names in dependencies.items()}
        self._path = remaining_paths(dependencies, seconds)

    def __bool__(self) -> bool:
        """Return whether stages wait."""
        return bool(self._waiting)

    def take(self) -> str | None:
        """Return the stage to start next, which waits no longer; None if none may start."""
        ready = [name for name, names in self._waiting.items() if not names]
        if not ready:
            return None
        name = max(ready, key=lambda name: self._path[name])  # of equals the first
        del self._waiting[name]
        return name

    def finish(self, name: str) -> None:
        """Let the stages that waited for one start."""
        for names in self._waiting.values():
            names.discard(name)

    def fail(self, name: str) -> list[str]:
        """Leave out what depends on a stage that failed; return the names."""
        failed, skipped = [name], []
        while failed:
            cause = failed.pop()
            dependents = [name for name, names in self._waiting.items() if cause in names]
            for dependent in dependents:
                del self._waiting[dependent]
            failed += dependents
            skipped += dependents
        return skipped


def remaining_paths(
    dependencies: Mapping[str, Collection[str]], seconds: Mapping[str, float]
) -> dict[str, float]:
    """Return for each stage the seconds of it and of the longest chain of stages that wait for it.

    Args:
        dependencies: by stage, those that must end before it starts; without cycles.
        seconds: by stage.
    """
    dependents: dict[str, list[str]] = {name: [] for name in dependencies}
    for name, names in dependencies.items():
        for dependency in names:
            dependents[dependency].append(name)

    @cache
    def path(name: str) -> float:
        return seconds[name] + max((path(after) for after in dependents[name]), default=0.0)

    return {name: path(name) for name in dependencies}


def makespan(
    dependencies: Mapping[str, Collection[str]], seconds: Mapping[str, float], jobs: int
) -> float:
    """Return how long the stages would take, `jobs` at a time, if each took its seconds whatever else runs.

    Args:
        dependencies: by stage, those that must end before it starts; without cycles.
        seconds: by stage.
        jobs: how many run at the same time, at most.
    """
    queue = StageQueue(dependencies, seconds)
    ends: dict[str, float] = {}
    clock = 0.0
    while queue or ends:
        while len(ends) < jobs and (name := queue.take()) is not None:
            ends[name] = clock + seconds[name]
        name = min(ends, key=lambda name: ends[name])
        clock = ends.pop(name)
        queue.finish(name)
    return clock
