"""The stripes of the workshop: what they look like, and which params cannot be drawn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import merge, read_params

from stages.core.errors import UserError
from stages.datasets.images.stripes import DIRECTIONS, draw_stripes
from stages.kinds.params import check_params


def draw(direction: str, difficulty: float, seed: int = 0, size: int = 16) -> np.ndarray:
    random = np.random.default_rng(seed)
    image: np.ndarray = draw_stripes(DIRECTIONS[direction], size, difficulty, random)[0]
    return image


def test_stripes_without_difficulty_have_the_direction_of_their_class() -> None:
    vertical, horizontal, diagonal = (
        draw(name, 0.0).astype(int) for name in ("vertical", "horizontal", "diagonal")
    )
    # A brightness of 127.5 is rounded up or down.
    assert abs(vertical - vertical[0]).max() <= 1
    assert abs(horizontal - horizontal[:, :1]).max() <= 1
    assert abs(vertical.T - horizontal).max() <= 1
    assert (
        abs(diagonal[1:, :-1] - diagonal[:-1, 1:]).max() <= 1
    )  # equal along lines rising to the right
    assert len(np.unique(vertical)) > 1


@given(st.sampled_from(list(DIRECTIONS)), st.floats(0, 1), st.integers(0, 99), st.integers(8, 40))
def test_the_same_seed_gives_the_same_stripes(
    name: str, difficulty: float, seed: int, size: int
) -> None:
    image = draw(name, difficulty, seed, size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert (image == draw(name, difficulty, seed, size)).all()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"prepare": {"stripes": {"per_class": 5}}},
            r"per_class \(given 5\) must be at least min_per_class \(10\)",
        ),
        (
            {"prepare": {"stripes": {"difficulty": 1.5}}},
            "tasks.workshop.prepare.stripes.difficulty: given 1.5",
        ),
        ({"train": {"channels": [8] * 6}}, r"prepare.size \(given 16\) must be at least 32"),
    ],
)
def test_stripes_that_cannot_be_drawn_are_refused(changes: dict[str, Any], line: str) -> None:
    params = read_params()
    merge(params["tasks"]["workshop"], changes)
    with pytest.raises(UserError, match=line):
        check_params(params)
