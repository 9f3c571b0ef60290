"""The level of a try in its series."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import default_task

from stages.evaluation.series import required_level, shortfall, with_level


@given(st.integers(1, 2000), st.floats(0.001, 0.5))
def test_the_one_sided_levels_of_a_series_add_up_to_less_than_alpha(
    tries: int, alpha: float
) -> None:
    levels = [required_level(number, alpha) for number in range(1, tries + 1)]
    assert sum(levels) / 2 == pytest.approx(alpha * (1 - 1 / (tries + 1)))  # a telescoping sum
    assert levels[0] == alpha
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize(
    ("p", "number", "text"),
    [
        (0.03, 7, "p 0.03 is not enough after 7 tries: needs p below 0.0018"),
        (0.0167, 2, "p 0.017 is not enough after 2 tries: needs p below 0.017"),
        (0.0166, 2, ""),
        (0.04, 1, ""),
        (0.05, 7, ""),  # not enough for a single try either
        (0.0017, 7, ""),
    ],
)
def test_a_shortfall_is_said_where_the_series_alone_is_the_reason(
    p: float, number: int, text: str
) -> None:
    assert shortfall(p, number, 0.05) == text


@pytest.mark.parametrize("name", ["workshop", "generative"])
def test_only_the_level_of_a_task_changes(name: str) -> None:
    task = default_task(name)
    params = with_level(task, 0.001).params
    assert params.evaluate.confidence == 0.999
    evaluate = params.evaluate.model_copy(update={"confidence": 0.95})
    assert params.model_copy(update={"evaluate": evaluate}) == task.params
