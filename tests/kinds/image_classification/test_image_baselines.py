"""The simple methods for images: what they store gives what they predict, and transfer is one of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from support.project import default_task, merge, read_params
from support.text_networks import one_thread

from stages import prepare, train
from stages.core.errors import UserError
from stages.core.task import Task
from stages.datasets.dataset import read_dataset
from stages.datasets.images.packed import block_means, open_packed
from stages.evaluation.baselines import FittedBaselines
from stages.kinds.image_classification import baseline
from stages.kinds.image_classification.model import frozen_network
from stages.kinds.params import check_params, load_tasks
from stages.training.image_networks import to_tensor

GRID = [0.001, 0.01, 0.1, 1.0, 10.0]
LOGISTIC, FROZEN = (baseline.NAMES[name] for name in ("logistic_regression", "frozen_features"))


@pytest.fixture(autouse=True, scope="module")
def single_threaded() -> Iterator[None]:
    with one_thread():
        yield


def stripes_task(changes: dict[str, Any]) -> Task:
    """Return the task workshop with 60 images of each class, and changed params."""
    params = read_params()
    workshop = params["tasks"]["workshop"]
    merge(workshop, {"prepare": {"stripes": {"per_class": 60}}})
    merge(workshop, changes)
    return load_tasks(check_params(params))["workshop"]


def with_baseline(section: dict[str, Any], size: int = 16) -> Task:
    """Return a task of stripes with that section `baseline`."""
    task = stripes_task({"prepare": {"size": size}, "train": {"seeds": [0], "epochs": 2}})
    params = task.params.model_dump() | {"baseline": section}
    return Task(task.name, task.kind, type(task.params).model_validate(params), task.runtime)


def logistic(**changes: Any) -> dict[str, Any]:
    settings = {"regularisation": GRID, "max_iterations": 300, "max_samples": 1000, **changes}
    return {
        "methods": ["most_frequent_class", "logistic_regression"],
        "logistic_regression": settings,
    }


def prepared(task: Task) -> tuple[np.ndarray, FittedBaselines]:
    """Run prepare; return the test images and the fitted baselines."""
    prepare.run(task)
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    return images[dataset.rows("test")], baseline.fit(task)


@pytest.mark.parametrize("size", [8, 40])  # 64 pixels; 32 x 32 block means, on 256 axes
def test_logistic_regression_converges_and_its_weights_are_those_of_the_block_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.chdir(tmp_path)
    images, fitted = prepared(with_baseline(logistic(), size))
    assert fitted.summary["converged"]
    candidates = fitted.summary["regularisation"][LOGISTIC]["candidates"]
    assert [row["c"] for row in candidates] == GRID
    assert all(row["converged"] for row in candidates)
    side = min(size, baseline.SIDE)
    inputs = block_means(images, baseline.SIDE).reshape(len(images), -1)
    assert fitted.arrays["weights"].shape == (3, side**2)
    logits = inputs @ fitted.arrays["weights"].T + fitted.arrays["bias"]
    assert_allclose(fitted.probabilities[LOGISTIC], softmax(logits, axis=1), atol=1e-4)


def test_a_rerun_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = with_baseline(logistic())
    _, first = prepared(task)
    second = baseline.fit(task)
    assert first.summary == second.summary
    for name, probabilities in first.probabilities.items():
        assert np.array_equal(probabilities, second.probabilities[name])


def frozen(weights: str, **changes: Any) -> dict[str, Any]:
    settings = {
        "model": "tiny_cnn",
        "channels": [8, 16],
        "initial_weights": weights,
        "size": None,
        "regularisation": [1.0, 100.0],
        "max_iterations": 1000,
        "max_samples": 1000,
        **changes,
    }
    return {"methods": ["most_frequent_class", "frozen_features"], "frozen_features": settings}


@pytest.fixture(scope="module")
def stripes_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the weights of a network that learnt the direction of stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        task = stripes_task(
            {
                "prepare": {"stripes": {"per_class": 150}},
                "train": {"seeds": [0], "epochs": 12, "learning_rate": 0.03},
            }
        )
        prepare.run(task)
        train.run(task)
        shutil.copy(task.folder("train") / "weights-0.safetensors", "stripes.safetensors")
    return folder / "stripes.safetensors"


@pytest.mark.parametrize("size", [None, 24])
def test_the_features_of_another_tasks_network_are_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stripes_weights: Path, size: int | None
) -> None:
    """Stripes -> other stripes: without a network connection, and better than chance."""
    monkeypatch.chdir(tmp_path)
    task = with_baseline(frozen(str(stripes_weights), size=size))
    images, fitted = prepared(task)
    dataset = read_dataset(task)
    packed = open_packed(task.folder("prepare") / "images.npy")
    embed = frozen_network(
        task.params.baseline.frozen_features, dataset, packed, "key", torch.device("cpu")
    )
    with torch.inference_mode():
        features = embed(to_tensor(images)).numpy()
    arrays = fitted.arrays
    inputs = (features - arrays["frozen.mean"]) * arrays["frozen.scale"]
    logits = inputs @ arrays["frozen.weights"].T + arrays["frozen.bias"]
    assert_allclose(fitted.probabilities[FROZEN], softmax(logits, axis=1), atol=1e-4)
    scores = fitted.summary["validation"]
    assert fitted.summary["strongest"] == FROZEN
    assert scores[FROZEN]["accuracy"] > scores["most frequent class"]["accuracy"] + 0.2


def test_weights_of_another_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stripes_weights: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    task = with_baseline(frozen(str(stripes_weights), channels=[8, 32]))
    prepare.run(task)
    key = "tasks.workshop.baseline.frozen_features.initial_weights"
    with pytest.raises(UserError, match=rf"^{key}: .* does not fit the model"):
        baseline.fit(task)


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ("task:workshop", "must be imagenet or a .safetensors file that no stage writes"),
        ("data/train/workshop/weights-0.safetensors", "copy data/train/TASK/weights-SEED"),
        ("imagenet", "needs model: resnet18"),
    ],
)
def test_weights_that_dvc_would_not_make_first_are_refused(weights: str, rule: str) -> None:
    params = read_params()
    params["tasks"]["workshop"]["baseline"] = frozen(weights)
    with pytest.raises(UserError, match=rule):
        check_params(params)


def test_the_prototype_of_a_class_is_its_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = with_baseline({"methods": ["nearest_prototype"]}, 8)
    prepare.run(task)
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    pixels = images[dataset.rows("train")].reshape(-1, 64) / 255
    means = [pixels[dataset.labels("train") == label].mean(axis=0) for label in range(3)]
    assert_allclose(baseline.fit(task).arrays["prototypes"], means, atol=1e-5)


def test_the_default_tasks_state_how_often_the_most_frequent_class_is_right() -> None:
    for name in ("image", "workshop"):
        assert "most_frequent_class" in default_task(name).params.baseline.methods
