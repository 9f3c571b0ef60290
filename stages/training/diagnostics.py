"""Diagnose problems of a finished training run, from its log."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NO_DECREASE = 0.95  # share of the chance loss: the training loss never falls below it
RISE = 0.05  # share of the chance loss: by which the validation loss rises after its minimum
GAP = 0.15  # accuracy on training data minus accuracy on validation data
LOW_LOSS = 0.5  # share of the chance loss: below it, a flat training loss is no problem
# Accuracy above chance, as a share of what is left above chance, below which training data are not
# fitted. The higher one of training and validation accuracy counts: augmentation, dropout and the mean
# over an epoch, in which the network still learns, lower the first, and no test data are looked at. The
# shipped tasks have 0.68 (sentiment, one pass over short reviews) to 0.99; networks of 500 to 20,000
# parameters on 10 classes of photographs have 0.2 to 0.55.
FITTED = 0.6
# The same share, above which a network learns, however little the loss has fallen yet.
LEARNS = 0.1
# Relative decrease of the training loss over the second half of the epochs, from which the run was too
# short. The rate falls to 0 in this half, so the loss of any network falls a little: 4% to 5% where a
# network is too small (4 and 8 channels), 10% to 16% where further epochs help.
STILL_FALLING = 0.08
FLAT = 0.01  # relative decrease of the training loss from one half of the epochs to the next
_MIN_EPOCHS = 6  # for a plateau

NO_LOSS_DECREASE = "no loss decrease"
UNDERTRAINED = "undertrained"
UNDERFITTING = "underfitting"
PLATEAU = "plateau"
OVERFITTING = "overfitting"


@dataclass(frozen=True)
class Diagnostic:
    """A problem: its name, the values that show it, and what to try first."""

    name: str
    observed: str
    remedy: str

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.name}: {self.observed}; try first: {self.remedy}"


def diagnose(history: Sequence[dict[str, float]], chance_loss: float | None) -> list[Diagnostic]:
    """Return the problems that the history of a finished run shows, at most one of each name.

    A loss that is not finite is not among them: it stops the training loop.

    Args:
        history: a row for each epoch: train_loss, validation_loss; for classifiers also the accuracies.
        chance_loss: the loss of predicting the prior, ln(classes) for a classifier; None: the
            training loss of the first epoch is used instead.
    """
    train = [row["train_loss"] for row in history]
    validation = [row["validation_loss"] for row in history]
    chance = train[0] if chance_loss is None else chance_loss
    reference = "that of the first epoch" if chance_loss is None else "the chance loss"
    fitted = _fitted(history[-1], chance)
    learns = fitted is not None and fitted > LEARNS
    if len(train) > 1 and min(train) > NO_DECREASE * chance and not learns:
        return [
            Diagnostic(
                NO_LOSS_DECREASE,
                f"the training loss is {min(train):.3f} at best, {min(train) / chance:.0%} of "
                f"{reference} ({chance:.3f})",
                "overfit one small batch (stage check), then look at the labels, the scale of the inputs "
                "and the learning rate, which may be 10 times too low or too high",
            )
        ]
    problems = [
        _overfitting(history, train, validation, chance),
        _underfitting(history, chance) or _plateau(train, chance),
    ]
    return [problem for problem in problems if problem]


def _fitted(row: dict[str, float], chance_loss: float) -> float | None:
    """Return which share of what lies above chance a classifier's accuracy reaches in an epoch."""
    if "train_accuracy" not in row:
        return None
    chance = math.exp(-chance_loss)
    accuracy = max(row["train_accuracy"], row["validation_accuracy"])
    return (accuracy - chance) / (1 - chance)


def _underfitting(history: Sequence[dict[str, float]], chance_loss: float) -> Diagnostic | None:
    """Return whether the training data are not fitted: for want of epochs, or of capacity.

    Where the validation accuracy stays far behind, a further fit of the training data would not help.
    """
    last, fitted = history[-1], _fitted(history[-1], chance_loss)
    if fitted is None or fitted >= FITTED:
        return None
    train, validation = last["train_accuracy"], last["validation_accuracy"]
    if train - validation > GAP:
        return None
    observed = (
        f"at the end of training the accuracy is {train:.3f} on training data and {validation:.3f} on "
        f"validation data; chance is {math.exp(-chance_loss):.3f}, and that is {fitted:.0%} of what lies "
        f"above it ({FITTED:.0%} would do)"
    )
    middle, final = history[(len(history) - 1) // 2]["train_loss"], last["train_loss"]
    fall = (middle - final) / middle
    if fall > STILL_FALLING or len(history) == 1:
        trend = f"the training loss still falls, by {fall:.0%} in the second half"
        return Diagnostic(
            UNDERTRAINED,
            f"{observed}, and {trend if len(history) > 1 else 'there was one epoch only'}",
            "more epochs; then a larger model",
        )
    return Diagnostic(
        UNDERFITTING,
        f"{observed}, and the training loss hardly falls any more, by {fall:.0%} in the second half",
        "a larger model; then another learning rate (a third, or three times as much), and less "
        "augmentation",
    )


def _overfitting(
    history: Sequence[dict[str, float]],
    train: list[float],
    validation: list[float],
    chance: float,
) -> Diagnostic | None:
    best = validation.index(min(validation))
    last = history[-1]
    gap = last.get("train_accuracy", 0.0) - last.get("validation_accuracy", 0.0)
    if validation[-1] - validation[best] > RISE * chance and train[-1] < train[best]:
        observed = (
            f"the validation loss rises from {validation[best]:.3f} (epoch {best}) to "
            f"{validation[-1]:.3f} while the training loss falls from {train[best]:.3f} to "
            f"{train[-1]:.3f}"
        )
    elif gap > GAP:
        observed = (
            f"in the last epoch the accuracy is {last['train_accuracy']:.3f} on training data and "
            f"{last['validation_accuracy']:.3f} on validation data"
        )
    else:
        return None
    return Diagnostic(
        OVERFITTING,
        observed,
        "more or more varied training data (augmentation); then fewer epochs, a smaller model, or more "
        "weight decay",
    )


def _plateau(train: list[float], chance: float) -> Diagnostic | None:
    half = len(train) // 2
    early, late = min(train[:half], default=0.0), min(train[half:])
    if len(train) < _MIN_EPOCHS or not LOW_LOSS * chance <= late <= NO_DECREASE * chance:
        return None
    if late > (1 - FLAT) * early:
        return Diagnostic(
            PLATEAU,
            f"the training loss is {early:.3f} at best in the first half of {len(train)} epochs and "
            f"{late:.3f} in the second",
            "another learning rate (a third, or three times as much); then a larger model",
        )
    return None
