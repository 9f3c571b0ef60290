"""What an evaluation found amiss, by name: what it saw, and what to look at first."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.refusal import Refusal
from stages.shared.troubles import Trouble

if TYPE_CHECKING:
    import pandas as pd

# Share of the surest half of training samples at which the model says another label. Measured with
# the default networks: clean digits 0.0% (10 splits and seeds, 6 epochs each), clean reviews up to 6.9%
# (10 splits and seeds; hence `EVEN`); with a tenth of labels wrong 5.3% to 9.9% (digits), 7.4% to 10.0%
# (reviews, 4 seeds).
CONTRADICTED = 0.05
# That share over the share of all training samples: wrong labels lie among the surest as often as
# anywhere (1), a model's own mistakes among the unsure (0). With a tenth of labels wrong 0.51 to 0.64
# (digits, 5 splits and seeds) and 0.61 to 0.67 (stripes, 3); clean reviews, which MiniLM gets wrong
# more often than digits, 0.22 to 0.38 (3).
EVEN = 0.45
# The same share of validation samples, up to which a model may contradict: digits with a tenth of labels
# wrong 4.7% to 15.9% (10 seeds); a Transformer from scratch on clean reviews, which hardly generalises
# and contradicts up to 24% of its surest training labels, 25.5% to 38.0% (8 seeds).
TRUSTED = 0.2
# What is said where stored weights and their log do not fit together.
UNFIT = "the chosen weights give the logged validation loss"
# How far a loss may be from the one in the log, by training's precision.
_EXACT, _ROUGH = 1e-3, 0.05


def rows(alarms: list[Trouble]) -> list[dict[str, str]]:
    """Return alarms as JSON takes them."""
    return [asdict(alarm) for alarm in alarms]


def _contradicted(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return of the surest half of samples whether each is given another label than it has, (n // 2,)."""
    half = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, len(labels) // 2)]
    against: np.ndarray = probabilities[half].argmax(axis=1) != labels[half]
    return against


def label_noise(
    probabilities: np.ndarray, labels: np.ndarray, held: np.ndarray, held_labels: np.ndarray
) -> list[Trouble]:
    """Return the alarm that a model contradicts the labels that it was itself trained on.

    Hard samples are those of which a model is unsure; wrong labels lie among the surest as often as
    anywhere, and are learnt last (Arpit et al., 2017). So the surest half is asked, where a clean
    label is all but never contradicted: the idea of confident learning (Northcutt et al., 2021); and
    it must be contradicted about as often as all samples are. Only a model that generalises may
    contradict: one that is often wrong of the surest held-out samples raises no alarm.

    Args:
        probabilities: (n, classes), of training samples.
        labels: (n,), as given.
        held: (m, classes), of validation samples.
        held_labels: (m,), as given.
    """
    against = _contradicted(probabilities, labels)
    share = float(against.mean())
    everywhere = float((probabilities.argmax(axis=1) != labels).mean())
    if share <= max(CONTRADICTED, EVEN * everywhere):
        return []
    if _contradicted(held, held_labels).mean() > TRUSTED:
        return []
    saw = (
        f"of the {len(against)} training samples of which the model is surest, {int(against.sum())} "
        f"({share:.1%}) are given another label (of all {everywhere:.1%}; where labels are clean at most "
        f"{CONTRADICTED:.0%} of the surest, or far fewer than of all)"
    )
    return [Trouble("label noise", saw, "look at these samples by eye, and mend their labels")]


def mean_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross entropy as training has it: nothing is cut off but what float32 cannot say.

    Args:
        probabilities: (n, classes).
        labels: (n,), integers.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(float)
    return float(-np.log(own.clip(min=np.finfo(np.float32).tiny)).mean())


def hold_to_log(found: float, log: "pd.DataFrame", epoch: int, precision: str) -> None:
    """Hold that stored weights give the validation loss that training logged for them.

    Another machine rounds otherwise, and reduced precision much more so: hence the tolerance.

    Args:
        found: the mean loss that the stored weights give the validation samples.
        log: the training log of the weights' seed.
        epoch: after which they were kept.
        precision: of training, as Lightning Fabric takes it.

    Raises:
        Refusal: the loss is another: other weights, or a choice by other data.
    """
    row = log[log["epoch"] == epoch].iloc[0]
    logged, seed = float(row["validation_loss"]), int(row["seed"])
    reach = _EXACT if precision in {"32-true", "64-true"} else _ROUGH
    if not math.isclose(found, logged, rel_tol=reach, abs_tol=reach):
        raise Refusal(
            f"{UNFIT}: those of seed {seed} give {found:.4f} "
            f"on validation data, the log says {logged:.4f} at epoch {epoch}; either they are not the "
            "weights that training wrote, or other data chose them: train again, and look at what "
            "stages/tasks/*/train.py validates on"
        )
