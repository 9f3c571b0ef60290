"""Near duplicates: texts that share most of their runs of three words."""

from array import array
from collections.abc import Iterable
from zlib import crc32

import numpy as np
from scipy.sparse import csr_array

from stages.shared.refusal import Refusal
from stages.shared.texts.packed import words

_RUN = 3
_MOST = 20_000_000
_AT_ONCE = 20_000


def _runs(texts: Iterable[str]) -> csr_array:
    """Return which runs of three words each text holds, (texts, runs) of 0 and 1, rarest run first.

    A text of fewer words is one run. Runs are told apart by a 64-bit hash.
    """
    every, lengths = array("Q"), array("q")  # one block: a million small arrays take twice the room
    for text in texts:
        found = words(text) or [text]  # signs only
        length = min(_RUN, len(found))
        codes = np.array([crc32(word.encode()) for word in found], dtype=np.uint64)
        runs = np.full(len(codes) - length + 1, length, dtype=np.uint64)
        for place in range(length):
            runs = runs * np.uint64(0x9E3779B97F4A7C15) + codes[place : place + len(runs)]
        once = np.unique(runs)
        every.frombytes(once.tobytes())
        lengths.append(len(once))
    names, column, counts = np.unique(
        np.frombuffer(every, dtype=np.uint64), return_inverse=True, return_counts=True
    )
    size = len(names)
    del every, names
    rank = np.empty(size, dtype=np.int32 if size < 2**31 else np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(size, dtype=rank.dtype)
    del counts
    matrix = csr_array(
        (np.ones(len(column), dtype=np.int32), rank[column], np.r_[0, np.cumsum(lengths)]),
        shape=(len(lengths), size),
    )
    matrix.sort_indices()
    return matrix


def near_pairs(texts: Iterable[str], threshold: float) -> np.ndarray:
    """Return the pairs of texts whose runs of three words overlap by at least `threshold`.

    Overlap is Jaccard's: shared runs over all runs of both. Two sets that overlap by t share a run
    among the rarest n - ceil(t n) + 1 of each (Chaudhuri, Ganti and Kaushik, 2006, prefix
    filtering), so that only texts which share a rare run are compared; no pair is missed.

    Args:
        texts: read once.
        threshold: above 0, at most 1.

    Returns:
        (m, 2), the smaller index first, sorted.

    Raises:
        Refusal: more than 20 million pairs are that near.
    """
    runs = _runs(texts)
    starts, lengths = runs.indptr[:-1], np.diff(runs.indptr)
    rare = lengths - np.ceil(threshold * lengths - 1e-9).astype(np.int64) + 1
    kept = np.arange(runs.nnz) < np.repeat(starts + rare, lengths)
    prefixes = csr_array(
        (runs.data[kept], runs.indices[kept], np.r_[0, np.cumsum(rare)]), shape=runs.shape
    )
    by_run = prefixes.T.tocsr()
    found, total = [np.empty((0, 2), dtype=np.int64)], 0
    for start in range(0, runs.shape[0], _AT_ONCE):
        candidates = (prefixes[start : start + _AT_ONCE] @ by_run).tocoo()
        left, right = candidates.row.astype(np.int64) + start, candidates.col.astype(np.int64)
        left, right = left[right > left], right[right > left]
        shared = runs[left].multiply(runs[right]).sum(axis=1)
        near = shared >= threshold * (lengths[left] + lengths[right] - shared) - 1e-9
        found.append(np.stack([left[near], right[near]], axis=1))
        total += len(found[-1])
        if total > _MOST:
            raise Refusal(
                f"more than {_MOST:,} pairs of texts overlap by {threshold:g}: that is no longer a "
                "duplicate; raise prepare.near_duplicate"
            )
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
