"""Likely causes of a classifier's failures, and the change to try next that a cause calls for."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import numpy as np

FAR = 0.95

SUSPECT_LABEL = "suspect label"
LOW_CONFIDENCE = "weak but right"
SEED_LUCK = "luck of the seed"
OUTLIER = "unlike the training data"
BETWEEN_CLASSES = "between two classes"
OTHER_CLASS = "drawn to another class"
OWN_CLASS = "among its own class"

# The definition of each cause. The first that applies to a case, in this order, is its likely cause.
CAUSES = {
    SUSPECT_LABEL: "the models of all seeds predict the same other class with a high mean probability, "
    "and most of the nearest training samples have that class",
    LOW_CONFIDENCE: "the models of all seeds are right, the primary seed's with low confidence",
    SEED_LUCK: "fewer than half of the seeds' models are wrong",
    OUTLIER: f"the sample is farther from its nearest training sample than {FAR:.0%} of training samples "
    "are from theirs",
    BETWEEN_CLASSES: "the nearest training samples include both the true and the predicted class",
    OTHER_CLASS: "none of the nearest training samples has the true class",
    OWN_CLASS: "the nearest training samples include the true class and not the predicted one",
}

# A param below `tasks.<name>.train`, its new value, and the expected effect.
Change = tuple[str, Any, str]

_SMOOTHING_STEP, _MOST_SMOOTHING = 0.05, 0.5
_HALF = 0.5


def likely_causes(
    labels: np.ndarray,
    confused: np.ndarray,
    neighbour_labels: np.ndarray,
    far: np.ndarray,
    failure_rate: np.ndarray,
    suspect: np.ndarray,
) -> np.ndarray:
    """Return the likely cause of each of n cases, (n,).

    Args:
        labels: the true classes, (n,), integers.
        confused: the classes predicted instead; of a weak case the one with the second highest
            probability, (n,).
        neighbour_labels: the classes of the nearest training samples, (n, neighbours).
        far: whether a case is farther from the training samples than these are from one another, (n,).
        failure_rate: share of seeds whose model is wrong, (n,).
        suspect: whether the label is suspect, (n,).
    """
    near_own = (neighbour_labels == labels[:, None]).any(axis=1)
    near_confused = (neighbour_labels == confused[:, None]).any(axis=1)
    rules = {
        SUSPECT_LABEL: suspect,
        LOW_CONFIDENCE: failure_rate == 0,
        SEED_LUCK: failure_rate < _HALF,
        OUTLIER: far,
        BETWEEN_CLASSES: near_own & near_confused,
        OTHER_CLASS: ~near_own,
    }
    return np.select(list(rules.values()), list(rules), OWN_CLASS)


def label_smoothing_changes(params: Any) -> dict[str, Change]:
    """Return, for any classifier, the changes for suspect labels and for low confidence."""
    smoothing: float = params.label_smoothing
    return {
        SUSPECT_LABEL: (
            "label_smoothing",
            min(_MOST_SMOOTHING, round(smoothing + _SMOOTHING_STEP, 3)),
            "softer targets reduce the effect of wrong labels; check the suspect ones by eye first",
        ),
        LOW_CONFIDENCE: (
            "label_smoothing",
            max(0.0, round(smoothing - _SMOOTHING_STEP, 3)),
            "sharper targets let the model's confidence rise to its accuracy",
        ),
    }


def next_step(
    section: str, causes: Mapping[str, int], params: Any, changes: Mapping[str, Change]
) -> dict[str, Any]:
    """Return the change for the most frequent cause of failure, and the command that tries it.

    Of equally frequent causes the first in the order of `CAUSES` decides. Where `changes` has none
    for it, or its change is already in the params, the step is longer training.

    Args:
        section: the full key of the stage train, such as `tasks.image.train`.
        causes: number of cases by cause.
        params: of the stage train.
        changes: by cause.
    """
    cause = max(CAUSES, key=lambda name: causes.get(name, 0))
    longer: Change = (
        "epochs",
        params.epochs + (params.epochs + 1) // 2,
        "longer training lets the models of more seeds agree on samples that only some predict correctly",
    )
    key, value, effect = changes.get(cause, longer)
    if value == attrgetter(key)(params):
        key, value, effect = longer
    key = f"{section}.{key}"
    value_text = str(value).replace(" ", "").lower()
    cases, total = causes.get(cause, 0), sum(causes.values())
    return {
        "change": {key: value},
        "cause": cause,
        "cause_definition": CAUSES[cause],
        "cases": cases,
        "case_count": total,
        "why": f'{cases} of {total} failure cases have the likely cause "{cause}": {CAUSES[cause]}. '
        f"{effect[:1].upper()}{effect[1:]}.",
        "command": f"dvc exp run -S '{key}={value_text}'",
    }
