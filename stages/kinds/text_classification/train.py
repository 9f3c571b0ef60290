"""Train a text classifier: the runs of the shared loop."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stages.core.progress import progress
from stages.core.runtime import seed_for
from stages.datasets.dataset import read_dataset
from stages.datasets.texts.packed import PackedTexts
from stages.kinds.text_classification.inputs import (
    batches_of_similar_length,
    pad_states,
    pad_tokens,
    sorted_batches,
    token_counts,
)
from stages.kinds.text_classification.model import fresh_model
from stages.kinds.text_classification.tokens import tokenize
from stages.training.classification import Batch, classification_run
from stages.training.loop import TrainingRun

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.task import Task
    from stages.kinds.text_classification.schema import TrainTexts

MAX_CACHED_BYTES = 1_000_000_000  # of frozen layers' states; if they need more, none is cached
_FLOAT_BYTES = 4

TokenLists = dict[str, list[list[int]]]  # by split, the tokens of each text


def input_files(task: "Task") -> list[Path]:
    """Return the files that the result depends on."""
    folder = task.folder("prepare")
    return [folder / "dataset.json", folder / "samples.csv", folder / "texts.bin"]


def training_runs(task: "Task", fabric: "Fabric") -> Callable[[int], TrainingRun]:
    """Return seed -> the training run of that seed."""
    params: TrainTexts = task.params.train
    dataset = read_dataset(task)
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    tokens = {
        split: tokenize(texts.at(dataset.rows(split)), params.max_tokens)
        for split in ("train", "validation")
    }
    lengths = {split: token_counts(lists) for split, lists in tokens.items()}
    labels = {split: torch.from_numpy(dataset.labels(split)) for split in tokens}
    size = min(params.batch_size, len(tokens["train"]))
    steps = len(tokens["train"]) // size
    share = size // fabric.world_size
    states = _frozen_states(task, len(dataset.classes), tokens, fabric)

    def make_batch(split: str, indices: np.ndarray) -> Batch:
        inputs = [pad_tokens([tokens[split][index] for index in indices])]
        if states:
            inputs.append(pad_states(states[split][index] for index in indices))
        batch: Batch = fabric.to_device((tuple(inputs), labels[split][indices]))
        return batch

    def validation_batches() -> Iterator[Batch]:
        for indices in sorted_batches(lengths["validation"]):
            yield make_batch("validation", indices)

    def training_run(seed: int) -> TrainingRun:
        def batches(epoch: int) -> Iterator[Batch]:
            random = np.random.default_rng(seed_for(seed, "order", epoch))
            torch.manual_seed(seed_for(seed, "dropout", epoch, fabric.global_rank))
            for indices in batches_of_similar_length(lengths["train"], size, random):
                yield make_batch("train", indices[fabric.global_rank * share :][:share])

        model = fresh_model(task, len(dataset.classes), seed)
        return classification_run(
            model,
            batches,
            validation_batches,
            steps,
            params,
            len(dataset.classes),
            dataset.class_weights(params.class_weights),
        )

    return training_run


def _frozen_states(
    task: "Task", classes: int, tokens: TokenLists, fabric: "Fabric"
) -> dict[str, list[Tensor]]:
    """Return by split the frozen layers' states of each text, (tokens, width), on the network's device.

    They are the same for every seed and epoch, so they are computed once. Empty where nothing is
    frozen, or where the states would take more than `MAX_CACHED_BYTES`.
    """
    model = fresh_model(task, classes, task.params.train.seeds[0])
    total = sum(int(token_counts(lists).sum()) for lists in tokens.values())
    if model.frozen is None or total * model.head.in_features * _FLOAT_BYTES > MAX_CACHED_BYTES:
        return {}
    model.eval().to(fabric.device)
    states: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for split, lists in tokens.items():
            states[split] = [torch.empty(0)] * len(lists)
            batches = [*sorted_batches(token_counts(lists))]
            for indices in progress(batches, "computing the frozen layers' states"):
                batch = pad_tokens([lists[index] for index in indices]).to(fabric.device)
                batch_states = model.frozen_states(batch).float()
                for index, text_states in zip(indices, batch_states, strict=True):
                    states[split][index] = text_states[: len(lists[index])].clone()
    return states
