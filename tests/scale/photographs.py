"""Many small photographs: variants of those of an archive, shifted, mirrored and darkened."""

import io
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.side_by_side import run_side_by_side

SIZE = 32
_PER_FOLDER = 1000  # files, so that no folder gets slow
_PART = 10_000  # images that a process writes
_QUALITY = 90


def read_photographs(archive: Path) -> tuple[np.ndarray, list[str]]:
    """Return the photographs of an archive of SPLIT/CLASS/NAME.jpg, (n, 32, 32, 3), and their classes."""
    pixels, classes = [], []
    with tarfile.open(archive) as members:
        for member in members:
            path = Path(member.name)
            file = members.extractfile(member) if path.suffix == ".jpg" else None
            if file is not None:
                pixels.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
                classes.append(path.parent.name)
    return np.stack(pixels), classes


def write_variants(archive: Path, folder: Path, count: int) -> None:
    """Write `count` images, CLASS/THOUSANDS/NUMBER.jpg; fewer ones are the first of more.

    The photographs come in a random order, once unchanged and then in one variant after the other.
    """
    pixels, classes = read_photographs(archive)
    order = np.random.default_rng(0).permutation(len(pixels))
    parts = [
        partial(
            _write_part, pixels, classes, order, folder, range(start, min(start + _PART, count))
        )
        for start in range(0, count, _PART)
    ]
    if len(parts) == 1:
        parts[0]()
    if any(run_side_by_side(parts)):
        raise RuntimeError(f"{folder}: not all images were written")


def _write_part(
    pixels: np.ndarray, classes: list[str], order: np.ndarray, folder: Path, numbers: range
) -> None:
    for number in numbers:
        turn, place = divmod(number, len(order))
        photograph = int(order[place])
        below = folder / classes[photograph] / f"{number // _PER_FOLDER:04}"
        below.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(variant(pixels[photograph], turn))
        image.save(below / f"{number:07}.jpg", quality=_QUALITY)


def variant(image: np.ndarray, turn: int) -> np.ndarray:
    """Return an image as it is at turn 0, else shifted and darkened, at odd turns mirrored."""
    random = np.random.default_rng(turn)
    down, across = random.integers(-4, 5, 2) if turn else (0, 0)
    shifted = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    shifted = shifted[4 + down : 4 + down + SIZE, 4 + across : 4 + across + SIZE]
    shifted = shifted[:, ::-1] if turn % 2 else shifted
    darkened: np.ndarray = (shifted * (1 - 0.02 * turn)).astype(np.uint8)
    return darkened
