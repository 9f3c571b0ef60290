"""Whether classes look the same in a mirror."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from stages.datasets.images.layouts import LayoutChoice
from stages.datasets.images.symmetry import mirror_symmetry, suits_mirroring

CHOICE = LayoutChoice("photos", "--layout", "prepare.labels")


def test_classes_that_are_their_own_mirror_images() -> None:
    rows = np.tile(np.arange(8.0)[:, None], (1, 8))  # brightness by row: a mirror changes nothing
    images = np.stack([rows, rows[::-1]] * 4)
    assert mirror_symmetry(images, np.array([0, 1] * 4)) == pytest.approx(1)


def test_classes_that_are_each_other_s_mirror_images() -> None:
    columns = np.tile(np.arange(8.0), (8, 1))
    images = np.stack([columns, columns[:, ::-1]] * 4)
    assert mirror_symmetry(images, np.array([0, 1] * 4)) == pytest.approx(-1)


def test_one_class_and_no_images_say_nothing() -> None:
    assert mirror_symmetry(np.zeros((8, 4, 4)), np.zeros(8, dtype=int)) == 0
    assert mirror_symmetry(np.zeros((8, 4, 4)), np.repeat([0, 1], 4)) == 0


def test_digits_must_not_be_mirrored() -> None:
    digits = load_digits()
    for count in (100, 400, 1700):
        assert mirror_symmetry(digits.images[:count], digits.target[:count]) < 0.5


def test_classes_with_equal_means_say_nothing() -> None:
    """Stripes of either direction at any position are each other's mirror images, their means are grey."""
    rows, columns = np.mgrid[:16, :16]
    for seed in range(30):
        positions = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, 40, 1, 1))
        images = np.sin(0.8 * (columns + np.array([1, -1])[:, None, None, None] * rows) + positions)
        assert mirror_symmetry(images.reshape(80, 16, 16), np.repeat([0, 1], 40)) < 0.5


def write(folder: Path, name: str, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")


def test_files_are_read_from_training_data_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows = np.tile(np.linspace(0, 200, 16)[:, None], (1, 16))
    for index in range(12):
        for label, pixels in (("up", rows), ("down", rows[::-1])):
            write(Path("photos/train", label), str(index), pixels + random.uniform(0, 40, (16, 16)))
            # Not to be read: mirroring would change the class.
            turned = pixels.T + random.uniform(0, 40, (16, 16))
            write(Path("photos/test", label), str(index), turned)
    Path("photos/train/up/broken.png").write_bytes(b"no image")
    assert suits_mirroring(Path("photos"), CHOICE)
    Path("photos/train").rename("other")
    Path("photos/test").rename("turned")
    assert not suits_mirroring(Path("turned"), CHOICE)
