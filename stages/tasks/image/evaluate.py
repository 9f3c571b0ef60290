"""Evaluate the image classifiers: what each seed's model says of the test images."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stages.shared.comparison import Evaluation, compare
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.files import read_arrays, read_csv, read_json
from stages.shared.images import opened
from stages.shared.refusal import Refusal
from stages.shared.runtime import device
from stages.shared.weights import read_weights
from stages.tasks.image.model import Classifier, as_tensors, build

if TYPE_CHECKING:
    from stages.shared.task import Task


def load(task: "Task", dataset: Dataset, seed: int) -> Classifier:
    """Return the trained model of one seed, ready to predict.

    Raises:
        Refusal: its weights are missing, damaged, or of another model.
    """
    path = task.folder("train") / f"weights-{seed}.safetensors"
    model = build(task.params.train, dataset.note["shape"][0], len(dataset.classes))
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[-1].strip()
        raise Refusal(
            f"{path} does not fit the model that params.yaml describes ({reason}); train it again "
            "with `dvc repro`"
        ) from None
    return model.eval().to(device(task.runtime))


def asked(
    answer: Callable[[Tensor], Tensor], images: np.ndarray, rows: np.ndarray, where: torch.device
) -> np.ndarray:
    """Return `answer` for the images at `rows`, (n, ...), float32."""
    with torch.inference_mode():
        parts = [answer(part.to(where)).float().cpu() for part in as_tensors(images, rows)]
    result: np.ndarray = torch.cat(parts).numpy()
    return result


def evaluate(task: "Task") -> Evaluation:
    """Return what the models of all seeds say of the test images, beside the baseline."""
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    where = device(task.runtime)
    seeds: dict[int, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    for seed in task.params.train.seeds:
        model = load(task, dataset, seed)
        if not features:
            features = {
                split: asked(model.embed, images, dataset.rows(split), where)
                for split in ("train", "test")
            }
        answer = torch.nn.Sequential(model, torch.nn.Softmax(dim=1))
        seeds[seed] = asked(answer, images, dataset.rows("test"), where)
    folder = task.folder("baseline")
    return compare(
        dataset,
        seeds,
        features,
        read_arrays(folder / "test.safetensors"),
        read_json(folder / "baseline.json"),
        read_csv(task.folder("train") / "log.csv"),
        task.params.evaluate,
    )
