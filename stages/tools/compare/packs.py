"""What a revision holds of its tasks: the packs in git, read without a checkout."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.compare.revision import Revision

if TYPE_CHECKING:
    from stages.evaluation.imported_predictions import PredictionTable

PACKS = "evidence"
_METRICS = re.compile(rf"{PACKS}/([^/]+)/data/metrics\.json")


@dataclass(frozen=True)
class Pack:
    """What a revision holds of a task.

    Attributes:
        revision: in which it is.
        folder: of its data.
        metrics: of the model, the baselines and the seeds.
        note: of the data set.
        params: of the task, by section.
        has_predictions: whether there is a table of them, as of a classifier.
    """

    revision: Revision
    folder: str
    metrics: Mapping[str, Any]
    note: Mapping[str, Any]
    params: Mapping[str, Any]
    has_predictions: bool

    def predictions(self, group: str | None) -> "PredictionTable":
        """Return the test predictions of the primary seed's model, with classes by name.

        Args:
            group: the column of groups; "none" for independent samples.

        Raises:
            UserError: the table is not as the stages write it.
        """
        from stages.datasets.tables.formats import csv_source
        from stages.evaluation.imported_predictions import read_predictions
        from stages.evaluation.prediction_columns import ColumnNames

        path = f"{self.folder}/predictions.csv"
        source = csv_source(f"{self.revision.name}:{path}", self.revision.read(path))
        seeds = [name for name in source.header if re.fullmatch(r"seed_\d+", name)] or ["seed_0"]
        names = ColumnNames(id="id", label="label", prediction=seeds[0], group=group, loss="loss")
        table = read_predictions(source, names)
        classes = {
            str(index): str(name) for index, name in enumerate(self.note.get("classes") or ())
        }
        samples = {
            name: sample._replace(
                label=classes.get(sample.label, sample.label),
                prediction=classes.get(sample.prediction, sample.prediction),
            )
            for name, sample in table.samples.items()
        }
        return replace(table, samples=samples)

    def rows(self, path: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file of the pack; none where it is missing or damaged.

        Args:
            path: relative to the pack.
        """
        with suppress(UserError, csv.Error):
            return list(_rows(self.revision.read(f"{self.folder.removesuffix('data')}{path}")))
        return []

    def page(self) -> str:
        """Return the pack's HTML page, "" where there is none."""
        with suppress(UserError):
            return self.revision.read(f"{self.folder.removesuffix('data')}index.html")
        return ""


def _rows(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV text by column; the apostrophe that escapes a formula is removed.

    Raises:
        csv.Error: it is no CSV.
    """
    for row in csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=""):
        yield {str(name): re.sub(r"^'(?='*[=+\-@])", "", str(cell)) for name, cell in row.items()}


def read_packs(revision: Revision) -> dict[str, Pack]:
    """Return the packs of a revision by task.

    Raises:
        UserError: a file of a pack is damaged.
    """
    files = set(revision.files(PACKS))
    tasks = [match[1] for match in map(_METRICS.fullmatch, sorted(files)) if match]
    packs = {}
    for task in tasks:
        folder = f"{PACKS}/{task}/data"
        metrics, note, params = (
            revision.read_json(f"{folder}/{name}.json") if f"{folder}/{name}.json" in files else {}
            for name in ("metrics", "dataset_note", "params")
        )
        has_predictions = f"{folder}/predictions.csv" in files
        packs[task] = Pack(revision, folder, metrics, note, params, has_predictions)
    return packs
