"""Whether the classes of images look the same in a mirror."""

from pathlib import Path

import numpy as np

from stages.core.progress import progress
from stages.datasets.images.files import read_image_file
from stages.datasets.images.layouts import LayoutChoice, read_folder

_SIDE = 16  # pixels
_IMAGES = 800  # at most, about as many of each class
_CLASSES = 20
_LEAST_PER_CLASS = 4  # images, for a class to count
_SYMMETRIC = 0.8  # digits by hand have 0.06 to 0.32, photographs of ten classes 1.00 to 1.10
_MAX_PIXELS = 50_000_000
# Of the agreement between halves of a class, that the classes differ in their means at all. Photographs of
# two to ten classes, 800 or 400 in all, have 2 to 58; classes with equal means above 3 in a thousandth.
_STANDARD_ERRORS = 3
_PERMUTATIONS = 40


def mirror_symmetry(images: np.ndarray, labels: np.ndarray) -> float:
    """Return how much of what distinguishes the classes is left in mirror images, about 0 to 1.

    The mean image of one half of each class, less that of all classes, is correlated with the mean of the
    other half, and with the same mirrored. The ratio of the two sums of products is returned: noise
    lowers both alike. Photographs are near 1, letters and digits far below it.

    Classes whose means differ no more than noise does, such as stripes at any position, have 0: their ratio
    would be one of noise. The noise is that of the images less the mean of their class, with permuted
    labels.

    Args:
        images: (n, height, width).
        labels: (n,), integers; classes with fewer than four images are left out.
    """
    classes, counts = np.unique(labels, return_counts=True)
    classes = classes[counts >= _LEAST_PER_CLASS]
    if len(classes) < 2:  # noqa: PLR2004
        return 0.0
    of_classes = np.isin(labels, classes)
    images, labels = images[of_classes].astype(float), labels[of_classes]
    direct, mirrored = _agreement(images, labels)
    for label in classes:
        images[labels == label] -= images[labels == label].mean(axis=0)
    random = np.random.default_rng(0)
    noise = [_agreement(images, random.permutation(labels))[0] for _ in range(_PERMUTATIONS)]
    standard_error = float(np.sqrt(np.mean(np.square(noise))))
    return mirrored / direct if direct > _STANDARD_ERRORS * standard_error else 0.0


def _agreement(images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the sums of products of each class's two halves: as they are, and the second one mirrored."""
    rows_of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    halves = np.array(
        [[images[rows[half::2]].mean(axis=0) for half in (0, 1)] for rows in rows_of_class]
    )
    first, second = np.moveaxis(halves - halves.mean(axis=(0, 1)), 1, 0)
    return float((first * second).sum()), float((first * second[..., ::-1]).sum())


def suits_mirroring(root: Path, choice: LayoutChoice) -> bool:
    """Return whether training may show a classifier mirror images of the files below `root`.

    Some images of up to 20 classes are read, none of official validation or test data.
    """
    files: dict[str, list[Path]] = {}
    for file in read_folder(root, choice).files:
        if not file.problem and file.split in {"", "train"}:
            files.setdefault(file.label, []).append(root / file.path)
    classes = [*files.values()][:_CLASSES]
    sampled = [
        (label, path)
        for label, paths in enumerate(classes)
        for path in paths[:: -(-len(paths) * len(classes) // _IMAGES)]
    ]
    images, labels = [], []
    for label, path in progress(sampled, "comparing images with their mirror images"):
        try:
            images.append(read_image_file(path, _SIDE, 1, _MAX_PIXELS)[0] / 255)
        except ValueError:  # prepare lists it
            continue
        labels.append(label)
    return bool(images) and mirror_symmetry(np.stack(images), np.array(labels)) >= _SYMMETRIC
