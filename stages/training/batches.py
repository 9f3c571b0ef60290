"""Random batches of samples."""

from collections.abc import Iterator

import numpy as np

from stages.core.runtime import seed_for


def random_batches(count: int, size: int, stream: str | int, epoch: int) -> Iterator[np.ndarray]:
    """Yield an epoch's batches of indices, in random order; a last, smaller batch is dropped.

    Args:
        count: of samples.
        size: of a batch; where there are fewer samples, one batch holds them all.
        stream: names the random numbers.
        epoch: from 0.
    """
    order = np.random.default_rng(seed_for(stream, "order", epoch)).permutation(count)
    size = min(size, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]
