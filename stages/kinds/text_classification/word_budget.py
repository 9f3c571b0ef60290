"""For how many texts the words are weighed: the time for one text grows with the square of its length."""

from collections.abc import Sequence

import numpy as np

_MAX_WORDS_READ = 300_000  # MiniLM multiplies and adds 14 million times for each
_WORD_SECONDS = 2e-4  # of each, with two threads


def within_budget(texts: Sequence[str], max_tokens: int) -> int:
    """Return for how many of `texts`, from the first, the words can be weighed in a few minutes."""
    words = np.cumsum(_words_read(texts, max_tokens))
    return max(1, int(np.searchsorted(words, _MAX_WORDS_READ, side="right")))


def weighing_seconds(texts: Sequence[str], count: int, max_tokens: int) -> float:
    """Return the estimated time of weighing the words of `count` texts like `texts`."""
    words = count * float(_words_read(texts, max_tokens).mean())
    return _WORD_SECONDS * min(words, _MAX_WORDS_READ)


def _words_read(texts: Sequence[str], max_tokens: int) -> np.ndarray:
    """Return how many words are read to weigh those of each text, (n,).

    Each word that the model reads is removed once, and the rest of the text is read again.
    """
    lengths = np.array([min(len(text.split()), max_tokens) for text in texts])
    squares: np.ndarray = lengths**2
    return squares
