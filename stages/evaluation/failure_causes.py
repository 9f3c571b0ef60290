"""Likely causes of a classifier's failures, and the change to try next.

What was diagnosed of the training as a whole comes first: no cause of single failures explains those of a
network that has not learnt its training data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from stages.evaluation.data_warnings import NEVER_PREDICTS, NEVER_RECOGNISES
from stages.training.diagnostics import (
    NO_LOSS_DECREASE,
    OVERFITTING,
    PLATEAU,
    UNDERFITTING,
    UNDERTRAINED,
)

FAR = 0.95

CONFIDENTLY_WRONG = "confidently wrong in every run"
LOW_CONFIDENCE = "weak but right"
SEED_LUCK = "luck of the seed"
OUTLIER = "unlike the training data"
BETWEEN_CLASSES = "between two classes"
OTHER_CLASS = "drawn to another class"
OWN_CLASS = "among its own class"

# The definition of each cause. The first that applies to a case, in this order, is its likely cause.
CAUSES = {
    CONFIDENTLY_WRONG: "the models of all seeds predict the same other class with a high mean probability, "
    "and most of the nearest training samples have that class: look at the label, or at what the model "
    "cannot see",
    LOW_CONFIDENCE: "the models of all seeds are right, the primary seed's with low confidence",
    SEED_LUCK: "fewer than half of the seeds' models are wrong",
    OUTLIER: f"the sample is farther from its nearest training sample than {FAR:.0%} of training samples "
    "are from theirs",
    BETWEEN_CLASSES: "the nearest training samples include both the true and the predicted class",
    OTHER_CLASS: "none of the nearest training samples has the true class",
    OWN_CLASS: "the nearest training samples include the true class and not the predicted one",
}

# What a share of the failure cases does, where its likely cause is this one.
_CAUSES_IN_WORDS = {
    CONFIDENTLY_WRONG: "are confidently wrong in every run",
    LOW_CONFIDENCE: "are weak but right",
    SEED_LUCK: "differ by seed",
    OUTLIER: "are unlike the training data",
    BETWEEN_CLASSES: "lie between two classes",
    OTHER_CLASS: "are drawn to another class",
    OWN_CLASS: "lie among their own class",
}

# What it means to raise a param of this name, where that is plainer than its name.
_RAISED_IN_WORDS = {
    "epochs": "train longer",
    "checkpoint_steps": "train longer",
    "channels": "widen the network",
}


def cause_definitions(seeds: int) -> dict[str, str]:
    """Return the definitions of the causes that can be told from the models of so many seeds.

    A single model does not show whether others agree with it, so it accuses no label and no luck.
    """
    if seeds > 1:
        return CAUSES
    of_several = {CONFIDENTLY_WRONG, SEED_LUCK}
    single = {LOW_CONFIDENCE: "the model is right, with low confidence"}
    return {name: text for name, text in {**CAUSES, **single}.items() if name not in of_several}


# The diagnoses that call for a change, the most fundamental one first.
DIAGNOSES = (
    NO_LOSS_DECREASE,
    NEVER_PREDICTS,
    NEVER_RECOGNISES,
    UNDERTRAINED,
    UNDERFITTING,
    PLATEAU,
    OVERFITTING,
)

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
    confidently_wrong: np.ndarray,
) -> np.ndarray:
    """Return the likely cause of each of n cases, (n,).

    Args:
        labels: the true classes, (n,), integers.
        confused: the classes predicted instead; of a weak case the one with the second highest
            probability, (n,).
        neighbour_labels: the classes of the nearest training samples, (n, neighbours).
        far: whether a case is farther from the training samples than these are from one another, (n,).
        failure_rate: share of seeds whose model is wrong, (n,).
        confidently_wrong: whether every run makes the same mistake with confidence, (n,).
    """
    near_own = (neighbour_labels == labels[:, None]).any(axis=1)
    near_confused = (neighbour_labels == confused[:, None]).any(axis=1)
    rules = {
        CONFIDENTLY_WRONG: confidently_wrong,
        LOW_CONFIDENCE: failure_rate == 0,
        SEED_LUCK: failure_rate < _HALF,
        OUTLIER: far,
        BETWEEN_CLASSES: near_own & near_confused,
        OTHER_CLASS: ~near_own,
    }
    return np.select(list(rules.values()), list(rules), OWN_CLASS)


def label_smoothing_changes(params: Any) -> dict[str, Change]:
    """Return, for any classifier, the changes for confident mistakes and for low confidence."""
    smoothing: float = params.label_smoothing
    return {
        CONFIDENTLY_WRONG: (
            "label_smoothing",
            min(_MOST_SMOOTHING, round(smoothing + _SMOOTHING_STEP, 3)),
            "softer targets reduce the effect of wrong labels; look at the labels of these cases first",
        ),
        LOW_CONFIDENCE: (
            "label_smoothing",
            max(0.0, round(smoothing - _SMOOTHING_STEP, 3)),
            "sharper targets let the model's confidence rise to its accuracy",
        ),
    }


def training_changes(
    params: Any, capacity: Change | None, regularise: Change, usual_rate: float
) -> dict[str, list[Change]]:
    """Return, for any classifier, the changes for each of `DIAGNOSES`, the first to try first.

    Args:
        params: of the stage train.
        capacity: the change to a larger network; None: it cannot be changed.
        regularise: the change against overfitting.
        usual_rate: a learning rate that suits such networks; it says in which direction to change.
    """
    low = params.learning_rate < usual_rate
    faster: Change = (
        "learning_rate",
        float(f"{params.learning_rate * (3 if low else 1 / 3):.2g}"),
        f"a {'higher' if low else 'lower'} learning rate may take the loss further down in as many epochs",
    )
    far: Change = (
        "learning_rate",
        float(f"{params.learning_rate * (10 if low else 1 / 10):.2g}"),
        f"with a loss that does not fall, the learning rate is the first suspect; {usual_rate:g} is usual",
    )
    longer: Change = (
        "epochs",
        2 * params.epochs,
        "the training loss still falls, so further epochs fit more of the training data",
    )
    balanced: Change = (
        "class_weights",
        "balanced",
        "with balanced weights a rare class counts as much in the loss as a frequent one",
    )
    larger = [capacity] if capacity else []
    return {
        NO_LOSS_DECREASE: [far],
        NEVER_PREDICTS: [balanced],
        NEVER_RECOGNISES: [balanced],
        UNDERTRAINED: [longer, *larger],
        UNDERFITTING: [*larger, longer],
        PLATEAU: [faster, *larger],
        OVERFITTING: [regularise],
    }


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of training or of the data, over the training runs.

    Attributes:
        name: one of `DIAGNOSES`.
        observed: the figures that show it, of the first run that has it.
        runs: how many runs (seeds, with folds in each) have it.
    """

    name: str
    observed: str
    runs: int


