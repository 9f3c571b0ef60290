"""Checks of an evaluation: label noise, classes never recognised, weights that do not fit their log."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import EvidenceError
from stages.training.diagnostics import Diagnostic

if TYPE_CHECKING:
    import pandas as pd

# The label noise warning needs three shares to agree; all were measured with the default networks.
# "Contradicted": the model predicts another class than the label. "Confident half": the half of the
# samples with the highest confidence.
#
# Contradicted share of the confident half of training samples. Clean digits 0.0% (10 splits and seeds,
# 6 epochs each), clean reviews up to 6.9% (10 splits and seeds; hence the second share); with a tenth of
# labels wrong 5.3% to 9.9% (digits), 7.4% to 10.0% (reviews, 4 seeds).
MAX_CONTRADICTED = 0.05
# That share divided by the contradicted share of all training samples. Wrong labels are as frequent in
# the confident half as elsewhere (1); the mistakes of a model lie in the other half (0). With a tenth of
# labels wrong 0.51 to 0.64 (digits, 5 splits and seeds) and 0.61 to 0.67 (stripes, 3); clean reviews,
# which MiniLM gets wrong more often than digits, 0.22 to 0.38 (3).
MAX_CONCENTRATION = 0.45
# Contradicted share of the confident half of validation samples, above which the model generalises too
# poorly for a warning. Digits with a tenth of labels wrong 4.7% to 15.9% (10 seeds); a Transformer from
# scratch on clean reviews, which contradicts up to 24% of its confident half of training samples, 25.5%
# to 38.0% (8 seeds).
MAX_VALIDATION_CONTRADICTED = 0.2
# The start of a warning's name; the class follows. "Never recognises": it is predicted, but always wrongly.
NEVER_PREDICTS, NEVER_RECOGNISES = "never predicts", "never recognises"
MIN_VALIDATION_SAMPLES = 3  # of a class, for a recall of 0 to be a warning
# How far a loss may be from the one in the log, by the precision of training.
_TOLERANCE, _REDUCED_PRECISION_TOLERANCE = 1e-3, 0.05


def warning_rows(warnings: Sequence[Diagnostic]) -> list[dict[str, str]]:
    """Return warnings as JSON takes them: {name, observed, remedy}."""
    return [asdict(warning) for warning in warnings]


def label_noise(
    probabilities: np.ndarray,
    labels: np.ndarray,
    validation_probabilities: np.ndarray,
    validation_labels: np.ndarray,
) -> list[Diagnostic]:
    """Return a warning if a model contradicts many labels that it was trained on.

    A network fits wrong labels last (Arpit et al., 2017), and a confident prediction that contradicts
    a label points to a wrong label (confident learning, Northcutt et al., 2021). Samples that are
    merely difficult have low confidence, so only the confident half of the samples counts.

    Args:
        probabilities: of the training samples, (n, classes).
        labels: of the training samples, (n,), integers.
        validation_probabilities: of the validation samples, (m, classes).
        validation_labels: of the validation samples, (m,), integers.
    """
    contradicted = _contradicted(probabilities, labels)
    share = float(contradicted.mean())
    overall = float((probabilities.argmax(axis=1) != labels).mean())
    if share <= max(MAX_CONTRADICTED, MAX_CONCENTRATION * overall):
        return []
    validation = _contradicted(validation_probabilities, validation_labels)
    if validation.mean() > MAX_VALIDATION_CONTRADICTED:
        return []
    observed = (
        f"the model contradicts the labels of {int(contradicted.sum())} of the {len(contradicted)} "
        f"training samples with the highest confidence ({share:.1%}; {overall:.1%} of all training "
        f"samples); with clean labels it is at most {MAX_CONTRADICTED:.0%}, or far less than of all"
    )
    return [
        Diagnostic("label noise", observed, "check these samples by eye, and correct their labels")
    ]


def _contradicted(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for the confident half of n samples whether their labels are contradicted, (n // 2,)."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    confident = order[: max(1, len(labels) // 2)]
    contradicted: np.ndarray = probabilities[confident].argmax(axis=1) != labels[confident]
    return contradicted


def unrecognised_classes(validation: "pd.DataFrame", classes: Sequence[str]) -> list[Diagnostic]:
    """Return a warning for each class of which the primary seed's model recognises no sample.

    Args:
        validation: a row a validation sample: label, and each seed's predicted label, the primary seed
            first. Classes with fewer than `MIN_VALIDATION_SAMPLES` samples are left out.
        classes: their names.
    """
    labels = validation["label"].to_numpy(dtype=np.int64)
    seeds = validation.filter(regex=r"^seed_\d+$").to_numpy()
    warnings = []
    for label, name in enumerate(classes):
        of_class = labels == label
        recognised = (seeds[of_class] == label).sum(axis=0)
        if of_class.sum() < MIN_VALIDATION_SAMPLES or recognised[0] > 0:
            continue
        is_predicted = bool((seeds[:, 0] == label).any())
        several = len(recognised) > 1
        model = "the primary seed's model" if several else "the model"
        agreement = f"; {int((recognised == 0).sum())} of {len(recognised)} seeds do the same"
        observed = (
            f"of {int(of_class.sum())} validation samples of class {name} ({of_class.mean():.1%} of "
            f"all), {model} recognises none"
            f"{agreement if several else ''}"
        )
        remedy = (
            "train.class_weights: balanced, with evaluate.metric: balanced_accuracy or macro_f1, which "
            "accuracy hides; then more samples of the class"
        )
        failure = NEVER_RECOGNISES if is_predicted else NEVER_PREDICTS
        warnings.append(Diagnostic(f"{failure} class {name}", observed, remedy))
    return warnings


def mean_cross_entropy(
    probabilities: np.ndarray, labels: np.ndarray, class_weights: np.ndarray | None = None
) -> float:
    """Return the mean cross entropy in nats, clipped only at the smallest float32, as in training.

    Args:
        probabilities: (n, classes).
        labels: (n,), integers.
        class_weights: the weight of each class in the mean, (classes,); None: all weigh the same.
    """
    true = probabilities[np.arange(len(labels)), labels].astype(float)
    losses = -np.log(true.clip(min=np.finfo(np.float32).tiny))
    weights = None if class_weights is None else class_weights[labels]
    return float(np.average(losses, weights=weights))


def require_logged_loss(loss: float, log: "pd.DataFrame", epoch: int, precision: str) -> None:
    """Check that stored weights give the validation loss that training logged for them.

    The tolerance allows for the rounding of other machines, and of reduced precision.

    Args:
        loss: the mean loss of the stored weights on the validation samples.
        log: the training log of the weights' seed.
        epoch: after which the weights were stored.
        precision: of training, as Lightning Fabric takes it.

    Raises:
        EvidenceError: the losses differ: these are other weights, or other data selected them.
    """
    row = log[log["epoch"] == epoch].iloc[0]
    logged, seed = float(row["validation_loss"]), int(row["seed"])
    full = precision in {"32-true", "64-true"}
    tolerance = _TOLERANCE if full else _REDUCED_PRECISION_TOLERANCE
    if not math.isclose(loss, logged, rel_tol=tolerance, abs_tol=tolerance):
        raise EvidenceError(
            f"the chosen weights give the logged validation loss: those of seed {seed} give "
            f"{loss:.4f} on validation data, the log says {logged:.4f} at epoch {epoch}; either "
            "training did not write these weights, or it selected them on other data: run the stage "
            "train again, and check what stages/kinds/*/train.py validates on"
        )
