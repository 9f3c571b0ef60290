"""Near duplicates among texts: pairs that share most of their word trigrams."""

from array import array
from collections.abc import Iterable
from zlib import crc32

import numpy as np
from scipy.sparse import csr_array

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.datasets.texts.packed import split_words

_N = 3  # words of an n-gram
_MAX_PAIRS = 20_000_000
_BLOCK = 20_000  # texts that are compared with all others at a time
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial hash; odd, bits well mixed
_ROUNDING = 1e-9


def near_pairs(
    texts: Iterable[str], threshold: float, key: str = "prepare.near_duplicate"
) -> np.ndarray:
    """Return the pairs of texts whose sets of word trigrams overlap by at least `threshold`.

    Overlap is Jaccard's: shared trigrams over all trigrams of both. Two sets of n and m that overlap by
    t share one of the rarest n - ceil(t n) + 1 and m - ceil(t m) + 1 (prefix filtering: Chaudhuri,
    Ganti and Kaushik, 2006), so only texts that share a rare trigram are compared; no pair is missed.

    Args:
        texts: read once.
        threshold: above 0, at most 1.
        key: of the param that is the threshold, for the message.

    Returns:
        (m, 2), the smaller index first, sorted.

    Raises:
        UserError: more than 20 million pairs are that near.
    """
    trigrams = _trigrams(texts)
    starts, sizes = trigrams.indptr[:-1], np.diff(trigrams.indptr)
    prefix_sizes = sizes - np.ceil(threshold * sizes - _ROUNDING).astype(np.int64) + 1
    in_prefix = np.arange(trigrams.nnz) < np.repeat(starts + prefix_sizes, sizes)
    prefixes = csr_array(
        (
            trigrams.data[in_prefix],
            trigrams.indices[in_prefix],
            np.r_[0, np.cumsum(prefix_sizes)],
        ),
        shape=trigrams.shape,
    )
    by_trigram = prefixes.T.tocsr()
    blocks, total = [np.empty((0, 2), dtype=np.int64)], 0
    for start in progress(range(0, trigrams.shape[0], _BLOCK), "comparing texts"):
        candidates = (prefixes[start : start + _BLOCK] @ by_trigram).tocoo()
        first, second = candidates.row.astype(np.int64) + start, candidates.col.astype(np.int64)
        first, second = first[second > first], second[second > first]
        shared = trigrams[first].multiply(trigrams[second]).sum(axis=1)
        union = sizes[first] + sizes[second] - shared
        near = shared >= threshold * union - _ROUNDING
        blocks.append(np.stack([first[near], second[near]], axis=1))
        total += len(blocks[-1])
        if total > _MAX_PAIRS:
            raise UserError(
                f"more than {_MAX_PAIRS:,} pairs of texts overlap by {threshold:g} or more; such "
                f"texts are no longer duplicates: raise {key}"
            )
    pairs = np.concatenate(blocks)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _trigrams(texts: Iterable[str]) -> csr_array:
    """Return which trigrams each text contains, (texts, trigrams) of 0 and 1, the rarest first.

    A text of fewer than three words is one n-gram of all its words. N-grams are identified by a 64-bit
    hash: strings of a million texts' n-grams would not fit in memory.
    """
    hashes, sizes = (
        array("Q"),
        array("q"),
    )  # one block: a million small arrays take twice the memory
    for text in texts:
        distinct = np.unique(
            _ngram_hashes(split_words(text) or [text])
        )  # no words: punctuation only
        hashes.frombytes(distinct.tobytes())
        sizes.append(len(distinct))
    values, column, counts = np.unique(
        np.frombuffer(hashes, dtype=np.uint64), return_inverse=True, return_counts=True
    )
    width = len(values)
    del hashes, values  # before the next large arrays are made
    rank = np.empty(width, dtype=np.int32 if width < 2**31 else np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(width, dtype=rank.dtype)
    del counts
    matrix = csr_array(
        (np.ones(len(column), dtype=np.int32), rank[column], np.r_[0, np.cumsum(sizes)]),
        shape=(len(sizes), width),
    )
    matrix.sort_indices()
    return matrix


def _ngram_hashes(words: list[str]) -> np.ndarray:
    """Return the hash of every n-gram in `words`, (n-grams,) of uint64."""
    length = min(_N, len(words))
    codes = np.array([crc32(word.encode()) for word in words], dtype=np.uint64)
    hashes = np.full(len(codes) - length + 1, length, dtype=np.uint64)
    for offset in range(length):
        hashes = hashes * _MULTIPLIER + codes[offset : offset + len(hashes)]
    return hashes
