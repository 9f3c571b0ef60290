"""Whether the classes of images look the same in a mirror."""

from pathlib import Path

import numpy as np

from stages.core.progress import progress
from stages.datasets.images.files import SURVEY_PIXELS, read_image_file
from stages.datasets.images.layouts import LayoutChoice, read_folder

_SIDE = 16  # pixels
_CLASSES, _IMAGES = 20, 800  # that are read, at most
_LEAST_PER_CLASS = 4  # images, for a class to count
_SYMMETRIC = 0.8  # digits by hand have 0.06 to 0.32, photographs of two to ten classes 1.00 to 1.10
_DRAWS = 20  # of random labels
_ERRORS = 3.0  # standard deviations of these, by which the classes must differ more


def mirror_symmetry(images: np.ndarray, labels: np.ndarray) -> float:
    """Return how much of what distinguishes the classes is left in mirror images, about 0 to 1.

    The mean image of one half of each class, less that of all classes, is correlated with the mean of the
    other half, and with the same mirrored. The ratio of the two sums of products is returned: noise
    lowers both alike. Photographs are near 1, letters and digits far below it. Where the mean images of
    the classes do not differ more than those of classes drawn at random (such as stripes at any phase,
    whose direction a mirror changes), they show nothing, and 0 is returned.

    Args:
        images: (n, height, width).
        labels: (n,), integers; classes with fewer than four images are left out.
    """
    names, counts = np.unique(labels, return_counts=True)
    large = np.isin(labels, names[counts >= _LEAST_PER_CLASS])
    images, labels = images[large], labels[large]
    if len(np.unique(labels)) < 2:  # noqa: PLR2004
        return 0.0
    direct, mirrored = _class_products(images, labels)
    random = np.random.default_rng(0)
    by_chance = [_class_products(images, random.permutation(labels))[0] for _ in range(_DRAWS)]
    if direct <= np.mean(by_chance) + _ERRORS * np.std(by_chance):
        return 0.0
    return mirrored / direct


def _class_products(images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the sum of products of the class means of both halves, and that with one of them mirrored."""
    of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    halves = np.array(
        [[images[rows[::2]].mean(axis=0), images[rows[1::2]].mean(axis=0)] for rows in of_class]
    )
    first, second = np.moveaxis(halves - halves.mean(axis=(0, 1)), 1, 0)
    return float((first * second).sum()), float((first * second[..., ::-1]).sum())


def suits_mirroring(root: Path, choice: LayoutChoice) -> bool:
    """Return whether training may show a classifier mirror images of the files below `root`.

    Some images of up to 20 classes are read; official validation and test data are not.
    """
    files: dict[str, list[Path]] = {}
    for file in read_folder(root, choice).files:
        if not file.problem and file.split in {"", "train"}:
            files.setdefault(file.label, []).append(root / file.path)
    paths_by_class = [*files.values()][:_CLASSES]
    per_class = _IMAGES // max(1, len(paths_by_class))
    sample = [
        (label, path)
        for label, paths in enumerate(paths_by_class)
        for path in paths[:: -(-len(paths) // per_class)]
    ]
    images, labels = [], []
    for label, path in progress(sample, "comparing with mirror images"):
        try:
            images.append(read_image_file(path, _SIDE, 1, SURVEY_PIXELS)[0] / 255)
        except ValueError:  # prepare lists it
            continue
        labels.append(label)
    return bool(images) and mirror_symmetry(np.stack(images), np.array(labels)) >= _SYMMETRIC
