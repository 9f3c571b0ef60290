"""Choosing a network, its epochs and its seeds for the time that there is."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

USUAL_RUNS = 3  # of a fold and a seed, that show how much results vary
CHEAP_RUN = 120.0  # seconds of training up to which a run is repeated with further seeds
# Of training a seed in all folds, at most, where the user names no limit: ten minutes, less the tenth by
# which the speed of a machine varies.
SEED_SECONDS = 540.0


@dataclass(frozen=True)
class Plan:
    """A network and its training: one of those between which the time decides.

    Attributes:
        title: for the user: "residual, channels 16, 32".
        values: of the template's placeholders that differ between plans, as YAML.
        epochs: that the training should have.
        min_epochs: below which the next, smaller plan gives better results.
        relative_cost: of an average epoch, over that of the first one, which is measured with
            `epochs: 1`.
    """

    title: str
    values: Mapping[str, str]
    epochs: int
    min_epochs: int = 1
    relative_cost: float = 1.0


@dataclass(frozen=True)
class SplitSizes:
    """The expected number of samples in each split.

    Attributes:
        train: of each fold.
        validation: of each fold.
        test: of all folds together.
        folds: 1: a single split.
    """

    train: int
    validation: int
    test: int
    folds: int = 1


@dataclass(frozen=True)
class Cost:
    """The estimated time of a plan on this machine, in seconds.

    Attributes:
        epoch: of one epoch of one run, its validation included.
        setup: before the first epoch, once for all seeds of a fold.
        run: evaluation of one run's model.
        rest: all other stages.
        folds: in each of which every seed trains a model; 1: a single split.
    """

    epoch: float
    setup: float = 0.0
    run: float = 0.0
    rest: float = 0.0
    folds: int = 1

    def seed(self, epochs: int) -> float:
        """Return the time of training one seed in all folds."""
        return self.folds * (self.setup + epochs * self.epoch)

    def row(self, epochs: int, seeds: int) -> float:
        """Return the time of all stages of the task."""
        return self.rest + self.folds * (self.setup + seeds * (epochs * self.epoch + self.run))


@dataclass(frozen=True)
class Budget:
    """The time that there is, in seconds.

    Attributes:
        seed: of training one seed in all folds.
        row: of all stages of the task.
    """

    seed: float = SEED_SECONDS
    row: float = math.inf

    @classmethod
    def of_minutes(cls, minutes: float | None) -> "Budget":
        """Return the budget of `--minutes`, which is that of all stages; the usual one for None."""
        return cls() if minutes is None else cls(60 * minutes, 60 * minutes)


@dataclass(frozen=True)
class Schedule:
    """A plan with the epochs and seeds that fit, and what that costs.

    Attributes:
        plan: the chosen one.
        epochs: its number of epochs.
        seeds: number of training seeds.
        cost: the estimated time.
        fits: whether the budget suffices.
    """

    plan: Plan
    epochs: int
    seeds: int
    cost: Cost
    fits: bool = field(default=True)


def choose_schedule(
    plans: Sequence[Plan], estimate: Callable[[Plan], Cost], budget: Budget
) -> Schedule:
    """Return the first plan that fits, with as many of its epochs as fit.

    A plan gets the seeds that make the usual number of runs (one, with folds) where all its epochs fit
    with them and a run is cheap; otherwise one seed, and it fits if at least `min_epochs` do. If no plan
    fits, the last one gets the epochs that do, at least one.

    Args:
        plans: from the largest network to the smallest.
        estimate: plan -> its cost; called for no plan after the chosen one.
        budget: the time that there is.
    """
    for plan in plans:
        cost = estimate(plan)
        seeds = math.ceil(USUAL_RUNS / cost.folds)
        several = _epochs_that_fit(plan, cost, budget, seeds)
        if several == plan.epochs and plan.epochs * cost.epoch <= CHEAP_RUN:
            return Schedule(plan, plan.epochs, seeds, cost)
        epochs = _epochs_that_fit(plan, cost, budget, 1)
        if epochs >= plan.min_epochs:
            return Schedule(plan, epochs, 1, cost)
    return Schedule(plan, max(1, epochs), 1, cost, fits=epochs >= 1)


def _epochs_that_fit(plan: Plan, cost: Cost, budget: Budget, seeds: int) -> int:
    seed = (budget.seed - cost.seed(0)) / cost.folds
    row = (budget.row - cost.row(0, seeds)) / (cost.folds * seeds)
    return max(0, int(min(plan.epochs, seed / cost.epoch, row / cost.epoch)))
