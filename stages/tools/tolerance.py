"""How far the metrics of an honest rerun may differ: as measured, not guessed.

evidence/tolerance.json holds, for each task, the reruns that `evidence tolerance` made and what each
metric's tolerance is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.files import read_json

FILE = Path("evidence/tolerance.json")
# The metrics of a task that are compared: those of the primary seed's model and of the baseline to beat.
# The others repeat them by seed and by method; with each further metric more honest reruns fail by chance.
COMPARED = ("current.", "baseline.")
_LAST_DIGIT = 1e-6  # with which metrics and tolerances are written


@dataclass(frozen=True)
class Difference:
    """How one metric differs between a committed result and a rerun.

    Attributes:
        key: the metric, dotted.
        committed: its committed value, None where it has none.
        rerun: its value in the rerun, None where it has none.
        tolerance: by how much a number may differ; the words that may come up, where it is a word.
        measured: whether the tolerance was measured.
    """

    key: str
    committed: Any
    rerun: Any
    tolerance: Any
    measured: bool

    @property
    def is_numeric(self) -> bool:
        """Return whether both values are numbers."""
        return _is_number(self.committed) and _is_number(self.rerun)

    @property
    def size(self) -> float:
        """Return by how much two numbers differ."""
        return float(abs(self.committed - self.rerun))

    @property
    def share(self) -> float:
        """Return the difference as a share of the tolerance, infinite for what is no number."""
        return self.size / (self.tolerance or 1e-12) if self.is_numeric else float("inf")

    @property
    def is_outside(self) -> bool:
        """Return whether the values differ by more than the tolerance."""
        if not self.is_numeric:
            return self.rerun not in self.tolerance
        # Negated, so that NaN, which compares as false, is outside.
        return not self.size <= self.tolerance + (_LAST_DIGIT if self.measured else 0)

    def __str__(self) -> str:
        """Return the difference in words."""
        if not self.is_numeric:
            return f"{self.key} is {self.committed!r}, rerun {self.rerun!r}"
        kind = "measured tolerance" if self.measured else "tolerance"
        return (
            f"{self.key} is {self.committed:.6g}, rerun {self.rerun:.6g}: they differ by "
            f"{self.size:.3g}, the {kind} is {self.tolerance:.3g}"
        )


@dataclass(frozen=True)
class Tolerance:
    """The measured tolerance of each task's metrics.

    Attributes:
        tasks: task -> metric (dotted key) -> its entry in evidence/tolerance.json: "tolerance" of a
            number, "values" of a word, and "committed", the value that it was measured of.
        default: by which metrics may differ where nothing was measured.
    """

    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default: float = 0.0

    @classmethod
    def read(cls, path: Path, default: float = 0.0) -> "Tolerance":
        """Return the tolerance in a file; without tasks where there is no such file.

        Raises:
            UserError: the file is damaged.
        """
        if not path.exists():
            return cls({}, default)
        try:
            content = read_json(path)
        except (UserError, RecursionError):
            content = None
        return cls.parse(content, default)

    @classmethod
    def parse(cls, content: Any, default: float = 0.0) -> "Tolerance":
        """Return the tolerance in the content of a file.

        Raises:
            UserError: it is damaged.
        """
        try:
            tasks = {name: dict(entry["metrics"]) for name, entry in content["tasks"].items()}
            for metrics in tasks.values():
                for entry in metrics.values():
                    _ = float(entry.get("tolerance", 0)), list(entry.get("values", []))
        except (LookupError, TypeError, ValueError, AttributeError):
            raise UserError(f"{FILE} is damaged; measure it with `evidence tolerance`") from None
        return cls(tasks, default)

    def without(self, task: str) -> "Tolerance":
        """Return the same, but that nothing of a task may differ."""
        return Tolerance({**self.tasks, task: {}}, self.default)

    def belongs_to(self, task: str, metrics: Any) -> bool:
        """Return whether it was measured of these metrics of a task."""
        values = flatten(metrics)
        return all(
            values.get(key) == entry["committed"]
            for key, entry in self.tasks.get(task, {}).items()
            if key.startswith(COMPARED) and "committed" in entry
        )

    def differences(self, task: str, committed: Any, rerun: Any) -> Iterator[Difference]:
        """Yield the metrics that differ, of a task those that are compared.

        Args:
            task: "" for the metrics of any other repository.
            committed: metrics, nested.
            rerun: the same of a rerun.
        """
        before, after = (
            {
                key: value
                for key, value in flatten(metrics).items()
                if not task or key.startswith(COMPARED)
            }
            for metrics in (committed, rerun)
        )
        entries = self.tasks.get(task, {})
        measured = task in self.tasks
        for key in sorted(before.keys() | after.keys()):
            values = before.get(key), after.get(key)
            if values[0] == values[1] or all(value != value for value in values):  # noqa: PLR0124 (NaN)
                continue
            entry = entries.get(key, {})
            allowed = (
                float(entry.get("tolerance", 0.0 if measured else self.default))
                if all(map(_is_number, values))
                else list(entry.get("values", []))
            )
            yield Difference(key, *values, allowed, measured)

    def outside(self, task: str, committed: Any, rerun: Any) -> list[Difference]:
        """Return which metrics differ by more than the tolerance."""
        differences = self.differences(task, committed, rerun)
        return [difference for difference in differences if difference.is_outside]

    def largest(self, task: str, committed: Any, rerun: Any) -> str:
        """Return in words which number differs most, as a share of its tolerance."""
        numeric = [
            difference
            for difference in self.differences(task, committed, rerun)
            if difference.is_numeric
        ]
        if not numeric:
            return "all metrics are equal"
        largest = max(numeric, key=lambda difference: difference.share)
        return (
            f"largest difference: {largest.key} by {largest.size:.3g}, "
            f"the tolerance is {largest.tolerance:.3g}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flatten(value: Any, key: str = "") -> dict[str, Any]:
    """Return the values in nested mappings and lists by dotted key."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            inner_key: inner
            for name, item in items
            for inner_key, inner in flatten(item, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: value}
