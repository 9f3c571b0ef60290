"""What changes between two revisions as one HTML page: no script, no request, its pictures inside."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.control_characters import escape_controls
from stages.tools.compare.changed_samples import Sample
from stages.tools.compare.changes import Changes, unchanged_parts

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
# Of the samples that are fixed, and of those that are broken, of a task.
_FIRST_SAMPLES = 12  # in sight; the others are folded
_MOST_SAMPLES = 60
# A sign and a tone for each verdict; colour is not the only thing that tells them apart.
SIGNS = {
    "better": ("▲", "good"),
    "worse": ("▼", "bad"),
    "equivalent": ("=", "same"),
    "not distinguishable": ("~", "open"),
    "underpowered": ("?", "open"),
    "too few groups": ("?", "open"),
}


def render_changes(changes: Changes) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from stages.report.formatting import percent, points, points_range
    from stages.report.rendering import highlight_class

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_escape_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("changes.html.j2").render(
        changes=changes,
        axis=_Axis.of(changes),
        percent=percent,
        points=points,
        points_range=points_range,
        data_url=_data_url,
        highlight_class=highlight_class,
        signs=SIGNS,
        first=_FIRST_SAMPLES,
        most=_MOST_SAMPLES,
        groups=_groups,
        unchanged=lambda task: " and ".join(unchanged_parts(task)),
        style=Markup(_base_style()),  # noqa: S704 (the project's own file)
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


def _base_style() -> str:
    """Return the style sheet of the packs' pages."""
    from stages.report import rendering

    folder = Path(rendering.__file__).parent / "templates"
    sheet = folder / "page.css"
    if sheet.is_file():
        return sheet.read_text(encoding="utf-8")
    page = (folder / "page.html.j2").read_text(encoding="utf-8")
    return "".join(_STYLE.findall(page))


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _escape_plain(value: Any) -> Any:
    """Return plain text with control characters as escapes, anything else (markup, numbers) as it is."""
    return escape_controls(value) if type(value) is str else value
