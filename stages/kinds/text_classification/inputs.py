"""The inputs of the text classifier: tokens as tensors, in batches of similar length."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

PADDING = 0  # the token that fills up the shorter texts of a batch
_BATCH_SIZE = 64
_POOL_BATCHES = 16  # batches that are cut from one pool of texts, sorted by length


def token_counts(token_lists: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the number of tokens of each text, (n,)."""
    return np.array([len(tokens) for tokens in token_lists])


def pad_tokens(token_lists: Sequence[Sequence[int]]) -> Tensor:
    """Return token lists as one tensor, (batch, longest), int64, filled up with `PADDING`."""
    shape = len(token_lists), max(map(len, token_lists))
    batch = np.full(shape, PADDING, dtype=np.int64)
    for row, tokens in enumerate(token_lists):
        batch[row, : len(tokens)] = tokens
    return torch.from_numpy(batch)


def pad_states(states: Iterable[Tensor]) -> Tensor:
    """Return texts' states, (tokens, width) each, as one tensor (batch, longest, width)."""
    return torch.nn.utils.rnn.pad_sequence([*states], batch_first=True)


def sorted_batches(lengths: np.ndarray, size: int = _BATCH_SIZE) -> Iterator[np.ndarray]:
    """Yield batches of at most `size` indices, the shortest texts first, so that little is padding."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def batches_of_similar_length(
    lengths: np.ndarray, size: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield random batches of `size` indices, each of texts of similar length.

    Random pools of 16 batches are sorted by length and cut into batches, which come in random order.
    The texts that do not fill a last batch are left out; they are others each time.
    """
    order = random.permutation(len(lengths))
    order = order[: len(order) // size * size]
    batches: list[np.ndarray] = []
    for start in range(0, len(order), size * _POOL_BATCHES):
        pool = order[start : start + size * _POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += np.split(pool, len(pool) // size)
    for index in random.permutation(len(batches)):
        yield batches[index]