def shared_diagnoses(
    diagnostics: Sequence[Mapping[str, Any]], warnings: Sequence[Mapping[str, Any]], runs: int
) -> list[Diagnosis]:
    """Return those of `DIAGNOSES` that at least half of the runs have, in that order.

    Args:
        diagnostics: of training: seed, name, observed.
        warnings: of the data: name, observed; they are of all runs.
        runs: how many training runs there are.
    """
    shared = []
    for name in DIAGNOSES:
        observed = [row["observed"] for row in diagnostics if row["name"] == name]
        if 2 * len(observed) >= runs:
            shared.append(Diagnosis(name, observed[0], len(observed)))
        of_data = [row["observed"] for row in warnings if row["name"].startswith(name)]
        if of_data:
            shared.append(Diagnosis(name, "; ".join(of_data), runs))
    return shared


def next_step(
    section: str,
    causes: Mapping[str, int],
    params: Any,
    changes: Mapping[str, Change],
    diagnoses: Sequence[Diagnosis] = (),
    training: Mapping[str, Sequence[Change]] | None = None,
) -> dict[str, Any]:
    """Return the change for what was diagnosed, else for the most frequent cause of failure.

    Of the diagnoses the first one decides for which a change is left that the params do not have.

    Of equally frequent causes the first in the order of `CAUSES` decides. Where `changes` has none
    for it, or its change is already in the params, the step is longer training.

    Args:
        section: the full key of the stage train, such as `tasks.image.train`.
        causes: number of cases by cause.
        params: of the stage train.
        changes: by cause.
        diagnoses: of training and data, the most fundamental one first.
        training: by diagnosis, the first to try first.
    """
    seeds = len(params.seeds)
    definitions = cause_definitions(seeds)
    cause = max(definitions, key=lambda name: causes.get(name, 0))
    longer = _longer_training(params.epochs, seeds)
    cases, total = causes.get(cause, 0), sum(causes.values())
    diagnosis, change = next(
        (
            (diagnosis, change)
            for diagnosis in diagnoses
            for change in (training or {}).get(diagnosis.name, ())
            if not _is_set(change, params)
        ),
        (None, changes.get(cause, longer)),
    )
    if diagnosis:
        extent = f" in {diagnosis.runs} runs" if diagnosis.runs > 1 else ""
        reason = f"Diagnosed{extent}, {diagnosis.name}: {diagnosis.observed}"
        short_reason = f"{diagnosis.name}{extent}"
    else:
        change = longer if _is_set(change, params) else change
        short_reason = f"{cases} of {total} failure cases {_CAUSES_IN_WORDS[cause]}"
        reason = f'{cases} of {total} failure cases have the likely cause "{cause}": {definitions[cause]}'
    key, value, effect = change
    action = change_in_words(key, attrgetter(key)(params), value)
    key = f"{section}.{key}"
    value_text = str(value).replace(" ", "").lower()
    return {
        "change": {key: value},
        "diagnosis": diagnosis.name if diagnosis else None,
        "cause": cause,
        "cause_definition": definitions[cause],
        "cases": cases,
        "case_count": total,
        "summary": f"{action}: {short_reason}",
        "why": f"{reason}. {effect[:1].upper()}{effect[1:]}.",
        "command": f"dvc exp run -S '{key}={value_text}'",
    }


def _longer_training(epochs: int, seeds: int) -> Change:
    effect = (
        "lets the models of more seeds agree on samples that only some predict correctly"
        if seeds > 1
        else "fits more of the training data"
    )
    return "epochs", epochs + (epochs + 1) // 2, f"longer training {effect}"


def change_in_words(key: str, before: Any, after: Any) -> str:
    """Return a change of a param as an instruction: "train longer", "raise dropout from 0 to 0.1"."""
    raised = _RAISED_IN_WORDS.get(key.rpartition(".")[2])
    if raised and isinstance(before, type(after)) and after > before:
        return raised
    if isinstance(before, int | float) and isinstance(after, int | float):
        return f"{'raise' if after > before else 'lower'} {key} from {before:g} to {after:g}"
    return f"set {key} to {after}"


def _is_set(change: Change, params: Any) -> bool:
    """Return whether the params already have the value of a change."""
    key, value, _ = change
    return bool(attrgetter(key)(params) == value)
