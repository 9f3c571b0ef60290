"""Whether the classes of images look the same in a mirror."""

from pathlib import Path

import numpy as np

from stages.datasets.images.files import read_image_file
from stages.datasets.images.layouts import LayoutChoice, read_folder

_SIDE = 16  # pixels
_PER_CLASS = 40  # images
_CLASSES = 20
_LEAST_PER_CLASS = 4  # images, for a class to count
_SYMMETRIC = 0.8  # digits by hand have 0.06 to 0.32, photographs of ten classes 1.00 to 1.10
_MAX_PIXELS = 50_000_000


def mirror_symmetry(images: np.ndarray, labels: np.ndarray) -> float:
    """Return how much of what distinguishes the classes is left in mirror images, about 0 to 1.

    The mean image of one half of each class, less that of all classes, is correlated with the mean of the
    other half, and with the same mirrored. The ratio of the two sums of products is returned: noise
    lowers both alike. Photographs are near 1, letters and digits far below it.

    Args:
        images: (n, height, width).
        labels: (n,), integers; classes with fewer than four images are left out.
    """
    direct = mirrored = 0.0
    of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    means = [
        (images[rows[::2]].mean(axis=0), images[rows[1::2]].mean(axis=0))
        for rows in of_class
        if len(rows) >= _LEAST_PER_CLASS
    ]
    if len(means) < 2:  # noqa: PLR2004
        return 0.0
    centre = np.mean([half for pair in means for half in pair], axis=0)
    for first, second in means:
        direct += float(((first - centre) * (second - centre)).sum())
        mirrored += float(((first - centre) * (second - centre)[:, ::-1]).sum())
    return mirrored / direct if direct > 0 else 0.0


def suits_mirroring(root: Path, choice: LayoutChoice) -> bool:
    """Return whether training may show a classifier mirror images of the files below `root`.

    Some training images of up to 20 classes are read; official test data are not.
    """
    files: dict[str, list[Path]] = {}
    for file in read_folder(root, choice).files:
        if not file.problem and file.split in {"", "train"}:
            files.setdefault(file.label, []).append(root / file.path)
    images, labels = [], []
    for label, paths in enumerate([*files.values()][:_CLASSES]):
        for path in paths[:: -(-len(paths) // _PER_CLASS)]:
            try:
                images.append(read_image_file(path, _SIDE, 1, _MAX_PIXELS)[0] / 255)
            except ValueError:  # prepare lists it
                continue
            labels.append(label)
    return bool(images) and mirror_symmetry(np.stack(images), np.array(labels)) >= _SYMMETRIC
