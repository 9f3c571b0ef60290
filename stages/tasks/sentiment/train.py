"""Train the text classifier: what the shared loop is to run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from stages.shared.dataset import read_dataset
from stages.shared.runtime import seed_for
from stages.shared.texts.packed import Texts
from stages.shared.training import Batch, Job, classifier
from stages.tasks.sentiment.inputs import by_length, joined, padded, shuffled, tokens
from stages.tasks.sentiment.model import fresh_model

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.shared.schema import TrainTexts
    from stages.shared.task import Task

KEPT = 1_000_000_000  # bytes of frozen layers' states; beyond that each batch makes its own
_FLOAT = 4


def inputs(task: "Task") -> list[Path]:
    """Return the files that the result depends on."""
    folder = task.folder("prepare")
    return [folder / "dataset.json", folder / "samples.csv", folder / "texts.bin"]


def jobs(task: "Task", fabric: "Fabric") -> Callable[[int], Job]:
    """Return seed -> the training run of that seed."""
    params: TrainTexts = task.params.train
    dataset = read_dataset(task.folder("prepare"))
    texts = Texts(task.folder("prepare") / "texts.bin")
    known = {
        split: tokens(texts.at(dataset.rows(split)), params.max_tokens)
        for split in ("train", "validation")
    }
    lengths = {split: np.array([len(one) for one in lists]) for split, lists in known.items()}
    labels = {split: torch.from_numpy(dataset.labels(split)) for split in known}
    size = min(params.batch_size, len(known["train"]))
    steps = len(known["train"]) // size  # the last, smaller batch is left out; another each epoch
    share = size // fabric.world_size
    states = _frozen_states(task, len(dataset.classes), known, fabric)

    def batch(split: str, places: np.ndarray) -> Batch:
        given = [padded([known[split][place] for place in places])]
        if states:
            given.append(joined(states[split][place] for place in places))
        moved: Batch = fabric.to_device((tuple(given), labels[split][places]))
        return moved

    def held() -> Iterator[Batch]:
        for places in by_length(lengths["validation"]):
            yield batch("validation", places)

    def job(seed: int) -> Job:
        def batches(epoch: int) -> Iterator[Batch]:
            random = np.random.default_rng(seed_for(seed, "order", epoch))
            torch.manual_seed(seed_for(seed, "dropout", epoch, fabric.global_rank))
            for places in shuffled(lengths["train"], size, random):
                yield batch("train", places[fabric.global_rank * share :][:share])

        model = fresh_model(task, len(dataset.classes), seed)
        return classifier(model, batches, held, steps, params, len(dataset.classes))

    return job


def _frozen_states(
    task: "Task", classes: int, known: dict[str, list[list[int]]], fabric: "Fabric"
) -> dict[str, list[np.ndarray]]:
    """Return what the frozen layers make of each text, (tokens, width), by split.

    They are the same for every seed and epoch, so they are computed once; not where nothing is
    frozen, nor where the states would fill the memory.
    """
    model = fresh_model(task, classes, task.params.train.seeds[0])
    total = sum(len(one) for lists in known.values() for one in lists)
    if model.frozen is None or total * model.head.in_features * _FLOAT > KEPT:
        return {}
    model.eval().to(fabric.device)
    found: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for split, lists in known.items():
            states = [np.empty(0)] * len(lists)
            for places in by_length(np.array([len(one) for one in lists])):
                batch = padded([lists[place] for place in places]).to(fabric.device)
                for place, state in zip(places, model.below(batch).float().cpu(), strict=True):
                    states[place] = state[: len(lists[place])].numpy().copy()
            found[split] = states
    return found
