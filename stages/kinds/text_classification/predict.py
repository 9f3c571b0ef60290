"""Predict the class of texts by the primary seed's model (of the first fold), and name the words."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import UserError
from stages.core.runtime import set_deterministic, torch_device
from stages.datasets.dataset import read_dataset
from stages.evaluation.novelty import novelty_warnings
from stages.kinds.prediction import Prediction

if TYPE_CHECKING:
    import torch

    from stages.core.task import Task
    from stages.kinds.text_classification.model import TextClassifier

WordWeights = list[tuple[str, float]]  # a text's words in order, each with its weight
_MAX_NAMED = 3


def predict(task: "Task", texts: list[str]) -> Iterator[Prediction]:
    """Yield the prediction for each text, with the words behind it.

    Raises:
        UserError: a text is empty or not UTF-8, or there are no trained weights.
    """
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise UserError(f"text {number} is empty; give each text in quotes")
        if text != text.encode(errors="ignore").decode():
            raise UserError(
                f"text {number} is not UTF-8; set your terminal to UTF-8, and try again"
            )
    dataset = read_dataset(task)
    # torch, once there is something to predict
    from stages.kinds.text_classification.model import load, predict_batches

    set_deterministic(task.model_runtime)
    fold, *_ = task.folds()
    model = load(fold, len(dataset.classes), task.params.train.seeds[0])
    device, max_tokens = torch_device(task.runtime), task.params.train.max_tokens
    log_probabilities = predict_batches(model.log_probabilities, texts, max_tokens, device)
    weights = word_weights(model, texts, log_probabilities, max_tokens, device)
    features = predict_batches(model.embed, texts, max_tokens, device)
    warnings = novelty_warnings(fold, features)
    for text, row, words, warning in zip(texts, log_probabilities, weights, warnings, strict=True):
        named = ", ".join(word for word, _ in top_words(words)) or "none"
        probabilities = dict(zip(dataset.classes, np.exp(row).tolist(), strict=True))
        yield Prediction(text, probabilities, {"words": named}, warning)


def word_weights(
    model: "TextClassifier",
    texts: Sequence[str],
    log_probabilities: np.ndarray,
    max_tokens: int,
    device: "torch.device",
) -> list[WordWeights]:
    """Return the words of each text, with how much each one speaks for the predicted class.

    Occlusion (Zeiler and Fergus, 2014, section 4.2; for words Li, Monroe and Jurafsky, 2016): a word's
    weight is the fall in the log probability of that class, in nats, when the word is removed. A word
    beyond the `max_tokens`-th is not read, and weighs nothing.

    Args:
        model: ready to predict.
        texts: n.
        log_probabilities: (n, classes), of the whole texts.
        max_tokens: of each text.
        device: the model's.
    """
    from stages.kinds.text_classification.model import predict_batches

    split_texts = [text.split() for text in texts]
    occluded = [
        " ".join(words[:index] + words[index + 1 :])
        for words in split_texts
        for index in range(min(len(words), max_tokens))
    ]
    remaining = predict_batches(model.log_probabilities, occluded, max_tokens, device)
    weights, start = [], 0
    for words, row in zip(split_texts, log_probabilities, strict=True):
        best = int(row.argmax())
        count = min(len(words), max_tokens)
        falls = np.zeros(len(words))
        falls[:count] = row[best] - remaining[start : start + count, best]
        start += count
        weights.append([(word, float(fall)) for word, fall in zip(words, falls, strict=True)])
    return weights


def top_words(weights: WordWeights) -> WordWeights:
    """Return the (at most three) words that speak most for the predicted class, the strongest first."""
    positive = [(word, weight) for word, weight in weights if weight > 0]
    return sorted(positive, key=lambda pair: -pair[1])[:_MAX_NAMED]
