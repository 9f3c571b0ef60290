"""P(A > B) over repeats: closed forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from stages.evaluation.outperforming import probability_of_outperforming, recommended_repeats


@given(st.integers(0, 40), st.integers(0, 40))
def test_without_ties_it_is_the_share_of_wins_with_wilsons_interval(wins: int, losses: int) -> None:
    if wins + losses == 0:
        return
    result = probability_of_outperforming([0.1] * wins + [-0.2] * losses, 0.95)
    interval = binomtest(wins, wins + losses).proportion_ci(0.95, method="wilson")
    assert result.share == pytest.approx(wins / (wins + losses))
    assert (result.low, result.high) == pytest.approx(tuple(interval), abs=1e-9)


def test_a_tie_counts_half() -> None:
    assert probability_of_outperforming([0.1, 0, 0, -0.1], 0.95).share == 0.5
    assert probability_of_outperforming([0.0], 0.95).share == 0.5


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=30))
def test_who_wins_and_who_loses_can_be_exchanged(gains: list[float]) -> None:
    result = probability_of_outperforming(gains, 0.9)
    opposite = probability_of_outperforming([-gain for gain in gains], 0.9)
    assert (opposite.low, opposite.share, opposite.high) == pytest.approx(
        (1 - result.high, 1 - result.share, 1 - result.low)
    )
    assert 0 <= result.low <= result.share + 1e-9
    assert result.share - 1e-9 <= result.high <= 1


@pytest.mark.parametrize(
    ("wins", "repeats", "conclusion"),
    [
        (
            3,
            3,
            "not distinguishable from a coin toss",
        ),  # Wilson's lower end is n / (n + z^2) = 0.44
        (4, 4, "better, and meaningfully so"),
        (560, 1000, "better, but not by much"),
    ],
)
def test_the_conclusion_follows_from_the_interval(wins: int, repeats: int, conclusion: str) -> None:
    gains = [1.0] * wins + [-1.0] * (repeats - wins)
    assert probability_of_outperforming(gains, 0.95).conclusion == conclusion


def test_the_recommended_number_of_repeats_is_that_of_the_paper() -> None:
    assert recommended_repeats() == 29
