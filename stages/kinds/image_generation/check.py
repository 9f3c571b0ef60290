"""Check the prepared images, and a flow before it is trained."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stages.core.runtime import seed_for
from stages.datasets.dataset import read_dataset
from stages.datasets.images.duplicates import near_pairs
from stages.datasets.images.packed import open_packed
from stages.kinds.image_generation.inputs import random_point, to_signed
from stages.kinds.image_generation.model import fresh_model, velocity_loss
from stages.training.sanity_checks.data import data_checks
from stages.training.sanity_checks.network import (
    Loss,
    check_gradients,
    check_input_scale,
    check_overfitting,
    layer_shapes,
)
from stages.training.sanity_checks.results import Check, CheckResults

if TYPE_CHECKING:
    from stages.core.schema import CheckNetwork
    from stages.core.task import Task


def check(task: "Task") -> CheckResults:
    """Return the checks of the prepared images and of the untrained flow of the primary seed."""
    params: CheckNetwork = task.params.check
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    threshold, key = task.params.prepare.near_duplicate, task.key("prepare.near_duplicate")
    results = data_checks([dataset], near_pairs(images, threshold, key)[0])
    if not all(result.passed for result in results):  # a network is not checked on wrong data
        return CheckResults(results)

    seed = task.params.train.seeds[0]
    model = fresh_model(task, dataset, seed)
    drawn = dataset.draw("train", params.batch_size, seed_for(seed, "check"))
    batch = to_signed(images[dataset.rows("train")[drawn]])
    labels = torch.from_numpy(dataset.labels("train")[drawn])
    point = random_point(batch, torch.Generator().manual_seed(seed_for(seed, "check path")))

    def loss(network: nn.Module) -> Tensor:
        return velocity_loss(network, point, labels)

    table = layer_shapes(model, point.images, point.times, labels)
    input_shape, output_shape = str(tuple(batch.shape)), table.iloc[-1]["output_shape"]
    results += [
        Check(
            "a velocity for every pixel",
            output_shape == input_shape,
            f"{input_shape} → {output_shape} through {len(table) - 1} layers",
        ),
        check_input_scale(model, point.images, point.times, labels),
        check_first_velocity_loss(model, loss, point.velocity, params.first_loss_tolerance),
        check_gradients(model, loss),
        check_overfitting(
            model, loss, params.overfit_steps, params.overfit_loss, task.params.train.learning_rate
        ),
    ]
    return CheckResults(results, table)


def check_first_velocity_loss(
    model: nn.Module, loss: Loss, velocity: Tensor, tolerance: float
) -> Check:
    """Check that the loss of an untrained flow is near that of always predicting 0.

    Args:
        model: the flow.
        loss: of the model on one batch.
        velocity: the batch's targets.
        tolerance: as a share of the loss of predicting 0.
    """
    with torch.no_grad():
        first = loss(model.train()).item()
    expected = velocity.square().mean().item()
    observed = (
        f"loss {first:.4f}, mean square velocity {expected:.4f}, tolerance {tolerance:g} of it"
    )
    passed = abs(first - expected) <= tolerance * expected
    return Check("first loss near that of predicting 0", passed, observed)
