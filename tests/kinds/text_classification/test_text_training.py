"""Training gives each text its own label and states; weights on disk fit only their own model."""

from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text_networks import CPU, one_thread, random_tokens, small_model
from support.texts import run_prepare, text_task, write_texts
from torch.nn import functional

from stages.core.errors import UserError
from stages.datasets.dataset import read_dataset
from stages.datasets.texts.packed import PackedTexts
from stages.kinds.text_classification import train
from stages.kinds.text_classification.inputs import (
    batches_of_similar_length,
    pad_tokens,
    sorted_batches,
)
from stages.kinds.text_classification.model import predict_batches
from stages.kinds.text_classification.tokens import tokenize
from stages.training.devices import launch_fabric
from stages.training.weights import load_trainable, trainable_state, write_weights


@pytest.fixture(autouse=True, scope="module")
def single_threaded() -> Iterator[None]:
    with one_thread():
        yield


@pytest.mark.parametrize("cached", [True, False])
def test_training_gives_each_text_its_own_states_and_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    task = text_task(write_texts(tmp_path, 40), {"train": {"train_layers": 1, "batch_size": 8}})
    run_prepare(task)
    if not cached:
        monkeypatch.setattr(train, "MAX_CACHED_BYTES", 0)
    max_tokens = task.params.train.max_tokens
    dataset = read_dataset(task)
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    token_lists = tokenize(texts.at(dataset.rows("train")), max_tokens)
    label_of = dict(zip(map(tuple, token_lists), dataset.labels("train").tolist(), strict=True))

    training_run = train.training_runs(task, launch_fabric(task.runtime))(0)
    model = training_run.model.eval()
    used: list[tuple[int, ...]] = []
    for (batch, *states), labels in training_run.batches(0):
        assert len(batch) == 8
        assert len(states) == cached
        rows = [tuple(token for token in row if token) for row in batch.tolist()]
        assert labels.tolist() == [label_of[row] for row in rows]
        used += rows
        if states:
            with torch.inference_mode():
                logits = model(batch, *states)
                torch.testing.assert_close(logits, model(batch), rtol=1e-5, atol=1e-5)
            training_run.scores(model, ((batch, *states), labels))["loss"].backward()  # type: ignore[no-untyped-call]
    assert len(used) == len(set(used)) == len(token_lists) // 8 * 8

    validation = texts.at(dataset.rows("validation"))
    logits = torch.from_numpy(predict_batches(model, validation, max_tokens, CPU))
    labels = torch.from_numpy(dataset.labels("validation"))
    with torch.inference_mode():
        scores = training_run.validate(model)
    assert scores["loss"] == pytest.approx(
        functional.cross_entropy(logits, labels).item(), abs=1e-5
    )
    assert scores["accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean())


# Weights on disk


def test_trained_weights_are_loaded_into_a_new_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    model, loaded = small_model(3, seed=0), small_model(3, seed=1)
    for network in (model, loaded):
        network.freeze(2)
    trainable = {n for n, _ in model.named_parameters() if n.startswith(("layers.2", "head"))}
    assert set(trainable_state(model)) == trainable
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    write_weights(path, trainable_state(model))
    load_trainable(loaded, path)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, (model.state_dict() if name in trainable else before)[name])

    model, loaded = small_model(1, seed=2), small_model(1, seed=3)  # nothing is frozen
    write_weights(path, trainable_state(model))
    load_trainable(loaded, path)
    batch = pad_tokens(random_tokens(4))
    assert torch.equal(model(batch), loaded(batch))


def _delete(path: Path) -> str:
    path.unlink()
    return "no such file of weights; train it with `dvc repro`"


def _cut_short(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-10])
    return "not a whole safetensors file"


def _of_two_classes(path: Path) -> str:
    write_weights(path, trainable_state(small_model(1, classes=2)))
    return "(head.bias: expected shape (3,), given (2,))"


def _of_more_layers(path: Path) -> str:
    write_weights(path, trainable_state(small_model(2)))
    return "(layers.1.attention.key.bias: expected shape none, given (16,))"


def _of_fewer_layers(path: Path) -> str:
    write_weights(path, trainable_state(small_model(0)))
    return "(layers.0.attention.key.bias: expected shape (16,), given none)"


def _of_a_model_with_frozen_layers(path: Path) -> str:
    model = small_model(1)
    model.freeze(0)
    write_weights(path, trainable_state(model))
    return "(norm.bias: expected shape (16,), given none)"


@pytest.mark.parametrize(
    "damage",
    [
        _delete,
        _cut_short,
        _of_two_classes,
        _of_more_layers,
        _of_fewer_layers,
        _of_a_model_with_frozen_layers,
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_model_stays_as_it_was(
    tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    path = tmp_path / "weights.safetensors"
    write_weights(path, trainable_state(small_model(1)))
    problem = damage(path)
    model = small_model(1, seed=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_trainable(model, path)
    line = str(error.value)
    assert line.startswith(str(path))
    assert problem in line
    assert "\n" not in line
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())


# Batches


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 128), max_size=200), st.integers(1, 70))
def test_sorted_batches_have_each_text_once_and_the_shortest_first(
    lengths: list[int], size: int
) -> None:
    batches = [batch.tolist() for batch in sorted_batches(np.array(lengths, dtype=np.int64), size)]
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches[-1:])
    in_order = [lengths[index] for batch in batches for index in batch]
    assert in_order == sorted(lengths)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 8), st.integers(0, 1000))
def test_batches_of_similar_length_are_full_have_similar_lengths_and_no_text_twice(
    size: int, count: int, surplus: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 129, size * count + surplus)

    def draw() -> list[list[int]]:
        random = np.random.default_rng(seed)
        return [batch.tolist() for batch in batches_of_similar_length(lengths, size, random)]

    batches = draw()
    assert draw() == batches
    assert [len(batch) for batch in batches] == [size] * (len(lengths) // size)
    used = list(chain.from_iterable(batches))
    assert len(set(used)) == len(used)
    assert set(used) <= set(range(len(lengths)))
    if len(batches) <= 16:  # one pool: the ranges of length of its batches do not overlap
        ranges = sorted((min(lengths[b]), max(lengths[b])) for b in batches)
        assert all(shorter[1] <= longer[0] for shorter, longer in pairwise(ranges))


def test_batches_of_similar_length_differ_each_time_and_use_every_text_in_the_end() -> None:
    lengths = np.random.default_rng(0).integers(1, 129, 1003)
    random = np.random.default_rng(1)
    epochs = [list(batches_of_similar_length(lengths, 10, random)) for _ in range(8)]
    left_out = [set(range(1003)) - set(np.concatenate(batches).tolist()) for batches in epochs]
    assert all(len(indices) == 3 for indices in left_out)
    assert not set.intersection(*left_out)
    assert len({frozenset(indices) for indices in left_out}) > 1
    assert len({frozenset(batch.tolist()) for batches in epochs for batch in batches}) > 700
    for batches in epochs:
        means = [lengths[batch].mean() for batch in batches]
        assert 0.3 < (np.diff(means) > 0).mean() < 0.7  # in no order of length
        ranges = [np.ptp(lengths[batch]) for batch in batches]
        assert np.mean(ranges) < 25  # of 128; in batches drawn at random it is over 100
