"""Check texts and their network before training."""

from typing import TYPE_CHECKING

import torch

from stages.shared.checks import Checked, of_classifier, of_data, shapes
from stages.shared.dataset import read_dataset
from stages.shared.runtime import seed_for
from stages.shared.texts.duplicates import near_pairs
from stages.shared.texts.packed import Texts
from stages.tasks.sentiment.inputs import padded, tokens
from stages.tasks.sentiment.model import fresh_model

if TYPE_CHECKING:
    from stages.shared.schema import CheckNetwork
    from stages.shared.task import Task


def check(task: "Task") -> Checked:
    """Return the checks of the prepared texts and of a fresh network of the first seed.

    Beside them, the data flow through the small Transformer, whichever network is trained.
    """
    params: CheckNetwork = task.params.check
    train = task.params.train
    dataset = read_dataset(task.folder("prepare"))
    texts = Texts(task.folder("prepare") / "texts.bin")
    found = of_data(dataset, near_pairs(texts, task.params.prepare.near_duplicate))
    if not all(one.held for one in found):  # a network is not asked about data that are wrong
        return Checked(found)

    seed = train.seeds[0]
    classes = len(dataset.classes)
    chosen = dataset.draw("train", params.batch_size, seed_for(seed, "check"))
    batch = padded(tokens(texts.at(dataset.rows("train")[chosen]), train.max_tokens))
    truth = torch.from_numpy(dataset.labels("train")[chosen])
    model = fresh_model(task, classes, seed)
    more, table = of_classifier(model, batch, truth, classes, params, train.learning_rate)
    small = fresh_model(task, classes, seed, "scratch")
    return Checked(found + more, table, {"flow.csv": shapes(small, batch)})
