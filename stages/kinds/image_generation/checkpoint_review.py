"""The review of the flow's checkpoints against validation images: which one is selected, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from stages.evaluation.significance import proportion_interval
from stages.training.diagnostics import Diagnostic

if TYPE_CHECKING:
    from stages.evaluation.reference_set import ImageFeatures
    from stages.kinds.image_generation.schema import EvaluateFlow

REAL, MEMORISATION = "real against real", "memorisation control"
REVIEW_COLUMNS = ("status", "reason", "note")  # of the review, computed from its other columns
_SELECTED = "chosen"
_COPY_RATE, _COPYING_SCORE = "copy rate", "data-copying score"
_AS_REAL = 0.5  # data-copying score of samples that are as close as held-out images
_FALLS_BACK = 1.25  # Fréchet distance as a multiple of the best before it
_COLLAPSES = 0.1  # loss of coverage from one checkpoint to the next
_AGREEMENT = (
    0.9  # of the reference classifier's accuracy on real images: samples below it are mislabelled
)
_AGREEMENT_CONFIDENCE = 0.95
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class CheckpointReview:
    """The review of all checkpoints, and the selected one.

    Attributes:
        table: a row a checkpoint: method, step, metrics, status, reason, note.
        step: the selected one.
        rule_satisfied: whether its checkpoint satisfies the rule of selection.
    """

    table: pd.DataFrame
    step: int
    rule_satisfied: bool

    @property
    def method(self) -> str:
        """Return the name of the selected checkpoint."""
        return method_name(self.step)


def method_name(step: int) -> str:
    """Return the name of a checkpoint among methods."""
    return f"step {step}"


def review_checkpoints(
    results: Mapping[int, Metrics], real: Metrics, n_validation: int, params: "EvaluateFlow"
) -> CheckpointReview:
    """Return the review, in which one checkpoint is selected.

    Args:
        results: as for `review_table`.
        real: as for `review_table`.
        n_validation: as for `review_table`.
        params: as for `review_table`.
    """
    table = review_table(results, real, n_validation, params)
    step, rule_satisfied = select_checkpoint(table)
    table["status"] = np.where(table["step"] == step, _SELECTED, table["status"])
    return CheckpointReview(table, step, rule_satisfied)


def review_table(
    results: Mapping[int, Metrics], real: Metrics, n_validation: int, params: "EvaluateFlow"
) -> pd.DataFrame:
    """Return a row a checkpoint with its metrics, status, reason and note.

    The status is "candidate", or "review" where a rule is broken; the reason names the rules. The note
    compares with the checkpoints before.

    Args:
        results: metrics by step, rising.
        real: metrics of real images.
        n_validation: validation images.
        params: samples, min_diversity, copy_quantile, and the confidence with which a checkpoint must
            copy more than held-out real images do, as these themselves lie around the limits.
    """
    rows, best, previous = [], np.inf, None
    for step, metrics in results.items():
        reasons = [
            *_diversity_reasons(metrics, real, params.min_diversity),
            *_copying_reasons(metrics, n_validation, params),
        ]
        rows.append(
            {
                "method": method_name(step),
                "step": step,
                **metrics,
                "status": "review" if reasons else "candidate",
                "reason": "; ".join(reasons),
                "note": "; ".join(_notes(metrics, real, best, previous)),
            }
        )
        best, previous = min(best, metrics["frechet_validation"]), metrics
    return pd.DataFrame(rows)


def _diversity_reasons(metrics: Metrics, real: Metrics, min_diversity: float) -> list[str]:
    reasons = []
    for name in ("coverage", "recall"):
        value, ceiling = metrics[f"{name}_validation"], real[f"{name}_validation"]
        if value < min_diversity * ceiling:
            reasons.append(f"{name} {value:.3f} is below {min_diversity:g} of {ceiling:.3f}")
    return reasons


def _copying_reasons(metrics: Metrics, n_validation: int, params: "EvaluateFlow") -> list[str]:
    count, reasons = params.samples, []
    rate, score = metrics["copy_rate"], metrics["data_copying_score"]
    low, _ = proportion_interval(round(rate * count), count, params.confidence)
    if low > params.copy_quantile:
        reasons.append(f"{_COPY_RATE} {rate:.3f} is clearly above {params.copy_quantile:g}")
    # The standard error of Mann and Whitney's statistic, as a share.
    error = np.sqrt((count + n_validation + 1) / (12 * count * n_validation))
    tolerance = float(norm.isf((1 - params.confidence) / 2) * error)
    if score - tolerance > _AS_REAL:
        reasons.append(f"{_COPYING_SCORE} {score:.3f} is clearly above {_AS_REAL:g}")
    return reasons


def _notes(metrics: Metrics, real: Metrics, best: float, previous: Metrics | None) -> list[str]:
    """Return notes on a checkpoint.

    Args:
        metrics: of the checkpoint.
        real: of real images.
        best: the lowest Fréchet distance before it.
        previous: metrics of the checkpoint before it, if any.
    """
    distance = metrics["frechet_validation"]
    notes = [f"{distance / real['frechet_validation']:.1f} times real against real"]
    if previous is None:
        return notes
    if distance > _FALLS_BACK * best:
        notes.append("quality falls back")
    if metrics["coverage_validation"] < previous["coverage_validation"] - _COLLAPSES:
        notes.append("diversity collapses")
    if metrics["data_copying_score"] > previous["data_copying_score"]:
        notes.append("closer to the training images than before")
    return notes


def select_checkpoint(review: pd.DataFrame) -> tuple[int, bool]:
    """Return the selected step, and whether it satisfies the rule.

    It is the candidate with the lowest Fréchet distance; without a candidate, the checkpoint with the
    lowest of all, which then does not satisfy the rule.

    Args:
        review: step, status, frechet_validation.
    """
    candidates = review[review["status"] == "candidate"]
    rule_satisfied = not candidates.empty
    eligible = candidates if rule_satisfied else review
    best = int(eligible["frechet_validation"].to_numpy().argmin())
    return int(eligible["step"].to_numpy()[best]), rule_satisfied


def copying_warnings(review: pd.DataFrame, selected_step: int) -> list[Diagnostic]:
    """Return the warning that the selected checkpoint clearly copies training images.

    Args:
        review: step, reason.
        selected_step: of the review.
    """
    reason = str(review.loc[review["step"] == selected_step, "reason"].item())
    copying = [part for part in reason.split("; ") if part.startswith((_COPY_RATE, _COPYING_SCORE))]
    if not copying:
        return []
    return [
        Diagnostic(
            "copies training images",
            f"step {selected_step}, the closest to real images: {'; '.join(copying)}",
            "compare the samples with their nearest training images",
        )
    ]


def label_warnings(
    samples: "ImageFeatures", labels: np.ndarray, real: "ImageFeatures", real_labels: np.ndarray
) -> list[Diagnostic]:
    """Return the warning that samples are not of the classes they were drawn for.

    Args:
        samples: their description.
        labels: (n,), for which they were drawn.
        real: the description of real images.
        real_labels: (m,), of these images.
    """
    agreement, count = samples.label_agreement(labels), len(labels)
    real_agreement = real.label_agreement(real_labels)
    _, high = proportion_interval(round(agreement * count), count, _AGREEMENT_CONFIDENCE)
    if high >= _AGREEMENT * real_agreement:
        return []
    return [
        Diagnostic(
            "labels are ignored",
            f"the reference classifier agrees with the labels of {agreement:.1%} of {count} samples, and "
            f"of {real_agreement:.1%} of real images",
            "check the labels in the training batches",
        )
    ]


def plot_tables(log: pd.DataFrame, review: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables that `dvc plots` draws for the current model, by name.

    Args:
        log: of the primary seed.
        review: of the checkpoints.
    """
    diversity = ["coverage_validation", "label_agreement", "copy_rate", "data_copying_score"]
    return {
        "loss": log[["epoch", "train_loss", "validation_loss"]].reset_index(drop=True),
        "diversity": review[["step", *diversity]].reset_index(drop=True),
        "quality": review[["step", "frechet_validation"]].reset_index(drop=True),
    }


def baseline_plot_tables(
    plots: Mapping[str, pd.DataFrame], baseline: Metrics
) -> dict[str, pd.DataFrame]:
    """Return the same tables for the baseline, constant over the steps; it has no loss to compare.

    Args:
        plots: of the current model.
        baseline: metrics of the strongest baseline.
    """
    return {
        name: table.assign(**{column: baseline[column] for column in table.columns[1:]})
        for name, table in plots.items()
        if name != "loss"
    }
