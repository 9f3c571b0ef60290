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
    images = np.stack([rows, rows[::-1]] * 12)
    assert mirror_symmetry(images, np.array([0, 1] * 12)) == pytest.approx(1)


def test_classes_that_are_each_other_s_mirror_images() -> None:
    columns = np.tile(np.arange(8.0), (8, 1))
    images = np.stack([columns, columns[:, ::-1]] * 12)
    assert mirror_symmetry(images, np.array([0, 1] * 12)) == pytest.approx(-1)


def test_one_class_and_no_images_say_nothing() -> None:
    assert mirror_symmetry(np.zeros((8, 4, 4)), np.zeros(8, dtype=int)) == 0
    assert mirror_symmetry(np.zeros((8, 4, 4)), np.repeat([0, 1], 4)) == 0


@pytest.mark.parametrize("seed", range(20))
def test_classes_whose_means_do_not_differ_show_nothing(seed: int) -> None:
    """Stripes / and \\ at any phase: the mean of each class is grey, and a mirror swaps the classes."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 40)
    x, y = np.meshgrid(np.arange(16), np.arange(16))
    direction = np.where(labels, 1, -1)[:, None, None]
    phase = random.uniform(0, 2 * np.pi, (80, 1, 1))
    images = 0.5 + 0.5 * np.sin(0.8 * (x + direction * y) + phase)
    assert mirror_symmetry(images, labels) < 0.5


def test_digits_must_not_be_mirrored() -> None:
    digits = load_digits()
    for count in (100, 400, 1700):
        assert mirror_symmetry(digits.images[:count], digits.target[:count]) < 0.5


def write(folder: Path, name: str, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")


def test_files_are_read_from_training_data_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    monkeypatch.setattr("stages.core.progress.LINE_SECONDS", 0)
    assert suits_mirroring(Path("photos"), CHOICE)
    assert "comparing with mirror images" in capsys.readouterr().err
    Path("photos/train").rename("other")
    Path("photos/test").rename("turned")
    assert not suits_mirroring(Path("turned"), CHOICE)
