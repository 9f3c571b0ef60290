"""Helpers of the tests on texts: CSV files, and tasks that read them."""

import csv
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.files import write_all
from stages.core.task import Task
from stages.datasets.tables.faults import FaultyRow
from stages.datasets.texts.sources import TextSample, read_samples, source_tables
from stages.kinds.text_classification.prepare import prepare
from stages.kinds.text_classification.schema import TextClassification
from support.project import default_task

COLUMNS: dict[str, Any] = {
    "text": "text",
    "label": "label",
    "id": None,
    "group": None,
    "slices": [],
}
KIND = "text_classification"


@cache
def default_text_task() -> Task:
    """Return the project's task sentiment."""
    return default_task("sentiment")


def text_task(
    path: Path, changes: Mapping[str, Mapping[str, Any]] | None = None, name: str = "sentiment"
) -> Task:
    """Return a task that reads the CSV file `path` with the columns text and label.

    Args:
        path: of the file.
        changes: by section, the params that differ from those of the project's task sentiment.
        name: of the task.
    """
    default = default_text_task()
    params = default.params.model_dump()
    params["prepare"] |= {"source": "csv", "path": str(path), "columns": COLUMNS, "separator": None}
    params["evaluate"]["bucket_by"] = None
    for section, values in (changes or {}).items():
        params[section] |= values
    return Task(name, KIND, TextClassification.model_validate(params), default.runtime)


def run_prepare(task: Task) -> None:
    """Write the prepared data of a task, as the stage does, below the current folder."""
    folder = task.folder("prepare")
    write_all(folder, prepare(task, folder).files())


def read_table(task: Task) -> list[TextSample | FaultyRow]:
    """Return the rows of a task's tables."""
    params = task.params.prepare
    tables = source_tables(task)
    return list(read_samples(tables, params.columns, params.classes, task.key("prepare")))


def to_csv_text(rows: list[list[str]], **style: Any) -> str:
    """Return rows as CSV; `style` as `csv.writer` takes it."""
    text = io.StringIO(newline="")
    csv.writer(text, **style).writerows(rows)
    return text.getvalue()


def write_texts(
    folder: Path, count: int = 60, classes: tuple[str, ...] = ("negative", "positive")
) -> Path:
    """Write a CSV file of random texts of 3 to 11 words, of each class in turn; return its path."""
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in random.integers(0, 999, 3 + n % 9)) for n in range(count)]
    rows = [[text, classes[n % len(classes)]] for n, text in enumerate(texts)]
    path = folder / "texts.csv"
    path.write_text(to_csv_text([["text", "label"], *rows]), newline="")
    return path


def write_topics(
    folder: Path, classes: int, per_class: int = 12, longest: int = 24, own: int = 3
) -> Path:
    """Write a table of topics, told apart by a few words of their own among common ones; return its path.

    Every third text is about a neighbouring topic in part, so that some are hard to tell apart.

    Args:
        folder: for the file.
        classes: how many topics.
        per_class: texts of each.
        longest: words of the longest text.
        own: words of its own that a topic has.
    """
    random = np.random.default_rng(0)
    rows = []
    for number in range(classes * per_class):
        topic, length = number % classes, 4 + number % (longest - 3)
        words = [f"common{word}" for word in random.integers(0, 60, length)]
        near = (topic + 1) % classes if number % 3 == 0 else topic
        words[0] = f"topic{topic}word{random.integers(own)}"
        words[-1] = f"topic{near}word{random.integers(own)}"
        rows.append([" ".join(words), f"topic {topic:03}"])
    path = folder / "topics.csv"
    path.write_text(to_csv_text([["text", "label"], *rows]), newline="", encoding="utf-8")
    return path
