"""Check prepared images, and a fresh flow before it is trained."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stages.shared.checks import (
    Check,
    Checked,
    Loss,
    gradients,
    of_data,
    overfits,
    scaled,
    shapes,
)
from stages.shared.dataset import read_dataset
from stages.shared.images.duplicates import near_pairs
from stages.shared.images.packed import opened
from stages.shared.runtime import seed_for
from stages.tasks.generative.inputs import as_signed, drawn_point
from stages.tasks.generative.model import fresh_model, velocity_loss

if TYPE_CHECKING:
    from stages.shared.schema import CheckNetwork
    from stages.shared.task import Task


def check(task: "Task") -> Checked:
    """Return the checks of the prepared images and of a fresh flow of the first seed."""
    params: CheckNetwork = task.params.check
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    found = of_data(dataset, near_pairs(images, task.params.prepare.near_duplicate)[0])
    if not all(one.held for one in found):  # a network is not asked about data that are wrong
        return Checked(found)

    seed = task.params.train.seeds[0]
    model = fresh_model(task, dataset, seed)
    chosen = dataset.draw("train", params.batch_size, seed_for(seed, "check"))
    batch = as_signed(images[dataset.rows("train")[chosen]])
    labels = torch.from_numpy(dataset.labels("train")[chosen])
    point = drawn_point(batch, torch.Generator().manual_seed(seed_for(seed, "check path")))

    def loss(network: nn.Module) -> Tensor:
        return velocity_loss(network, point, labels)

    table = shapes(model, point.images, point.times, labels)
    size, last = str(tuple(batch.shape)), table.iloc[-1]["output_shape"]
    more = [
        Check(
            "a velocity for every pixel",
            last == size,
            f"{size} → {last} through {len(table) - 1} layers",
        ),
        scaled(model, point.images, point.times, labels),
        _first_loss(model, loss, point.velocity, params.first_loss_tolerance),
        gradients(model, loss),
        overfits(
            model, loss, params.overfit_steps, params.overfit_loss, task.params.train.learning_rate
        ),
    ]
    return Checked(found + more, table)


def _first_loss(model: nn.Module, loss: Loss, velocity: Tensor, tolerance: float) -> Check:
    """Hold that an untrained flow's loss is near that of one that always says 0: it knows nothing."""
    with torch.no_grad():
        found = loss(model.train()).item()
    expected = velocity.square().mean().item()
    saw = f"loss {found:.4f}, mean square velocity {expected:.4f}, tolerance {tolerance:g} of it"
    held = abs(found - expected) <= tolerance * expected
    return Check("first loss near that of a network that says 0", held, saw)
