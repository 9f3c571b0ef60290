"""Check texts and their network before training."""

from typing import TYPE_CHECKING

import torch

from stages.core.runtime import seed_for
from stages.datasets.dataset import read_dataset
from stages.datasets.texts.duplicates import near_pairs
from stages.datasets.texts.packed import PackedTexts
from stages.kinds.text_classification.inputs import pad_tokens
from stages.kinds.text_classification.model import fresh_model
from stages.kinds.text_classification.tokens import tokenize
from stages.training.sanity_checks.data import data_checks
from stages.training.sanity_checks.network import classifier_checks, layer_shapes
from stages.training.sanity_checks.results import CheckResults

if TYPE_CHECKING:
    from stages.core.schema import CheckNetwork
    from stages.core.task import Task


def check(task: "Task") -> CheckResults:
    """Return the checks of the prepared texts and of an untrained network of the primary seed.

    The shapes through the small Transformer are returned as well, whichever network is trained.
    """
    params: CheckNetwork = task.params.check
    train = task.params.train
    folds = [read_dataset(fold) for fold in task.folds()]
    dataset = folds[0]
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    threshold, key = task.params.prepare.near_duplicate, task.key("prepare.near_duplicate")
    of_data = data_checks(folds, near_pairs(texts, threshold, key))
    if not all(result.passed for result in of_data):  # wrong data say nothing about a network
        return CheckResults(of_data)

    seed, classes = train.seeds[0], len(dataset.classes)
    sample = dataset.draw("train", params.batch_size, seed_for(seed, "check"))
    batch = pad_tokens(tokenize(texts.at(dataset.rows("train")[sample]), train.max_tokens))
    labels = torch.from_numpy(dataset.labels("train")[sample])
    model = fresh_model(task, classes, seed)
    of_network, shapes = classifier_checks(
        model, batch, labels, classes, params, train.learning_rate
    )
    small = fresh_model(task, classes, seed, "scratch")
    return CheckResults(of_data + of_network, shapes, {"flow.csv": layer_shapes(small, batch)})
