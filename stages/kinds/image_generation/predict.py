"""Predict the class of image files with the reference classifier, and tell whether they are copies."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.core.files import read_json
from stages.core.runtime import set_deterministic
from stages.datasets.dataset import read_dataset
from stages.datasets.images.files import read_image_files
from stages.kinds.prediction import Prediction

if TYPE_CHECKING:
    from stages.core.task import Task


def predict(task: "Task", files: list[str]) -> Iterator[Prediction]:
    """Yield for each file its prediction, with its nearest training image, the distance, and a word.

    The distance is the root mean square difference to the nearest training image as a share of the
    range; the word is "close" where it is below the copy distance of the evaluation.

    Args:
        task: whose baselines have been fitted.
        files: of images.

    Raises:
        UserError: a file cannot be read, or there is no trained reference classifier.
    """
    dataset = read_dataset(task)
    images = read_image_files(files, task.params.prepare, dataset.note["grey_bits"])
    # torch is imported only once the files can be read
    from stages.datasets.images.packed import open_packed
    from stages.evaluation.reference_set import describe_images
    from stages.kinds.image_generation.reference_classifier import load_reference_classifier

    set_deterministic(task.model_runtime)
    classifier = load_reference_classifier(task, dataset)
    packed = open_packed(task.folder("prepare") / "images.npy")
    limit = read_json(task.folder("evaluate") / "metrics.json")["copy_distance_test"]
    described = describe_images(classifier, packed, dataset.rows("train"), images)
    ids = dict(zip(dataset.samples["row"], dataset.samples["id"], strict=True))
    for name, probabilities, row, distance in zip(
        files,
        described.probabilities,
        described.neighbour_rows,
        described.nearest_distances,
        strict=True,
    ):
        yield Prediction(
            name,
            dict(zip(dataset.classes, probabilities.tolist(), strict=True)),
            {
                "nearest training image": f"{ids[row]}",
                "distance": f"{distance:.3f}",
                "is it a copy": "close" if distance < limit else "not close",
            },
        )
