"""The page of all tasks: a card for each, from the files of its evidence in git."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.machine import results_digest
from stages.report.document import Figure, Headline, Picture, Tile
from stages.report.rendering import TONES, render_template

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stages.core.task import Task

PAGE = Path("evidence/index.html")
_TILES = 4  # failing samples on a card


@dataclass(frozen=True)
class Card:
    """What the page says of a task.

    Attributes:
        task: its name.
        kind: in words.
        headline: the verdict and the gain.
        failures: number of failure cases.
        worst: where the result is worse, in a sentence.
        next_step: in a line.
        chart: all methods.
        tiles: the first failing samples, if they are images.
        results: the first digits of the digest of the results, as in evidence/machine.json.
    """

    task: str
    kind: str
    headline: Headline
    failures: int
    worst: str
    next_step: str
    chart: Figure
    tiles: list[Tile]
    results: str


def read_card(task: "Task") -> Card:
    """Return the card of a task, from its evidence.

    Raises:
        UserError: a file of the evidence is missing or damaged.
    """
    folder = task.evidence
    record = read_json(folder / "record.json")
    data = {f"data/{path.name}": path.read_bytes() for path in (folder / "data").iterdir()}
    try:
        chart = (folder / "pictures" / "methods.svg").read_bytes()
        verdict = str(record["verdict"])
        if verdict not in TONES:
            raise UserError(f"{folder}/record.json: verdict: given {verdict!r}")
        return Card(
            task.name,
            str(record["kind"]).replace("_", " "),
            Headline(str(record["headline"]), verdict),
            int(record["failure_case_count"]),
            str(record["worst"]),
            str(record["next_step"]["summary"]),
            Figure("methods.svg", chart, f"Scores of the methods of {task.name}", ""),
            [
                Tile(path.name, Picture(path.read_bytes(), "a failing sample"), "")
                for path in sorted((folder / "pictures").glob("case-*.png"))[:_TILES]
            ],
            results_digest(data)[:12],
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{folder}: it is not as the stage pack writes it ({error!r})") from error


def render_index(tasks: "Iterable[Task]") -> bytes:
    """Return the page; arguments of `read_card`."""
    return render_template("index.html.j2", cards=[read_card(task) for task in tasks]).encode()
