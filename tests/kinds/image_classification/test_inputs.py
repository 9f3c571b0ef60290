"""Random changes of training images: whole-pixel shifts, mirror images, affine transformations."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stages.kinds.image_classification.inputs import (
    SplitReader,
    augment,
    mirrored_in_turn,
    resize,
)
from stages.kinds.image_classification.schema import Augment

EVERY = torch.ones(60, dtype=torch.bool)


def limits(**changes: float | bool) -> Augment:
    return Augment.model_validate(
        {"rotate": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0, "flip": False} | changes
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, side: int) -> Tensor:
    return torch.rand(count, 2, side, side, generator=generator(1))


def shifted(image: Tensor, down: int, across: int) -> Tensor:
    """Return an image (channel, height, width) shifted over one that is mirrored at its edges."""
    padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
    height, width = image.shape[1:]
    return torch.from_numpy(
        padded[:, 4 + down : 4 + down + height, 4 + across : 4 + across + width].copy()
    )


def test_without_limits_images_stay_as_they_are() -> None:
    images = pictures(5, 8)
    assert torch.equal(augment(images, limits(), generator(), EVERY[:5]), images)


def test_a_shift_is_by_whole_pixels_over_a_mirrored_border() -> None:
    images = pictures(60, 10)
    changed = augment(images, limits(translate=0.2), generator(), EVERY[:60])
    moves = {
        (down, across): shift
        for down in range(-2, 3)
        for across in range(-2, 3)
        for shift in [torch.stack([shifted(image, down, across) for image in images])]
    }
    seen = set()
    for index in range(60):
        matching = [
            move for move, shift in moves.items() if torch.equal(shift[index], changed[index])
        ]
        assert len(matching) == 1
        seen |= {*matching}
    assert {down for down, _ in seen} == {across for _, across in seen} == {-2, -1, 0, 1, 2}


def test_about_half_of_the_images_are_mirrored() -> None:
    images = pictures(400, 6)
    changed = augment(images, limits(flip=True), generator(), mirrored_in_turn(400, 0, 0))
    mirrored = (changed == images.flip(-1)).all(dim=(1, 2, 3))
    same = (changed == images).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 160 < int(mirrored.sum()) < 240


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    side=st.integers(4, 40),
    translate=st.floats(0, 0.5),
    flip=st.booleans(),
    rotate=st.sampled_from([0.0, 10.0]),
)
def test_any_change_keeps_shape_and_range(
    side: int, translate: float, flip: bool, rotate: float
) -> None:
    params = limits(translate=translate, flip=flip, rotate=rotate)
    changed = augment(pictures(3, side), params, generator(), EVERY[:3])
    assert changed.shape == (3, 2, side, side)
    assert 0 <= changed.min() <= changed.max() <= 1 + 1e-6


def test_each_image_is_mirrored_in_every_other_epoch() -> None:
    first, second, third = (mirrored_in_turn(50, seed=3, epoch=epoch) for epoch in range(3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert 10 < int(first.sum()) < 40
    assert not torch.equal(first, mirrored_in_turn(50, seed=4, epoch=0))


def test_the_same_generator_gives_the_same_changes() -> None:
    images, params = pictures(9, 8), limits(translate=0.3, flip=True)
    assert torch.equal(
        augment(images, params, generator(3), EVERY[:9]),
        augment(images, params, generator(3), EVERY[:9]),
    )


def test_reducing_keeps_the_mean_of_an_even_image() -> None:
    assert torch.allclose(resize(torch.full((1, 1, 32, 32), 0.4), 24), torch.full((1,), 0.4))


def test_a_batch_holds_the_images_and_labels_of_its_rows() -> None:
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2)
    labels = torch.tensor([3, 1, 2])
    reader = SplitReader(images, np.array([0, 2, 5]), labels, torch.device("cpu"))
    pixels, chosen = reader.batch(np.array([1, 2]))
    assert torch.equal((pixels * 255).round().to(torch.uint8), torch.from_numpy(images[[2, 5]]))
    assert chosen.tolist() == [1, 2]
    ((inputs,), every), *rest = reader.in_order()
    assert not rest
    assert torch.equal((inputs * 255).round().to(torch.uint8), torch.from_numpy(images[[0, 2, 5]]))
    assert torch.equal(every, labels)
