"""Name what went wrong in training: the figure that says so, and what to try first."""

from collections.abc import Sequence
from dataclasses import dataclass

STUCK = 0.95  # share of chance that the training loss does not get below
RISE = 0.05  # share of chance by which the validation loss rises again
GAP = 0.15  # accuracy that training data have over validation data
FLAT = 0.01  # share of the training loss that the second half of the epochs still takes off
UNLEARNT = 0.5  # share of chance above which a flat loss is one that has not been learnt
_HALVES = 6  # epochs from which on two halves are held against each other


@dataclass(frozen=True)
class Trouble:
    """What went wrong: its name, the figure that says so, what to try first."""

    name: str
    saw: str
    try_first: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.name}: {self.saw}; try first: {self.try_first}"


def troubles(history: Sequence[dict[str, float]], chance: float | None) -> list[Trouble]:
    """Return what a finished run's history says of it, at most one of each kind.

    A loss that is not finite never gets here: the loop stops at once and says so.

    Args:
        history: a row an epoch: train_loss, validation_loss, for classifiers also the accuracies.
        chance: the loss of knowing nothing, ln(classes) for a classifier; None: the first epoch's.
    """
    train = [row["train_loss"] for row in history]
    held = [row["validation_loss"] for row in history]
    level = train[0] if chance is None else chance
    first = "the first epoch's" if chance is None else "of chance"
    if len(train) > 1 and min(train) > STUCK * level:
        return [
            Trouble(
                "no loss decrease",
                f"the training loss is {min(train):.3f} at best, {min(train) / level:.0%} of "
                f"{level:.3f}, {first}",
                "overfit one small batch (stage check), then look at the labels, the inputs' scale "
                "and the learning rate, which may be 10 times too low or too high",
            )
        ]
    found = [_overfitting(history, train, held, level), _plateau(train, level)]
    return [one for one in found if one]


def _overfitting(
    history: Sequence[dict[str, float]], train: list[float], held: list[float], level: float
) -> Trouble | None:
    best = held.index(min(held))
    last = history[-1]
    gap = last.get("train_accuracy", 0.0) - last.get("validation_accuracy", 0.0)
    if held[-1] - held[best] > RISE * level and train[-1] < train[best]:
        saw = (
            f"the validation loss rises from {held[best]:.3f} (epoch {best}) to {held[-1]:.3f} while "
            f"the training loss falls from {train[best]:.3f} to {train[-1]:.3f}"
        )
    elif gap > GAP:
        saw = (
            f"training accuracy {last['train_accuracy']:.3f} against {last['validation_accuracy']:.3f} "
            "on validation data in the last epoch"
        )
    else:
        return None
    return Trouble(
        "overfitting",
        saw,
        "more or more varied training data (augmentation) first; else fewer epochs, a smaller model, "
        "weight decay",
    )


def _plateau(train: list[float], level: float) -> Trouble | None:
    half = len(train) // 2
    early, late = min(train[:half], default=0.0), min(train[half:])
    if len(train) < _HALVES or late > STUCK * level or late < UNLEARNT * level:
        return None
    if late > (1 - FLAT) * early:
        return Trouble(
            "plateau",
            f"the training loss is {early:.3f} at best in the first half of {len(train)} epochs and "
            f"{late:.3f} in the second",
            "another learning rate first (a third, or three times as much); else a larger model",
        )
    return None
