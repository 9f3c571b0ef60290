"""Baselines for images: class shares, prototypes, logistic regression, a linear layer, frozen features."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.runtime import seed_for
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.images.packed import block_means, in_batches, open_packed
from stages.evaluation.baselines import (
    FittedBaselines,
    class_shares,
    compare_baselines,
    require_two_classes,
    softmax,
)
from stages.evaluation.linear_models import (
    Selection,
    choose_regularisation,
    fit_unit_scale,
    logistic_regression,
    principal_axes,
)
from stages.kinds.image_classification.border import border_accuracy

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.image_classification.schema import LogisticRegression
    from stages.training.classification import Batch

NAMES = {
    "most_frequent_class": "most frequent class",
    "nearest_prototype": "nearest prototype",
    "logistic_regression": "logistic regression",
    "flatten_linear": "flatten + linear",
    "frozen_features": "frozen features and logistic regression",
}
SIDE = 32  # blocks a side, at most, to which images are reduced
# Principal axes of the block means on which logistic regression is fitted. On 50,000 images of CIFAR-10
# with 3,072 values each: test accuracy 0.412 with 256 axes; of 10,000: 0.390 with 256, 0.391 with 512
# and 0.387 with all values, in a tenth of the time.
AXES = 256
_SAMPLES = 10_000  # training images from which axes and variances are computed, at most

# Rows of the packed array -> probabilities (n, classes), float32.
PredictRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Baseline:
    """One fitted baseline.

    Attributes:
        predict: rows of the packed array -> probabilities (n, classes), float32.
        training_rows: the rows it was fitted on.
        training_labels: their labels.
        arrays: its parameters.
        regularisation: every C that was tried, of logistic regression.
        converged: whether fitting converged.
        history: the training log, of a baseline that is trained by the loop.
    """

    predict: PredictRows
    training_rows: np.ndarray
    training_labels: np.ndarray
    arrays: dict[str, np.ndarray]
    regularisation: dict[str, Any] | None = None
    converged: bool = True
    history: list[dict[str, float]] | None = None


def fit(task: "Task") -> FittedBaselines:
    """Fit the baselines on training data; the strongest on validation data is the one to beat."""
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    fitted: dict[str, Baseline] = {
        NAMES[method]: _FIT[method](task, dataset, images)
        for method in task.params.baseline.methods
    }

    def predict(name: str, split: str) -> np.ndarray:
        baseline = fitted[name]
        return baseline.predict(baseline.training_rows if split == "train" else dataset.rows(split))

    baselines = compare_baselines(
        dataset,
        {name: len(baseline.training_rows) for name, baseline in fitted.items()},
        predict,
        {name: baseline.training_labels for name, baseline in fitted.items()},
        {
            "input": f"block means of each image, at most {SIDE} x {SIDE}; flatten + linear and frozen "
            "features: its pixels",
            "border_accuracy": border_accuracy(images, dataset),
            "converged": all(baseline.converged for baseline in fitted.values()),
            "regularisation": {
                name: baseline.regularisation
                for name, baseline in fitted.items()
                if baseline.regularisation
            },
        },
        {k: v for baseline in fitted.values() for k, v in baseline.arrays.items()},
        task.params.evaluate.metric,
    )
    trained = fitted.get(NAMES["flatten_linear"])
    if trained is None:
        return baselines
    return replace(baselines, extra_files={"log.csv": pd.DataFrame(trained.history)})


def _most_frequent_class(_task: "Task", dataset: Dataset, _images: np.ndarray) -> Baseline:
    """Predict the classes' shares of the training data, whatever the image."""
    rows, labels = dataset.rows("train"), dataset.labels("train")
    share = class_shares(labels, len(dataset.classes))
    return Baseline(lambda part: np.tile(share, (len(part), 1)), rows, labels, {"share": share})


