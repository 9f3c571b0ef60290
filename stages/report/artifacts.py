"""The files of evidence: where a stage writes each, its name in the pack, and how it is read.

One table serves all who need it: the pack copies from it, the report loads by it, `evidence verify`
compares by it. Each kind adds its own rows in `stages/kinds/<kind>/artifacts.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.files import read_csv, read_json

if TYPE_CHECKING:
    from stages.core.task import Task

_CASE_TEXT = (
    "id",
    "group",
    "true",
    "predicted",
    "baseline",
    "bucket",
    "cause",
    "neighbour",
    "neighbours",
    "neighbour_labels",
    "neighbour_rows",
    "text",
)
_PREDICTION_TEXT = ("id", "group", "bucket")


@dataclass(frozen=True)
class Artifact:
    """A file that a stage writes and the pack holds.

    Attributes:
        name: the field of the stage outputs into which it is loaded.
        stage: that writes it.
        file: its name in data/<stage>/<task>.
        packed_as: its name in evidence/<task>/data.
        text: columns of a table that are text, also where they look like numbers.
    """

    name: str
    stage: str
    file: str
    packed_as: str
    text: tuple[str, ...] = ()

    def path(self, task: "Task") -> Path:
        """Return where the stage writes it."""
        return task.folder(self.stage) / self.file

    def pack_path(self, task: "Task") -> Path:
        """Return where the pack holds it."""
        return task.evidence / "data" / self.packed_as

    def load(self, path: Path) -> Any:
        """Return the content of `path`: parsed JSON, or a table.

        Raises:
            UserError: it is missing or damaged.
        """
        if path.suffix == ".json":
            return read_json(path)
        return read_csv(path, dtype=dict.fromkeys(self.text, str))


COMMON = (
    Artifact("checks", "check", "checks.json", "checks.json"),
    Artifact("shapes", "check", "shapes.csv", "model_summary.csv"),
    Artifact("baseline", "baseline", "baseline.json", "baseline.json"),
    Artifact("log", "train", "log.csv", "training_log.csv"),
    Artifact("checkpoints", "train", "checkpoints.json", "checkpoints.json"),
    Artifact("diagnostics", "train", "diagnostics.json", "diagnostics.json"),
    Artifact("metrics", "evaluate", "metrics.json", "metrics.json"),
    Artifact("data_warnings", "evaluate", "data_warnings.json", "data_warnings.json"),
    Artifact("cases", "failures", "cases.csv", "failure_cases.csv", _CASE_TEXT),
    Artifact("successes", "failures", "successes.csv", "prediction_samples.csv", _CASE_TEXT),
    Artifact("summary", "failures", "summary.json", "failure_summary.json"),
    Artifact("next_step", "failures", "next_step.json", "next_step.json"),
)
CLASSIFICATION = (
    *COMMON,
    Artifact("per_class", "evaluate", "per_class.csv", "per_class.csv", ("class",)),
    Artifact(
        "confusion", "evaluate", "confusion.csv", "confusion_matrix.csv", ("true / predicted",)
    ),
    Artifact("slices", "evaluate", "slices.csv", "slices.csv", ("slice", "value")),
    Artifact("predictions", "evaluate", "predictions.csv", "predictions.csv", _PREDICTION_TEXT),
    Artifact(
        "baseline_predictions",
        "evaluate",
        "baseline_predictions.csv",
        "baseline_predictions.csv",
        ("id",),
    ),
    Artifact(
        "validation_predictions",
        "evaluate",
        "validation_predictions.csv",
        "validation_predictions.csv",
        ("id",),
    ),
)
