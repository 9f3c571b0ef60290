"""Predict the class of texts with the headline model, and the words that drove it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.dataset import read_dataset
from stages.shared.refusal import Refusal
from stages.shared.runtime import device, hold_torch

if TYPE_CHECKING:
    import torch

    from stages.shared.task import Task
    from stages.tasks.sentiment.model import Classifier

Weighed = list[tuple[str, float]]
NAMED = 3


def predict(task: "Task", texts: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield for each text: itself, the predicted class, the confidence in it, the words behind it.

    Raises:
        Refusal: a text is empty, or there are no trained weights.
    """
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise Refusal(f"text {number} is empty; give one, in quotes")
        if not text.isascii() and text != text.encode(errors="ignore").decode():
            raise Refusal(f"text {number} is not UTF-8; set your terminal to UTF-8, and try again")
    dataset = read_dataset(task.folder("prepare"))
    from stages.tasks.sentiment.model import asked, load  # torch, once there is a text to judge

    hold_torch(task.runtime)
    model = load(task, len(dataset.classes), task.params.train.seeds[0])
    where, most = device(task.runtime), task.params.train.max_tokens
    said = asked(model.log_probabilities, texts, most, where)
    for text, row, weighed in zip(
        texts, said, driving_words(model, texts, said, most, where), strict=True
    ):
        drove = ", ".join(word for word, _ in strongest(weighed)) or "none"
        best = int(row.argmax())
        yield text, dataset.classes[best], f"{np.exp(row[best]):.3f}", f"words: {drove}"


def driving_words(
    model: "Classifier", texts: Sequence[str], said: np.ndarray, most: int, where: "torch.device"
) -> list[Weighed]:
    """Return for each text its words, and how much each speaks for the predicted class.

    Occlusion (Zeiler and Fergus, 2014, section 4.2; on words Li, Monroe and Jurafsky, 2016): how
    much the log probability of that class falls, in nats, when the word is taken out.

    Args:
        model: ready to predict.
        texts: n.
        said: (n, classes), log probabilities of the whole texts.
        most: tokens that the model sees.
        where: the model's device.
    """
    from stages.tasks.sentiment.model import asked

    pieces = [text.split() for text in texts]
    without = [
        " ".join(words[:place] + words[place + 1 :])
        for words in pieces
        for place in range(len(words))
    ]
    left = asked(model.log_probabilities, without, most, where)
    found, done = [], 0
    for words, row in zip(pieces, said, strict=True):
        best = int(row.argmax())
        falls = row[best] - left[done : done + len(words), best]
        done += len(words)
        found.append([(word, float(fall)) for word, fall in zip(words, falls, strict=True)])
    return found


def strongest(weighed: Weighed) -> Weighed:
    """Return the (at most three) words that speak most for the predicted class, in that order."""
    positive = [one for one in weighed if one[1] > 0]
    return sorted(positive, key=lambda one: -one[1])[:NAMED]
