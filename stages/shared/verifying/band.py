"""How far a metric may lie apart when a result is computed again: measured, not guessed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.shared.files import read_json
from stages.shared.refusal import Refusal

FILE = "evidence/band.json"
# What is judged in a row: the headline's figures and those of the baseline to beat. The others say the
# same once more, by seed and by method; the more are judged, the more often an honest run is called one
# too many.
JUDGED = ("current.", "baseline.")
_ROUNDED = 1e-6  # the last digit with which metrics and bands are written


@dataclass(frozen=True)
class Band:
    """By row and metric how far runs lay apart; and one tolerance for repositories without a band.

    Attributes:
        rows: by row, by metric (dotted key), its reach and the words seen, as evidence/band.json has it.
        tolerance: by which any metric may differ where no band is there.
    """

    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tolerance: float = 0.0

    @classmethod
    def read(cls, path: Path, tolerance: float) -> "Band":
        """Return the band that a repository has committed; an empty one where it has none.

        Raises:
            Refusal: it is damaged.
        """
        if not path.exists():
            return cls({}, tolerance)
        try:
            rows = {name: dict(row["metrics"]) for name, row in read_json(path)["rows"].items()}
        except (Refusal, LookupError, TypeError, ValueError, AttributeError):
            raise Refusal(
                f"{FILE} is damaged: measure it again with python -m stages.band"
            ) from None
        return cls(rows, tolerance)

    def is_of(self, row: str, metrics: Any) -> bool:
        """Return whether the band was measured of these metrics of a row."""
        here = leaves(metrics)
        return all(
            here.get(key) == found["committed"]
            for key, found in self.rows.get(row, {}).items()
            if key.startswith(JUDGED) and "committed" in found
        )

    def reach(self, row: str, key: str) -> float:
        """Return by how much a metric may differ."""
        found = self.rows.get(row, {}).get(key, {})
        return float(found.get("reach", 0.0 if row in self.rows else self.tolerance))

    def outside(self, row: str, here: Any, there: Any) -> Iterator[str]:
        """Say which judged metrics lie further apart than they may; "" as row for any repository's."""
        before, after = self._judged(row, here), self._judged(row, there)
        for key in sorted(before.keys() | after.keys()):
            one, other = before.get(key), after.get(key)
            if one == other:
                continue
            if not (isinstance(one, int | float) and isinstance(other, int | float)):
                if other not in self.rows.get(row, {}).get(key, {}).get("seen", []):
                    yield f"{key} is {one!r}, run again {other!r}"
            elif one != one and other != other:  # noqa: PLR0124 (neither is a number)
                continue
            # Not "further than": what is no number is within nothing.
            elif not abs(one - other) <= self.reach(row, key) + (
                _ROUNDED if row in self.rows else 0
            ):
                yield (
                    f"{key} is {one:.6g}, run again {other:.6g}: {abs(one - other):.3g} apart, "
                    f"{'the measured band is' if row in self.rows else 'the tolerance is'} "
                    f"{self.reach(row, key):.3g}"
                )

    @staticmethod
    def _judged(row: str, metrics: Any) -> dict[str, Any]:
        found = leaves(metrics)
        return {key: one for key, one in found.items() if not row or key.startswith(JUDGED)}

    def widest(self, row: str, here: Any, there: Any) -> str:
        """Return in words which metric differs most, by its share of the band."""
        before, after = self._judged(row, here), self._judged(row, there)
        apart = {
            key: abs(before[key] - after[key])
            for key in before.keys() & after.keys()
            if isinstance(before[key], int | float) and before[key] != after[key]
            if isinstance(after[key], int | float)
        }
        if not apart:
            return "every metric is the same"
        key = max(apart, key=lambda one: apart[one] / (self.reach(row, one) or 1e-12))
        return f"furthest apart: {key} by {apart[key]:.3g} of {self.reach(row, key):.3g}"


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Return the values in nested mappings and lists by dotted key."""
    if isinstance(value, dict | list) and value:
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            k: v
            for name, item in inside
            for k, v in leaves(item, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: value}
