"""The walkthrough's page: its template filled, its cells run, and the chart of difficulties."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_csv
from stages.report.formatting import percent
from stages.tools.walkthrough.cells import execute, split_cells, to_markdown, to_notebook
from stages.tools.walkthrough.exercises import (
    DIFFICULTIES,
    OUTCOMES,
    read_exercises,
    rows_by_exercise,
)

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.task import Task

CHART = "difficulty.svg"
_SPECIFICATION = Path(__file__).parent / "difficulty.json"


@dataclass(frozen=True)
class Page:
    """A walkthrough.

    Attributes:
        markdown: the page.
        notebook: the same as JSON of a Jupyter notebook.
        pictures: file name -> bytes; the page links to them in the folder of its task.
        names: what the cells have left behind: the values of the last step.
    """

    markdown: str
    notebook: str
    pictures: dict[str, bytes]
    names: dict[str, Any]


def make_page(task: "Task", tables: Path) -> Page:
    """Run a task's walkthrough in the current folder.

    Args:
        task: of a kind that has one.
        tables: the folder of the exercises' outcomes; where they are missing, the page has no exercises.

    Raises:
        UserError: the data have not been prepared, or a table lacks an exercise.
    """
    exercises: list[dict[str, Any]] = []
    difficulties: list[dict[Any, Any]] = []
    charts: dict[str, bytes] = {}
    if (tables / OUTCOMES).exists():
        rows = rows_by_exercise(read_csv(tables / OUTCOMES))
        for exercise in read_exercises():
            if exercise.name not in rows:
                raise UserError(
                    f"{tables / OUTCOMES}: has no exercise {exercise.name!r}; make it anew with "
                    f"`evidence walkthrough {task.name} --out {tables.parent} --outcomes`"
                )
            exercises.append(rows[exercise.name] | asdict(exercise))
        table = read_csv(tables / DIFFICULTIES)
        difficulties = table.to_dict("records")
        charts[CHART] = difficulty_chart(table)
    page = _fill(task, exercises, difficulties)
    cells, names = split_cells(page), {"__name__": "walkthrough"}
    outputs = list(execute(cells, names))
    pictures = {
        f"{output.picture.name}.png": output.picture._repr_png_()
        for output in outputs
        if output.picture
    }
    return Page(
        to_markdown(cells, outputs, task.name),
        to_notebook(cells, outputs),
        {**charts, **pictures},
        names,
    )


def _fill(task: "Task", exercises: list[dict[str, Any]], difficulties: list[dict[Any, Any]]) -> str:
    """Return the page with its cells, before they run."""
    from jinja2 import Environment, StrictUndefined

    from stages.report.rendering import escape_markdown

    module = task.module("walkthrough")
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (Markdown; names are escaped by the filter)
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = escape_markdown
    template = environment.from_string(module.TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        **module.template_values(task),
        exercises=exercises,
        difficulties=difficulties,
        percent=percent,
    )


def difficulty_chart(table: "pd.DataFrame") -> bytes:
    """Return the accuracy of both networks by difficulty, with intervals, as SVG.

    Args:
        table: difficulty; linear and cnn, as shares, each with _low and _high.
    """
    import vl_convert

    rows = [
        {"difficulty": row["difficulty"], "network": name, **_scores(row, key)}
        for row in table.to_dict("records")
        for name, key in (("linear", "linear"), ("CNN", "cnn"))
    ]
    specification = json.loads(_SPECIFICATION.read_text(encoding="utf-8"))
    svg: str = vl_convert.vegalite_to_svg({**specification, "datasets": {"scores": rows}})
    return svg.encode()


def _scores(row: dict[Any, Any], key: str) -> dict[str, float]:
    return {"accuracy": row[key], "low": row[f"{key}_low"], "high": row[f"{key}_high"]}
