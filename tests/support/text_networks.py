"""Helpers of the tests on the networks for texts: small models, and tokens for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from stages.kinds.text_classification.model import TextClassifier

CPU = torch.device("cpu")
WIDTH, HEADS = 16, 4  # of `small_model`


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: two take several times longer for small matrices beside other tests.

    Afterwards torch is as before, also where code under test made it deterministic.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


def randomise(model: nn.Module, seed: int = 0, std: float = 0.3) -> None:
    """Draw every parameter, so large that every part of the model has an effect."""
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std, generator=random)


def small_model(
    layers: int = 3, dropout: float = 0.0, classes: int = 3, seed: int = 0
) -> TextClassifier:
    """Return a narrow classifier with random parameters, ready to predict."""
    model = TextClassifier(layers, WIDTH, HEADS, classes, dropout)
    randomise(model, seed)
    return model.eval()


def random_tokens(count: int, seed: int = 0, longest: int = 30) -> list[list[int]]:
    """Return token lists of random length, without padding."""
    random = np.random.default_rng(seed)
    return [random.integers(1, 30522, random.integers(1, longest)).tolist() for _ in range(count)]
