"""What the walkthrough's cells use: pictures of tensors, and a gradient by hand."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from stages.kinds.image_classification.walkthrough import (
    Picture,
    central_difference,
    outlined,
    tiles,
)


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture._repr_png_())))


def test_the_outline_is_around_the_pixels_that_are_named() -> None:
    shown = pixels(outlined(torch.zeros(1, 16, 16), 8, 4, 5))
    assert shown.shape == (192, 192, 3)  # 12 for each pixel
    rows, columns = np.nonzero(shown.any(axis=2))
    assert (rows.min(), rows.max()) == (8 * 12 - 1, 13 * 12)
    assert (columns.min(), columns.max()) == (4 * 12 - 1, 9 * 12)
    assert not shown[100:150, 60:100].any()  # inside, the image stays as it is


def test_colours_stay() -> None:
    image = torch.zeros(3, 16, 16)
    image[1] = 1
    assert pixels(outlined(image, 8, 8, 5))[0, 0].tolist() == [0, 255, 0]


def test_each_map_goes_from_black_to_white_and_an_even_one_is_grey() -> None:
    maps = torch.zeros(9, 2, 2)
    maps[0] = torch.tensor([[-3.0, -3.0], [1.0, -1.0]])
    picture = tiles(maps, "maps", "nine maps")
    shown = pixels(picture)
    assert (picture.name, repr(picture)) == ("maps", "<picture: nine maps>")
    assert shown.shape == (2 * 96 + 6, 8 * 96 + 7 * 6, 3)  # eight in a row
    assert [int(shown[y, x, 0]) for y, x in ((10, 10), (10, 60), (60, 10), (60, 60))] == [
        *(0, 0, 255),
        128,
    ]
    assert (shown[110:190, 10:90] == 128).all()


def test_the_central_difference_is_the_derivative() -> None:
    """With one feature x and two classes, d loss / d w of class 0 is (p - 1) x."""
    linear = nn.Linear(1, 2, bias=False)
    linear.weight.data = torch.tensor([[0.3], [-0.2]])
    model = nn.Sequential(nn.Flatten(), linear)
    images, labels = torch.full((1, 1, 1, 1), 2.0), torch.tensor([0])
    probability = torch.softmax(torch.tensor([0.6, -0.4]), dim=0)[0].item()
    gradient = central_difference(model, "1.weight", (0, 0), images, labels)
    assert gradient == pytest.approx((probability - 1) * 2, abs=1e-6)
    assert linear.weight[0, 0].item() == pytest.approx(0.3)  # the model itself has not moved
