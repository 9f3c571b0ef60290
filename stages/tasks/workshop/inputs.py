"""What the tiny CNN is given: a fixed batch, for the checks and for the tour of the loop."""

import numpy as np
import torch
from torch import Tensor

from stages.shared.dataset import Dataset
from stages.shared.images.network import as_tensor


def some(dataset: Dataset, images: np.ndarray, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `count` training images (batch, 1, size, size), 0 to 1, and labels (batch,)."""
    chosen = dataset.draw("train", count, seed)
    batch = as_tensor(images[dataset.rows("train")[chosen]])
    return batch, torch.from_numpy(dataset.labels("train")[chosen])
