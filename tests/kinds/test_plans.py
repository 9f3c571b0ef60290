"""Which plan, epochs and seeds fit the time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kinds.plans import (
    CHEAP_RUN,
    SEED_SECONDS,
    USUAL_RUNS,
    Budget,
    Cost,
    Plan,
    choose_schedule,
)

LARGE = Plan("large", {}, epochs=20, min_epochs=10)
SMALL = Plan("small", {}, epochs=40, min_epochs=8)


def estimates(large: Cost, small: Cost) -> dict[str, Cost]:
    return {"large": large, "small": small}


@pytest.mark.parametrize(
    ("large", "small", "budget", "chosen"),
    [
        # 20 epochs of 5 s: 100 s a run, so three seeds.
        (Cost(5), Cost(1), Budget(), ("large", 20, 3)),
        # 20 epochs of 7 s: 140 s a run is more than a cheap one.
        (Cost(7), Cost(1), Budget(), ("large", 20, 1)),
        # 40 s an epoch: 13 of 20 epochs in the usual 540 s.
        (Cost(40), Cost(1), Budget(), ("large", 13, 1)),
        # With 210 s of setup: 8 epochs, fewer than 10, so the small one: 40 s a run.
        (Cost(40, setup=210), Cost(1), Budget(), ("small", 40, 3)),
        # A row of 5 min, 60 s of it for other stages, 20 s a seed: 300 - 60 - 20 = 220 s for 11 epochs.
        (Cost(20, run=20, rest=60), Cost(1), Budget.of_minutes(5), ("large", 11, 1)),
        # Three cheap runs of 100 s and 10 s each fit into 10 min, and not into 5, where one does.
        (Cost(5, run=10, rest=30), Cost(1), Budget.of_minutes(10), ("large", 20, 3)),
        (Cost(5, run=10, rest=30), Cost(1), Budget.of_minutes(5), ("large", 20, 1)),
        # Seven folds of 60 s: 420 s of training a seed, and one seed has enough runs.
        (Cost(3, folds=7), Cost(1), Budget(), ("large", 20, 1)),
        # 540 s are 77 s a fold: 12 epochs of 6 s; with 30 s of setup in each fold 7, so the small one.
        (Cost(6, folds=7), Cost(1, folds=7), Budget(), ("large", 12, 1)),
        (Cost(6, setup=30, folds=7), Cost(1, folds=7), Budget(), ("small", 40, 1)),
        # 5 min, 20 s of it for other stages and 7 x 10 s for predictions: 30 s a fold.
        (Cost(3, run=10, rest=20, folds=7), Cost(1), Budget.of_minutes(5), ("large", 10, 1)),
        # Nothing fits well: the small one gets the 3 epochs that do.
        (Cost(40), Cost(20), Budget.of_minutes(1), ("small", 3, 1)),
    ],
)
def test_the_time_decides(
    large: Cost, small: Cost, budget: Budget, chosen: tuple[str, int, int]
) -> None:
    costs = estimates(large, small)
    schedule = choose_schedule([LARGE, SMALL], lambda plan: costs[plan.title], budget)
    assert (schedule.plan.title, schedule.epochs, schedule.seeds) == chosen
    assert schedule.fits


def test_too_little_time_for_one_epoch_is_said() -> None:
    schedule = choose_schedule([LARGE, SMALL], lambda _: Cost(100), Budget.of_minutes(1))
    assert (schedule.plan, schedule.epochs, schedule.seeds, schedule.fits) == (SMALL, 1, 1, False)


def test_plans_after_the_chosen_one_are_not_measured() -> None:
    measured = []

    def estimate(plan: Plan) -> Cost:
        measured.append(plan.title)
        return Cost(1)

    choose_schedule([LARGE, SMALL], estimate, Budget())
    assert measured == ["large"]


def test_without_minutes_a_seed_is_limited_and_the_row_is_not() -> None:
    assert Budget.of_minutes(None) == Budget(SEED_SECONDS, math.inf)
    assert Budget.of_minutes(2) == Budget(120, 120)


def test_a_row_counts_each_run_and_the_setup_once_a_fold() -> None:
    cost = Cost(epoch=3, setup=5, run=7, rest=11)
    assert cost.seed(10) == 35
    assert cost.row(10, 3) == 11 + 5 + 3 * (30 + 7)
    folds = Cost(epoch=3, setup=5, run=7, rest=11, folds=4)
    assert folds.seed(10) == 4 * 35
    assert folds.row(10, 3) == 11 + 4 * (5 + 3 * (30 + 7))


seconds = st.floats(0.01, 1000)


@given(
    st.builds(Cost, seconds, seconds, seconds, seconds, st.sampled_from([1, 3, 7])),
    st.builds(Budget, seconds, st.one_of(seconds, st.just(math.inf))),
)
def test_what_fits_is_within_the_budget(cost: Cost, budget: Budget) -> None:
    schedule = choose_schedule([LARGE, SMALL], lambda _: cost, budget)
    assert 1 <= schedule.epochs <= schedule.plan.epochs
    if schedule.fits:
        assert cost.seed(schedule.epochs) <= budget.seed * (1 + 1e-9)
        assert cost.row(schedule.epochs, schedule.seeds) <= budget.row * (1 + 1e-9)
    assert schedule.seeds in {1, -(-USUAL_RUNS // cost.folds)}
    if schedule.seeds > 1:
        assert schedule.epochs * cost.epoch <= CHEAP_RUN
        assert schedule.epochs == schedule.plan.epochs