def _nearest_prototype(_task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Predict by the distance to each class's mean image.

    The logit of a class is minus half the squared distance to its prototype, divided by the variance of
    training images around the prototype of their class: the posterior under Gaussians with one shared
    isotropic covariance.
    """
    rows, labels = dataset.rows("train"), dataset.labels("train")
    prototypes = _prototypes(images, rows, labels, len(dataset.classes))
    sample = dataset.draw("train", _SAMPLES, seed_for("baseline sample"))
    flat = _flatten(images, rows[sample])
    variance = ((flat - prototypes[labels[sample]]) ** 2).sum(axis=1).mean() / flat.shape[1]
    scale = np.array([max(variance, 1e-6)], dtype=np.float32)

    def logits(flat: np.ndarray) -> np.ndarray:
        squared: np.ndarray = (prototypes**2).sum(axis=1) - 2 * flat @ prototypes.T
        return -squared / (2 * scale)

    arrays = {"prototypes": prototypes, "variance": scale}
    return Baseline(_in_batches(images, logits), rows, labels, arrays)


def _logistic_regression(task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Fit multinomial logistic regression on (a random sample of) the training images.

    It is fitted on the principal axes of the block means; its weights are stored for these means.
    """
    rows, labels, params = _sample_to_fit(task, dataset, "logistic_regression")
    projection = principal_axes(_flatten(images, rows[:: -(-len(rows) // _SAMPLES)]), AXES)

    def inputs(rows: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [projection.apply(_flatten(images, part)) for part in in_batches(rows, images)]
        )

    selection = _choose(task, dataset, inputs(rows), labels, inputs, params)
    model = projection.unproject(selection.model)
    return Baseline(
        _in_batches(images, model.logits),
        rows,
        labels,
        {"weights": model.weights, "bias": model.bias},
        selection.summary,
        model.converged,
    )


def _frozen_features(task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Fit logistic regression on the features of a trained network, which stays as it is.

    Each image is embedded once.
    """
    from stages.core.runtime import set_deterministic, torch_device
    from stages.kinds.image_classification.model import frozen_network
    from stages.training.image_networks import predict_batches

    rows, labels, params = _sample_to_fit(task, dataset, "frozen_features")
    set_deterministic(task.runtime)
    device = torch_device(task.runtime)
    embed = frozen_network(
        task.params.baseline.frozen_features,
        dataset,
        images,
        task.key("baseline.frozen_features.initial_weights"),
        device,
    )
    training = predict_batches(embed, images, rows, device)
    scale = fit_unit_scale(training)

    @cache
    def features(rows: bytes) -> np.ndarray:
        return predict_batches(embed, images, np.frombuffer(rows, dtype=np.int64), device)

    def inputs(part: np.ndarray) -> np.ndarray:
        return scale.apply(training if np.array_equal(part, rows) else features(part.tobytes()))

    selection = _choose(task, dataset, inputs(rows), labels, inputs, params)
    model = selection.model
    return Baseline(
        lambda part: softmax(model.logits(inputs(part))),
        rows,
        labels,
        {
            "frozen.mean": scale.mean,
            "frozen.scale": np.array([scale.factor], dtype=np.float32),
            "frozen.weights": model.weights,
            "frozen.bias": model.bias,
        },
        selection.summary,
        model.converged,
    )


def _sample_to_fit(
    task: "Task", dataset: Dataset, method: str
) -> tuple[np.ndarray, np.ndarray, "LogisticRegression"]:
    """Return the rows and labels of the training images to fit a method on, and its params."""
    params: LogisticRegression = getattr(task.params.baseline, method)
    sample = dataset.draw("train", params.max_samples, seed_for("baseline sample"))
    labels = dataset.labels("train")[sample]
    require_two_classes(labels, task.key(f"baseline.{method}.max_samples"), params.max_samples)
    return dataset.rows("train")[sample], labels, params


def _choose(
    task: "Task",
    dataset: Dataset,
    training: np.ndarray,
    labels: np.ndarray,
    inputs: Callable[[np.ndarray], np.ndarray],
    params: "LogisticRegression",
) -> Selection:
    """Return logistic regression on the inputs (n, values) of training images, with the best C."""
    return choose_regularisation(
        params.regularisation,
        logistic_regression(training, labels, len(dataset.classes), params.max_iterations),
        (inputs(dataset.rows("validation")), dataset.labels("validation")),
        task.params.evaluate.metric,
    )


def _flatten_linear(task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Train one linear layer on the flattened pixels, by the same loop as the model.

    It has a weight for each pixel and class, so it cannot recognise a pattern that moves.
    """
    import torch
    from torch import nn

    from stages.core.runtime import torch_device
    from stages.training.classification import classification_run, shuffled_batches
    from stages.training.devices import launch_fabric
    from stages.training.image_networks import labelled_batches, predict_batches, to_tensor
    from stages.training.loop import fit as train

    params = task.params.baseline.flatten_linear
    rows, labels = dataset.rows("train"), torch.from_numpy(dataset.labels("train"))
    fabric = launch_fabric(task.runtime.alone)
    size = min(params.batch_size, len(rows))

    def batches(epoch: int) -> "Iterator[Batch]":
        for indices in shuffled_batches(len(rows), size, params.seed, epoch, fabric):
            yield fabric.to_device(((to_tensor(images[rows[indices]]),), labels[indices]))

    def validation_batches() -> "Iterator[Batch]":
        validation = torch.from_numpy(dataset.labels("validation"))
        for batch in labelled_batches(images, dataset.rows("validation"), validation):
            yield fabric.to_device(batch)

    torch.manual_seed(seed_for(params.seed, "initial weights", "linear"))
    layer = nn.Linear(int(np.prod(images.shape[1:])), len(dataset.classes))
    model = nn.Sequential(nn.Flatten(), layer)
    steps = len(rows) // size
    run = classification_run(
        model, batches, validation_batches, steps, params, len(dataset.classes)
    )
    state = train(run, fabric)
    model.load_state_dict(state.weights)
    model.eval()
    device = torch_device(task.runtime)
    arrays = {
        "linear.weights": layer.weight.detach().cpu().numpy(),
        "linear.bias": layer.bias.detach().cpu().numpy(),
    }
    return Baseline(
        lambda part: softmax(predict_batches(model, images, part, device)),
        rows,
        dataset.labels("train"),
        arrays,
        history=state.history,
    )


_FIT: dict[str, Callable[["Task", Dataset, np.ndarray], Baseline]] = {
    "most_frequent_class": _most_frequent_class,
    "nearest_prototype": _nearest_prototype,
    "logistic_regression": _logistic_regression,
    "flatten_linear": _flatten_linear,
    "frozen_features": _frozen_features,
}


def _flatten(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images at `rows` as vectors of block means, (n, values), float32."""
    parts = [
        block_means(images[part], SIDE).reshape(len(part), -1) for part in in_batches(rows, images)
    ]
    return np.concatenate(parts)


def _in_batches(images: np.ndarray, logits: Callable[[np.ndarray], np.ndarray]) -> PredictRows:
    """Return rows -> probabilities, from `logits`, a function of flattened images."""
    return lambda rows: np.concatenate(
        [softmax(logits(_flatten(images, part))) for part in in_batches(rows, images)]
    )


def _prototypes(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    sums = np.zeros((classes, _flatten(images, rows[:1]).shape[1]))
    start = 0
    for part in in_batches(rows, images):
        flat, of_part = _flatten(images, part), labels[start : start + len(part)]
        for label in np.unique(of_part):
            sums[label] += flat[of_part == label].sum(axis=0, dtype=np.float64)
        start += len(part)
    counts = np.bincount(labels, minlength=classes)[:, None]
    prototypes: np.ndarray = (sums / np.maximum(counts, 1)).astype(np.float32)
    return prototypes
