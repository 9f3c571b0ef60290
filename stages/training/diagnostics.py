"""Diagnose problems in a finished training run: no loss decrease, overfitting, plateau."""

from collections.abc import Sequence
from dataclasses import dataclass

NO_DECREASE = 0.95  # share of the chance loss: the training loss never falls below it
RISE = 0.05  # share of the chance loss: by which the validation loss rises after its minimum
GAP = 0.15  # accuracy on training data minus accuracy on validation data
UNDERFIT = 0.5  # share of the chance loss: below it, a flat training loss is no problem
FLAT = 0.01  # relative decrease of the training loss from one half of the epochs to the next
_MIN_EPOCHS = 6  # for a comparison of the two halves


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
    if len(train) > 1 and min(train) > NO_DECREASE * chance:
        return [
            Diagnostic(
                "no loss decrease",
                f"the training loss is {min(train):.3f} at best, {min(train) / chance:.0%} of "
                f"{reference} ({chance:.3f})",
                "overfit one small batch (stage check), then look at the labels, the scale of the inputs "
                "and the learning rate, which may be 10 times too low or too high",
            )
        ]
    problems = [_overfitting(history, train, validation, chance), _plateau(train, chance)]
    return [problem for problem in problems if problem]


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
        "overfitting",
        observed,
        "more or more varied training data (augmentation); then fewer epochs, a smaller model, or more "
        "weight decay",
    )


def _plateau(train: list[float], chance: float) -> Diagnostic | None:
    half = len(train) // 2
    early, late = min(train[:half], default=0.0), min(train[half:])
    if len(train) < _MIN_EPOCHS or not UNDERFIT * chance <= late <= NO_DECREASE * chance:
        return None
    if late > (1 - FLAT) * early:
        return Diagnostic(
            "plateau",
            f"the training loss is {early:.3f} at best in the first half of {len(train)} epochs and "
            f"{late:.3f} in the second",
            "another learning rate (a third, or three times as much); then a larger model",
        )
    return None
