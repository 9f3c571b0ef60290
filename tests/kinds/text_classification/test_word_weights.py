"""The words behind a prediction are those without which its probability falls."""

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose
from support.text_networks import CPU, one_thread
from support.texts import run_prepare, text_task, write_texts
from torch import nn

from stages.core.errors import UserError
from stages.core.task import Task
from stages.kinds.text_classification.model import TextClassifier, predict_batches
from stages.kinds.text_classification.predict import (
    WordWeights,
    predict,
    top_words,
    word_weights,
)
from stages.kinds.text_classification.tokens import tokenize
from stages.training.text_networks import EncoderLayer
from stages.training.weights import trainable_state, write_weights


@pytest.fixture(autouse=True, scope="module")
def single_threaded() -> Iterator[None]:
    with one_thread():
        yield


def one_word_model(word: str, logit: float) -> TextClassifier:
    """Return a model that reacts to one word only.

    All tokens attend to `word` where it occurs: class 1's logit is `logit` then, and 0 otherwise; class
    0's logit is 0.
    """
    (_, token, _), *_ = tokenize([word], 8)
    direction = torch.tensor([1.0, -1.0] * 4)
    model = TextClassifier(1, 8, 1, 2, 0.0)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    layer = model.layers[0]
    assert isinstance(layer, EncoderLayer)
    for norm in (model.norm, layer.norm1, layer.norm2):
        nn.init.ones_(norm.weight)
    with torch.no_grad():
        model.token.weight[token] = direction
        layer.attention.query.bias.copy_(direction)  # the query of every token
        layer.attention.key.weight.copy_(1000 * torch.eye(8))  # matches the word's key alone,
        layer.attention.value.weight.copy_(torch.eye(8))  # so each token receives the word's value
        layer.attention.output.weight.copy_(torch.eye(8))
        model.head.weight[1] = direction * logit / 8
    return model.eval()


def weigh(model: TextClassifier, texts: list[str], max_tokens: int = 128) -> list[WordWeights]:
    log_probabilities = predict_batches(model.log_probabilities, texts, max_tokens, CPU)
    return word_weights(model, texts, log_probabilities, max_tokens, CPU)


@pytest.mark.parametrize("logit", [2.0, -3.0])
def test_only_the_word_that_the_model_reacts_to_has_weight(logit: float) -> None:
    model = one_word_model("wonderful", logit)
    texts = [
        "A wonderful film about bread.",
        "Wonderful!",
        "Nothing that I know of",
        "no, " * 70 + "wonderful",
        "Bread, wonderful bread",
    ]
    # Without the word, the log probability falls from log(1 / (1 + e^-|logit|)) to log(1 / 2).
    fall = math.log(2) - math.log1p(math.exp(-abs(logit)))
    weights = weigh(model, texts, 512)
    for text, words in zip(texts, weights, strict=True):
        assert [word for word, _ in words] == text.split()
        expected = [fall if "wonderful" in word.lower() else 0.0 for word in text.split()]
        assert_allclose([weight for _, weight in words], expected, atol=1e-6)
    named = [[word for word, weight in top_words(words) if weight > 1e-6] for words in weights]
    assert named == [["wonderful"], ["Wonderful!"], [], ["wonderful"], ["wonderful"]]


def test_a_word_that_occurs_twice_or_is_cut_off_has_no_weight() -> None:
    model = one_word_model("wonderful", 2.0)
    twice, cut_off = weigh(model, ["wonderful, wonderful", "so " * 20 + "wonderful"], 16)
    assert [weight for _, weight in twice] == [0, 0]
    assert [weight for _, weight in cut_off[:-1]] == pytest.approx([0] * 20)
    assert cut_off[-1] == ("wonderful", 0)


def test_at_most_three_words_are_named_the_strongest_first() -> None:
    weights = [("a", 0.1), ("b", -3.0), ("c", 2.0), ("d", 0.0), ("e", 0.5), ("f", 0.3)]
    assert top_words(weights) == [("c", 2.0), ("e", 0.5), ("f", 0.3)]
    assert top_words([("b", -3.0), ("d", 0.0)]) == []
    assert top_words([]) == []


# Predictions


@pytest.fixture
def trained_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Return a task with a model on disk: texts with the word wonderful are positive."""
    monkeypatch.chdir(tmp_path)
    scratch = {"layers": 1, "width": 8, "heads": 1}
    changes = {"train": {"model": "scratch", "scratch": scratch, "max_tokens": 20}}
    task = text_task(write_texts(tmp_path), changes, "opinions")
    run_prepare(task)
    model = one_word_model("wonderful", 2.0)
    with torch.no_grad():
        model.head.bias[0] = 1.0
    path = task.folder("train") / f"weights-{task.params.train.seeds[0]}.safetensors"
    write_weights(path, trainable_state(model))
    return replace(task, runtime=task.runtime.model_copy(update={"threads": 1}))


def test_a_prediction_names_class_confidence_and_words(trained_task: Task) -> None:
    texts = ["A wonderful film about bread.", "About\tbread", "so " * 20 + "wonderful"]
    predictions = list(predict(trained_task, texts))
    assert [prediction.input for prediction in predictions] == texts
    classes, confidences = zip(*(prediction.ranked()[0] for prediction in predictions), strict=True)
    # Of the last one the word is after the 20 tokens that are read.
    assert classes == ("positive", "negative", "negative")
    assert confidences == pytest.approx([1 / (1 + math.exp(-1))] * 3)
    words = [prediction.details["words"] for prediction in predictions]
    assert words == ["wonderful", "none", "none"]
    assert {prediction.warning for prediction in predictions} == {""}  # nothing was evaluated


def test_a_text_that_is_empty_or_not_utf_8_is_refused_by_its_number(trained_task: Task) -> None:
    with pytest.raises(UserError, match="text 2 is empty; give each text in quotes"):
        list(predict(trained_task, ["fine", " \n"]))
    latin_1 = os.fsdecode(b"caf\xe9")  # as Python reads it in a Latin-1 terminal
    with pytest.raises(UserError, match="text 1 is not UTF-8; set your terminal to UTF-8"):
        list(predict(trained_task, [latin_1]))


def test_a_word_that_cannot_be_read_weighs_nothing() -> None:
    texts = ["good " + "the " * 30, "the " * 30 + "good"]
    model = one_word_model("good", 2.0)
    log_probabilities = predict_batches(model.log_probabilities, texts, 8, CPU)
    first, last = word_weights(model, texts, log_probabilities, 8, CPU)
    assert (len(first), len(last)) == (31, 31)
    assert [word for word, weight in first if abs(weight) > 0.1] == ["good"]
    assert_allclose([weight for _, weight in last], 0, atol=1e-6)
