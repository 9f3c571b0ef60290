"""Simulated test sets: the test holds its level, power is what is promised, intervals hold the truth."""

import math

import numpy as np
import pytest
from support.project import ROOT

from stages.core.errors import UserError
from stages.evaluation.clustered import sign_flip_test
from stages.evaluation.simulation import Scenario, simulate
from stages.evaluation.verdict import smallest_p
from stages.tools.simulate import (
    COUNT,
    GROUPS,
    PARAMS,
    SPREADS,
    tables,
    with_tables,
)

ALPHA = 0.05


def largest_share(share: float, count: int, errors: float = 3.5) -> float:
    """Return the largest share that `count` draws are expected to show."""
    return share + errors * math.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize("spread", ["independent", "correlated"])
@pytest.mark.parametrize("groups", GROUPS)
def test_without_a_gain_the_test_over_groups_rejects_at_most_at_its_level(
    groups: int, spread: str
) -> None:
    scenario, random = Scenario(groups, SPREADS[spread]), np.random.default_rng(1)
    count, rejected = 1500, 0
    for _ in range(count):
        baseline, model, names = scenario.draw(random)
        sums = np.bincount(names, model.astype(int) - baseline).astype(int)
        rejected += sign_flip_test(sums) < ALPHA
    assert rejected / count <= largest_share(ALPHA, count)
    if smallest_p(groups) >= ALPHA:
        assert rejected == 0
    else:
        assert rejected > 0


def test_correlation_within_groups_misleads_the_test_that_knows_no_groups() -> None:
    rates = simulate(Scenario(14, SPREADS["correlated"]), 120, 0, PARAMS)
    assert rates.rejected <= largest_share(ALPHA, 120)
    assert rates.rejected_ungrouped > 0.1
    assert rates.covered_ungrouped < 0.9
    assert rates.covered >= 1 - largest_share(ALPHA + 0.01, 120)
    assert rates.covered_by_t >= 1 - largest_share(ALPHA + 0.01, 120)


def test_simulated_test_sets_have_the_rates_of_their_scenario() -> None:
    scenario, random = Scenario(4000, (-0.1, 0.1), 0.06, 0.1), np.random.default_rng(0)
    baseline, model, groups = scenario.draw(random)
    fixed, broken = (model & ~baseline).mean(), (baseline & ~model).mean()
    assert (fixed, broken) == pytest.approx((0.16, 0.1), abs=0.005)
    assert model.mean() == pytest.approx(scenario.score, abs=0.01)
    change = model.astype(float) - baseline
    sizes = np.bincount(groups)
    residuals = np.bincount(groups, change) - change.mean() * sizes
    effect = (residuals**2).sum() / (len(change) * change.var())
    assert effect == pytest.approx(scenario.design_effect, rel=0.1)


def test_the_promised_gain_is_found_four_times_in_five_over_14_groups() -> None:
    scenario = Scenario(14, SPREADS["correlated"]).at_detectable_gain(ALPHA)
    rates = simulate(scenario, 150, 0, PARAMS)
    assert rates.better >= 1 - largest_share(0.2, 150)


@pytest.mark.long
def test_the_tables_in_the_docs_are_those_of_this_code() -> None:
    page = (ROOT / "docs/statistics.md").read_text()
    assert with_tables(page, "simulations", tables(COUNT)) == page, (
        "run python -m stages.tools.simulate"
    )


def test_a_page_without_the_place_for_tables_is_an_error() -> None:
    with pytest.raises(UserError, match="must have the lines"):
        with_tables("no comments", "simulations", "table")


@pytest.mark.parametrize("groups", GROUPS)
def test_the_docs_state_rates_at_most_at_the_level(groups: int) -> None:
    """Read from the committed table, which the long test computes again."""
    rows = [
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in (ROOT / "docs/statistics.md").read_text().splitlines()
        if line.startswith(("| independent", "| correlated"))
    ]
    rates = [
        float(row[3].rstrip("%")) / 100 for row in rows if len(row) == 10 and row[1] == str(groups)
    ]
    assert len(rates) == 2
    assert max(rates) <= largest_share(ALPHA, COUNT, 2.5)
