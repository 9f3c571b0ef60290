"""What changes between two revisions as one HTML page: no script, no request, its pictures inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.tools.compare.changed_samples import Sample
from stages.tools.compare.changes import Changes, unchanged_parts

_TEMPLATES = Path(__file__).parent / "templates"
# Of the samples that are fixed, and of those that are broken, of a task.
_FIRST_SAMPLES = 12  # in sight; the others are folded
_MOST_SAMPLES = 60


def render_changes(changes: Changes) -> str:
    """Return the page."""
    from stages.report.formatting import percent, points, points_range
    from stages.report.rendering import render_template

    return render_template(
        "changes.html.j2",
        _TEMPLATES,
        changes=changes,
        axis=_Axis.of(changes),
        percent=percent,
        points=points,
        points_range=points_range,
        first=_FIRST_SAMPLES,
        most=_MOST_SAMPLES,
        groups=_groups,
        unchanged=lambda task: " and ".join(unchanged_parts(task)),
    )


@dataclass(frozen=True)
class _Axis:
    """The axis of gains that all tasks share, from `low` to `high`, with 0 on it."""

    low: float
    high: float

    @classmethod
    def of(cls, changes: Changes) -> "_Axis":
        """Return the axis that holds the intervals of all tasks, with a margin on either side."""
        ends = [0.0, *(value for task in changes.tasks for value in task.gain)]
        margin = 0.05 * (max(ends) - min(ends)) or 0.01
        return cls(min(ends) - margin, max(ends) + margin)

    def place(self, gain: float) -> str:
        """Return where a gain is on the axis, as CSS has it: 0% is its start."""
        return f"{100 * (gain - self.low) / (self.high - self.low):.2f}%"

    def length(self, low: float, high: float) -> str:
        """Return how long an interval is on the axis."""
        return f"{100 * (high - low) / (self.high - self.low):.2f}%"


def _groups(task: Any) -> list[tuple[str, Sequence[Sample]]]:
    """Return the samples of a task under their headings, those that the change breaks first."""
    return [("broken", task.broken), ("fixed", task.fixed)]
