"""The outputs of the stages of an image generator, and what the pack reads from them."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.report.stage_outputs import StageOutputs

METRIC_NAMES = {
    "frechet": "Fréchet distance",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "label_agreement": "label agreement",
    "copy_rate": "copy rate",
    "data_copying_score": "data-copying score",
}
_WITHOUT_SPLIT = ("label_agreement", "copy_rate", "data_copying_score")


@dataclass(frozen=True)
class GenerationOutputs(StageOutputs):
    """The outputs of the stages of an image generator.

    Attributes:
        review: a row a checkpoint, baseline and control, against validation images.
        samples: a row a sample of the selected checkpoint.
        classes: a row a class.
    """

    review: pd.DataFrame
    samples: pd.DataFrame
    classes: pd.DataFrame

    @property
    def checkpoint_rows(self) -> pd.DataFrame:
        """Return the rows of the review that are of checkpoints, with their step as a whole number."""
        rows = self.review[self.review["status"] != ""]
        return rows.assign(step=rows["step"].astype(float).astype(int))

    @property
    def real(self) -> dict[str, Any]:
        """Return the metrics of real images against test images: the ceiling."""
        metrics: dict[str, Any] = self.metrics["controls"][self.metrics["ceiling"]]
        return metrics

    def metric_table(self) -> pd.DataFrame:
        """Return the metrics against test images: a row a method, control and sampling seed."""
        seeds = self.metrics["sampling_seeds"].items()
        rows = [
            *((f"{name} (baseline)", row) for name, row in self.metrics["baselines"].items()),
            *((f"model, sampling seed {seed}", row) for seed, row in seeds),
            *self.metrics["controls"].items(),
        ]
        keys = list(metric_columns("test"))
        return pd.DataFrame(
            [{"method": name, **{key: row[key] for key in keys}} for name, row in rows]
        )


def metric_columns(split: str) -> dict[str, str]:
    """Return the headings of the metrics against one split, by their keys."""
    return {
        name if name in _WITHOUT_SPLIT else f"{name}_{split}": heading
        for name, heading in METRIC_NAMES.items()
    }
