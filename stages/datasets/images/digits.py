"""The embedded source: scikit-learn's handwritten digits, with their writers."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stages.core.errors import UserError
from stages.core.files import read_csv
from stages.datasets.images.files import fit_image
from stages.datasets.images.sample import ImageSample, ImageSource
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task

# SHA-256 of the images of scikit-learn's load_digits() (1,797 of 8 by 8, from 0 to 16) and their
# labels, both as uint8.
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
DIGITS_INK = 16  # the value of full ink


def digits_source(task: "Task") -> ImageSource:
    """Return the digits; the groups are the writers.

    Raises:
        UserError: scikit-learn's digits have changed, or the table of writers is missing or wrong.
    """
    from sklearn.datasets import load_digits

    params: PrepareImages = task.params.prepare
    bunch = load_digits()
    raw = bunch.images.astype(np.uint8)
    digest = hashlib.sha256(raw.tobytes() + bunch.target.astype(np.uint8).tobytes()).hexdigest()
    if digest != DIGITS_SHA256:
        raise UserError(
            f"scikit-learn's digits have SHA-256 {digest}, not {DIGITS_SHA256}: they changed in this "
            "release; install the pinned one with `make venv`"
        )
    writers = _read_writers(Path(params.path) / "writers.csv", len(raw))
    scaled = np.rint(raw * (255 / DIGITS_INK)).astype(np.uint8)
    samples = (
        ImageSample(
            f"digit-{index:04}",
            str(label),
            str(writer),
            pixels=fit_image(Image.fromarray(image), params.size, params.channels),
        )
        for index, (image, label, writer) in enumerate(
            zip(scaled, bunch.target, writers, strict=True)
        )
    )
    note = SourceNote(
        origin="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998; UCI), the "
        "writer-independent test half, as in scikit-learn's load_digits(); the samples are ordered by "
        "writer, and data/raw/digits/writers.csv lists each writer's first sample",
        licence="CC BY 4.0",
        label_rules="the digit that the writer was told to write, 0 to 9",
        raw_sha256=digest,
    )
    return ImageSource(samples, note)


def _read_writers(path: Path, count: int) -> np.ndarray:
    """Return the writer of each of `count` samples, (count,), object."""
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it with `git checkout -- {path}`")
    table = read_csv(path, dtype={"writer": str})
    if list(table) != ["first_sample", "writer"] or table["first_sample"].dtype != np.int64:
        raise UserError(f"{path}: must have the columns first_sample (whole numbers) and writer")
    firsts, names = table["first_sample"].to_numpy(), table["writer"].to_numpy(dtype=object)
    if len(table) == 0 or firsts[0] != 0 or firsts[-1] >= count or (np.diff(firsts) <= 0).any():
        raise UserError(f"{path}: first_sample must rise from 0 and stay below {count}")
    if (names == "").any():
        raise UserError(f"{path}: a writer has no name")
    writers: np.ndarray = names[np.searchsorted(firsts, np.arange(count), "right") - 1]
    return writers
