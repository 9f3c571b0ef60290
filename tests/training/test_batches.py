"""Random batches hold each sample once, and depend on their stream and epoch alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.training.batches import random_batches
from stages.training.classification import shuffled_batches


def test_random_batches_hold_each_sample_once_and_drop_a_smaller_one() -> None:
    batches = list(random_batches(10, 3, "judge", 0))
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert len(np.unique(np.concatenate(batches))) == 9
    assert np.concatenate(batches).tolist() != sorted(np.concatenate(batches).tolist())
    assert [len(batch) for batch in random_batches(5, 64, "judge", 0)] == [5]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch(processes: int) -> None:
    whole = list(random_batches(50, 8, 3, 1))
    fabrics: list[Any] = [
        SimpleNamespace(world_size=processes, global_rank=rank) for rank in range(processes)
    ]
    shares = [list(shuffled_batches(50, 8, 3, 1, fabric)) for fabric in fabrics]
    for parts, batch in zip(zip(*shares, strict=True), whole, strict=True):
        assert all(len(part) == 8 // processes for part in parts)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(batch))
