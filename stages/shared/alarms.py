"""What an evaluation found amiss, by name: what it saw, and what to look at first."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.refusal import Refusal
from stages.shared.troubles import Trouble

if TYPE_CHECKING:
    import pandas as pd

SURE = 0.7  # probability of another label, from which on a model contradicts the given one
CONTRADICTED = 0.03  # share of training samples; see `label_noise`
_EXACT, _ROUGH = (
    1e-3,
    0.05,
)  # how far a loss may be from the one in the log, by training's precision


def rows(alarms: list[Trouble]) -> list[dict[str, str]]:
    """Return alarms as JSON takes them."""
    return [asdict(alarm) for alarm in alarms]


def label_noise(probabilities: np.ndarray, labels: np.ndarray) -> list[Trouble]:
    """Return the alarm that a model contradicts the labels that it was itself trained on.

    Wrong labels are learnt last (Arpit et al., 2017), so a model that stopped in time is sure of
    another label there (confident learning, Northcutt et al., 2021). THRESHOLDS

    Args:
        probabilities: (n, classes), of training samples.
        labels: (n,), as given.
    """
    sure = probabilities.max(axis=1) > SURE
    against = sure & (probabilities.argmax(axis=1) != labels)
    share = float(against.mean())
    if share <= CONTRADICTED:
        return []
    saw = (
        f"of {len(labels)} training samples {int(against.sum())} ({share:.1%}) get another label with "
        f"a probability above {SURE:g}; clean data stay below {CONTRADICTED:.0%}"
    )
    return [
        Trouble("label noise", saw, "look at training samples with the surest other label by eye")
    ]


def hold_to_log(
    probabilities: np.ndarray, labels: np.ndarray, log: "pd.DataFrame", epoch: int, precision: str
) -> None:
    """Hold that stored weights give the validation loss by which they were chosen.

    Another machine rounds otherwise, and reduced precision much more so: hence the tolerance.

    Args:
        probabilities: (n, classes), that the stored weights give the validation samples.
        labels: (n,), theirs.
        log: the training log of the weights' seed.
        epoch: the chosen one.
        precision: of training, as Lightning Fabric takes it.

    Raises:
        Refusal: the loss is another: other weights, or a choice by other data.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(float)
    found = float(-np.log(own.clip(min=np.finfo(np.float32).tiny)).mean())
    row = log[log["epoch"] == epoch].iloc[0]
    logged, seed = float(row["validation_loss"]), int(row["seed"])
    reach = _EXACT if precision in {"32-true", "64-true"} else _ROUGH
    if not math.isclose(found, logged, rel_tol=reach, abs_tol=reach):
        raise Refusal(
            f"the chosen weights give the logged validation loss: those of seed {seed} give {found:.4f} "
            f"on validation data, the log says {logged:.4f} at epoch {epoch}; either they are not the "
            "weights that training wrote, or other data chose them: train again, and look at what "
            "stages/tasks/*/train.py validates on"
        )
