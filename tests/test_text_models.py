"""The text classifiers, big and simple: what they compute, known from elsewhere or by hand."""

import math
import os
import shutil
import sys
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from stages.params import load
from stages.shared.baselines import NEVER
from stages.shared.dataset import read_dataset
from stages.shared.files import sha256, write_all
from stages.shared.refusal import Refusal
from stages.shared.schema import Negation, PrepareTexts, TrainTexts
from stages.shared.slices import consistent_groups, slices
from stages.shared.task import Task
from stages.shared.texts.network import Layer
from stages.shared.texts.packed import Texts
from stages.shared.texts.source import passages
from stages.shared.training import launched
from stages.shared.weights import learnt, load_learnt, write_weights
from stages.tasks.sentiment import baseline, inputs, train
from stages.tasks.sentiment.baseline import keyword_counts, nbsvm
from stages.tasks.sentiment.evaluate import bucket, errors_by_bucket, fix_attempt, length_slices
from stages.tasks.sentiment.inputs import by_length, carried, joined, padded, shuffled, tokens
from stages.tasks.sentiment.model import Classifier, asked, build
from stages.tasks.sentiment.predict import driving_words, predict, strongest
from stages.tasks.sentiment.prepare import prepare

MOVIES = ROOT.parent / "shared/datasets/movie_reviews_mr.csv"
PARAMS = load(ROOT / "params.yaml")
TRAIN, BASELINE = PARAMS.sentiment.train, PARAMS.sentiment.baseline
CPU = torch.device("cpu")
WEATHER = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
SOME = ["Fine.", "Not the film that we had hoped for, at all", "a", *WEATHER, "\U0001f600 \u00e9!"]


def changed(**changes: object) -> TrainTexts:
    """Return the params of train, but for `changes`."""
    return TrainTexts.model_validate(TRAIN.model_dump() | changes)


def rough(model: nn.Module, seed: int = 0, size: float = 0.3) -> None:
    """Draw every parameter anew, so large that no part of the model is without effect."""
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=size, generator=random)


def small(layers: int = 3, dropout: float = 0.0, classes: int = 3, seed: int = 0) -> Classifier:
    model = Classifier(layers, 16, 4, classes, dropout)
    rough(model, seed)
    return model.eval()


def sentences(count: int, seed: int = 0, longest: int = 30) -> list[list[int]]:
    """Return lists of tokens, none of them padding."""
    random = np.random.default_rng(seed)
    return [random.integers(1, 30522, random.integers(1, longest)).tolist() for _ in range(count)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute with one thread: of small things, beside other tests, two take several times longer."""
    before, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(exact)  # predict asks for it


@pytest.fixture(scope="module")
def minilm() -> Classifier:
    """Return MiniLM with a head that is no smaller than its features. Not to be changed."""
    torch.manual_seed(0)
    model = build(TRAIN, 2)
    nn.init.normal_(model.head.weight)
    return model.eval()


# The network


def twin(layer: Layer, width: int, heads: int) -> nn.TransformerEncoderLayer:
    """Return torch's own layer with the same weights."""
    theirs = nn.TransformerEncoderLayer(
        width,
        heads,
        4 * width,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-12,
        batch_first=True,
        norm_first=False,
    )
    ours = layer.state_dict()
    weights = {}
    for kind in ("weight", "bias"):
        parts = [ours[f"attention.{name}.{kind}"] for name in ("query", "key", "value")]
        weights[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        weights[f"self_attn.out_proj.{kind}"] = ours[f"attention.output.{kind}"]
        for here, there in (("widen", "linear1"), ("narrow", "linear2")):
            weights[f"{there}.{kind}"] = ours[f"{here}.{kind}"]
        for name in ("norm1", "norm2"):
            weights[f"{name}.{kind}"] = ours[f"{name}.{kind}"]
    theirs.to(ours["norm1.weight"].dtype).load_state_dict(weights)
    return theirs.eval()


@pytest.mark.parametrize(("width", "heads"), [(16, 4), (24, 1), (8, 8)])
def test_a_layer_computes_what_torchs_own_layer_does(width: int, heads: int) -> None:
    layer = Layer(width, heads, 0.0).double().eval()
    rough(layer)
    random = torch.Generator().manual_seed(1)
    states = torch.randn(5, 9, width, generator=random, dtype=torch.float64)
    there = torch.arange(9) < torch.tensor([9, 1, 4, 8, 2])[:, None]
    ours = layer(states, there[:, None, None, :])
    theirs = twin(layer, width, heads)(states, src_key_padding_mask=~there)
    torch.testing.assert_close(ours[there], theirs[there], rtol=1e-9, atol=1e-9)


def test_the_encoder_is_embeddings_torchs_layers_and_the_mean_over_the_tokens() -> None:
    model = small().double()
    lists = sentences(6)
    for text in lists:
        given_ = torch.tensor([text])
        states = model.token.weight[text] + model.position.weight[: len(text)]
        states = functional.layer_norm(states, (16,), model.norm.weight, model.norm.bias, 1e-12)
        for layer in model.layers:
            assert isinstance(layer, Layer)
            states = twin(layer, 16, 4)(states[None])[0]
        features = states.mean(0)
        torch.testing.assert_close(model.embed(given_)[0], features, rtol=1e-9, atol=1e-9)
        logits = features @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(given_)[0], logits, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            model.log_probabilities(given_)[0], logits - logits.logsumexp(0), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("which", ["small", "minilm"])
def test_padding_changes_no_texts_logits(minilm: Classifier, which: str) -> None:
    model = small() if which == "small" else minilm
    lists = tokens(SOME, 64) if which == "minilm" else sentences(12)
    batch = padded(lists)
    with torch.inference_mode():
        together = model(functional.pad(batch, (0, 7)))
        assert together.std() > 0.1  # there is something that padding could change
        for place, text in enumerate(lists):
            alone = model(torch.tensor([text]))[0]
            torch.testing.assert_close(together[place], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("which", ["small", "minilm"])
def test_attention_is_shared_out_among_the_tokens_of_the_text(
    minilm: Classifier, which: str
) -> None:
    model = small() if which == "small" else minilm
    lists = sentences(8)
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, given_: seen.append(given_))
        for module in model.modules()
        if isinstance(module, nn.Softmax)
    ]
    with torch.inference_mode():
        model(padded(lists))
    for hook in hooks:
        hook.remove()
    longest = max(map(len, lists))
    assert len(seen) == len(model.layers)
    for weights in seen:
        assert weights.shape[0::2] == (8, longest)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        for row, text in enumerate(lists):
            assert (weights[row, ..., len(text) :] == 0).all()
            assert (weights[row, ..., : len(text)] > 0).any(dim=(0, 1)).all()


def test_minilm_gives_the_similarities_that_its_makers_publish() -> None:
    """The first example of sbert.net's page on the usage of sentence transformers."""
    model = build(changed(train_layers=0), 2).eval()
    with torch.inference_mode():
        found = functional.normalize(model.embed(padded(tokens(WEATHER, 128))))
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert_allclose(found @ found.T, expected, atol=6e-5)


def test_the_head_is_drawn_anew_and_the_rest_is_minilms(minilm: Classifier) -> None:
    torch.manual_seed(1)
    states, others = build(TRAIN, 3).state_dict(), minilm.state_dict()
    assert states["head.weight"].shape == (3, 384)
    assert states["head.weight"].std() < 0.03  # so small that the first loss is about ln(classes)
    rest = [name for name in others if not name.startswith("head.")]
    assert len(rest) == 4 + 16 * 6
    assert all(torch.equal(states[name], others[name]) for name in rest)


@pytest.mark.parametrize("most", [8, 20])
def test_a_long_text_is_cut_and_every_text_begins_and_ends(most: int) -> None:
    found = tokens([*SOME, "word " * 100], most)
    assert max(map(len, found)) == len(found[-1]) == most
    assert {text[0] for text in found} == {101}
    assert {text[-1] for text in found} == {102}
    assert tokens(["FINE"], most) == tokens(["fine"], most) == [[101, 2986, 102]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=9))
def test_token_lists_become_one_tensor_filled_up_with_0(lists: list[list[int]]) -> None:
    longest = max(map(len, lists))
    assert padded(lists).tolist() == [one + [0] * (longest - len(one)) for one in lists]


def test_what_is_asked_comes_back_in_the_order_of_the_texts() -> None:
    counts = np.random.default_rng(0).integers(1, 40, 200)
    texts = ["good " * int(count) for count in counts]

    def answer(batch: Tensor) -> Tensor:
        assert batch.shape[1] <= 30
        return torch.stack([(batch == 2204).sum(1), (batch == 0).sum(1)], dim=1)

    found = asked(answer, texts, 30, CPU)
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == np.minimum(counts, 28).tolist()
    assert found[:, 1].mean() < 5  # texts of like length go together


# Where MiniLM's files come from


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let nothing be found but what a test lays into the returned folder: carrier/, hub/."""
    monkeypatch.setattr(inputs, "CARRIER", "a_carrier_of_files")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.syspath_prepend(tmp_path / "carrier")
    carried.cache_clear()
    yield tmp_path
    carried.cache_clear()
    assert "a_carrier_of_files" not in sys.modules


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    return {name: carried(name) for name in inputs.SHA256}


def into_carrier(where: Path, name: str, source: Path) -> Path:
    """Lay a file into a package whose code must not run."""
    package = where / "carrier" / inputs.CARRIER
    (package / "model").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("raise AssertionError('the carrier was run')\n")
    return Path(shutil.copyfile(source, package / "model" / name))


def into_hub(where: Path, name: str, source: Path, revision: str = inputs.REVISION) -> Path:
    """Lay a file into a cache as the hub's client does: blobs, and links to them by revision."""
    repository = where / "hub" / f"models--{inputs.HUB.replace('/', '--')}"
    blob, snapshot = repository / "blobs" / sha256(source), repository / "snapshots" / revision
    for folder in (blob.parent, snapshot, repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, blob)
    (repository / "refs/main").write_text(revision)
    (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot / name


def spoil(path: Path) -> None:
    """Change one bit in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("name", inputs.SHA256)
def test_the_files_are_those_whose_hash_is_written_down(files: dict[str, Path], name: str) -> None:
    assert sha256(files[name]) == inputs.SHA256[name]


@pytest.mark.parametrize("name", inputs.SHA256)
def test_a_file_that_the_installed_package_carries_is_used(
    nothing_here: Path, files: dict[str, Path], name: str
) -> None:
    path = into_carrier(nothing_here, name, files[name])
    into_hub(nothing_here, name, files[name])
    assert carried(name) == path


@pytest.mark.parametrize("name", inputs.SHA256)
def test_a_changed_copy_is_refused_with_both_hashes(
    nothing_here: Path, files: dict[str, Path], name: str
) -> None:
    path = into_carrier(nothing_here, name, files[name])
    spoil(path)
    with pytest.raises(Refusal) as refused:
        carried(name)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(f"MiniLM's {name}: {path} has SHA-256 {sha256(path)}; must be ")
    assert f"must be {inputs.SHA256[name]}; reinstall it" in line
    if name == "model.safetensors":
        with pytest.raises(Refusal, match="has SHA-256"):
            build(TRAIN, 2)


@pytest.mark.parametrize("name", inputs.SHA256)
@pytest.mark.parametrize("package", ["missing", "without the file", "spoilt"])
def test_the_hubs_cache_is_used_where_the_package_has_no_such_file(
    nothing_here: Path, files: dict[str, Path], name: str, package: str
) -> None:
    if package == "without the file":
        into_carrier(nothing_here, "other", files["tokenizer.json"])
    if package == "spoilt":
        spoil(into_carrier(nothing_here, name, files["tokenizer.json"]))
    path = into_hub(nothing_here, name, files[name])
    assert carried(name) == path


def test_another_revision_in_the_hubs_cache_is_not_used(
    nothing_here: Path, files: dict[str, Path]
) -> None:
    into_hub(nothing_here, "tokenizer.json", files["tokenizer.json"], revision="0" * 40)
    with pytest.raises(Refusal, match=r"MiniLM's tokenizer\.json is not here"):
        carried("tokenizer.json")


def test_two_changed_copies_are_both_named(nothing_here: Path, files: dict[str, Path]) -> None:
    name = "tokenizer.json"
    paths = [
        into_carrier(nothing_here, name, files[name]),
        into_hub(nothing_here, name, files[name]),
    ]
    for path in paths:
        spoil(path)
    with pytest.raises(Refusal) as refused:
        carried(name)
    assert all(f"{path} has SHA-256 {sha256(path)}" in str(refused.value) for path in paths)


@pytest.mark.parametrize("name", inputs.SHA256)
def test_what_is_nowhere_is_refused_with_what_to_do(nothing_here: Path, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        carried(name)
    line = str(refused.value)
    assert line.startswith(f"MiniLM's {name} is not here; install it with `make venv`, or fetch ")
    assert f"revision {inputs.REVISION} of {inputs.HUB}" in line


# What is frozen


@pytest.mark.parametrize("frozen", [0, 2, 4])
def test_what_is_frozen_drops_nothing_out_and_learns_nothing(frozen: int) -> None:
    model, batch = small(4, dropout=0.5), padded(sentences(20))
    model.freeze(frozen)
    still, sure = model.below(batch), model(batch)
    model.train()
    torch.testing.assert_close(model.below(batch), still, rtol=0, atol=0)
    logits = [model(batch) for _ in range(2)]
    assert torch.equal(*logits) == (frozen == 4)
    logits[0].sum().backward()
    moving = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    above = tuple(f"layers.{place}." for place in range(frozen, 4))
    assert moving == {n for n, _ in model.named_parameters() if n.startswith(("head.", *above))}
    model.eval()
    torch.testing.assert_close(model(batch), sure, rtol=0, atol=0)


def test_where_nothing_is_frozen_everything_drops_out_and_learns() -> None:
    model, batch = small(2, dropout=0.5).train(), padded(sentences(20))
    assert not torch.equal(model.below(batch), model.below(batch))
    model(batch).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("frozen", [0, 2, 4])
def test_kept_states_give_the_same_logits_as_computing_them(frozen: int) -> None:
    model, lists = small(4), sentences(20)
    with torch.inference_mode():
        whole = model(padded(lists))  # nothing is frozen yet, all layers are asked in one go
        model.freeze(frozen)
        kept = [model.below(torch.tensor([text]))[0].numpy() for text in lists]
        batch = padded(lists)
        states = joined(kept)
        assert states.shape == (*batch.shape, 16)
        torch.testing.assert_close(model(batch, states), model(batch), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(batch, states), whole, rtol=1e-5, atol=1e-5)


def written(folder: Path, count: int = 60) -> Path:
    """Write a CSV file of texts of many lengths, no two alike, every other one positive."""
    random = np.random.default_rng(0)
    rows = [["negative", "positive"][n % 2] for n in range(count)]
    texts = [" ".join(f"w{n}" for n in random.integers(0, 999, 3 + n % 9)) for n in range(count)]
    pd.DataFrame({"text": texts, "label": rows}).to_csv(folder / "given.csv", index=False)
    return folder / "given.csv"


def columns_of(path: Path) -> PrepareTexts:
    columns: dict[str, Any] = {
        "text": "text",
        "label": "label",
        "id": None,
        "group": None,
        "slices": [],
    }
    known = PARAMS.sentiment.prepare.model_dump()
    return PrepareTexts.model_validate(
        known | {"source": "csv", "path": str(path), "columns": columns}
    )


def task_on(path: Path, **changes: object) -> Task:
    """Prepare the texts in `path`, as the stage does, below the working folder."""
    update = {"prepare": columns_of(path), "train": changed(**changes)}
    task = Task("sentiment", PARAMS.sentiment.model_copy(update=update), PARAMS.runtime)
    write_all(task.folder("prepare"), prepare(task, task.folder("prepare")).files())
    return task


@pytest.mark.parametrize("kept", ["kept", "too large to keep"])
def test_training_gives_each_text_its_own_states_and_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.chdir(tmp_path)
    task = task_on(written(tmp_path), train_layers=1, batch_size=8)
    if kept != "kept":
        monkeypatch.setattr(train, "KEPT", 0)
    dataset = read_dataset(task.folder("prepare"))
    texts = Texts(task.folder("prepare") / "texts.bin")
    learning = tokens(texts.at(dataset.rows("train")), TRAIN.max_tokens)
    label_of = dict(zip(map(tuple, learning), dataset.labels("train").tolist(), strict=True))

    job = train.jobs(task, launched(PARAMS.runtime))(0)
    model = job.model.eval()
    seen: list[tuple[int, ...]] = []
    for (batch, *states), labels in job.batches(0):
        assert len(batch) == 8
        assert len(states) == (kept == "kept")
        found = [tuple(token for token in row if token) for row in batch.tolist()]
        assert labels.tolist() == [label_of[text] for text in found]
        seen += found
        if states:
            with torch.inference_mode():
                torch.testing.assert_close(
                    model(batch, *states), model(batch), rtol=1e-5, atol=1e-5
                )
    assert len(seen) == len(set(seen)) == len(learning) // 8 * 8

    held = texts.at(dataset.rows("validation"))
    logits = torch.from_numpy(asked(model, held, TRAIN.max_tokens, CPU))
    truth = torch.from_numpy(dataset.labels("validation"))
    with torch.inference_mode():
        found_scores = job.validate(model)
    loss = functional.cross_entropy(logits, truth).item()
    assert found_scores["loss"] == pytest.approx(loss, abs=1e-5)
    assert found_scores["accuracy"] == pytest.approx((logits.argmax(1) == truth).float().mean())


# What was learnt, on disk


def test_what_was_learnt_goes_into_a_model_built_anew(tmp_path: Path) -> None:
    model, other = small(3, seed=0), small(3, seed=1)
    for one in (model, other):
        one.freeze(2)
    frozen = {n for n, _ in model.named_parameters() if n.startswith(("layers.2", "head"))}
    assert set(learnt(model)) == frozen
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    path = tmp_path / "weights.safetensors"
    write_weights(path, learnt(model))
    load_learnt(other, path)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, (model.state_dict() if name in frozen else before)[name])

    whole, again = small(1, seed=2), small(1, seed=3)
    write_weights(path, learnt(whole))
    load_learnt(again, path)
    batch = padded(sentences(4))
    assert torch.equal(whole(batch), again(batch))


def _no_file(path: Path) -> str:
    path.unlink()
    return "no such file of weights; train it with `dvc repro`"


def _cut_short(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-10])
    return "not a whole safetensors file"


def _of_two_classes(path: Path) -> str:
    write_weights(path, learnt(small(1, classes=2)))
    return "(head.bias: expected shape (3,), given (2,))"


def _of_more_layers(path: Path) -> str:
    write_weights(path, learnt(small(2)))
    return "(layers.1.attention.key.bias: expected shape none, given (16,))"


def _of_fewer_layers(path: Path) -> str:
    write_weights(path, learnt(small(0)))
    return "(layers.0.attention.key.bias: expected shape (16,), given none)"


def _of_a_model_with_frozen_layers(path: Path) -> str:
    model = small(1)
    model.freeze(0)
    write_weights(path, learnt(model))
    return "(norm.bias: expected shape (16,), given none)"


@pytest.mark.parametrize(
    "spoilt",
    [
        _no_file,
        _cut_short,
        _of_two_classes,
        _of_more_layers,
        _of_fewer_layers,
        _of_a_model_with_frozen_layers,
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_model_stays(
    tmp_path: Path, spoilt: Any
) -> None:
    path = tmp_path / "weights.safetensors"
    write_weights(path, learnt(small(1)))
    problem = spoilt(path)
    model = small(1, seed=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(Refusal) as refused:
        load_learnt(model, path)
    line = str(refused.value)
    assert line.startswith(str(path))
    assert problem in line
    assert "\n" not in line
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())


# Batches


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 128), max_size=200), st.integers(1, 70))
def test_by_length_gives_each_text_once_and_the_shortest_first(
    lengths: list[int], most: int
) -> None:
    batches = [batch.tolist() for batch in by_length(np.array(lengths, dtype=np.int64), most)]
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert all(len(batch) == most for batch in batches[:-1])
    assert all(0 < len(batch) <= most for batch in batches[-1:])
    in_order = [lengths[place] for batch in batches for place in batch]
    assert in_order == sorted(lengths)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 8), st.integers(0, 1000))
def test_shuffled_gives_each_text_at_most_once_in_full_batches_of_like_length(
    size: int, count: int, more: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 129, size * count + more)

    def drawn() -> list[list[int]]:
        random = np.random.default_rng(seed)
        return [batch.tolist() for batch in shuffled(lengths, size, random)]

    batches = drawn()
    assert drawn() == batches
    assert [len(batch) for batch in batches] == [size] * (len(lengths) // size)
    used = list(chain.from_iterable(batches))
    assert len(set(used)) == len(used)
    assert set(used) <= set(range(len(lengths)))
    if len(batches) <= 16:  # one pool: no batch reaches into the lengths of another
        spans = sorted((min(lengths[b]), max(lengths[b])) for b in batches)
        assert all(low[1] <= high[0] for low, high in pairwise(spans))


def test_shuffled_draws_other_batches_each_time_and_uses_every_text_in_the_end() -> None:
    lengths = np.random.default_rng(0).integers(1, 129, 1003)
    random = np.random.default_rng(1)
    epochs = [list(shuffled(lengths, 10, random)) for _ in range(8)]
    left_out = [set(range(1003)) - set(np.concatenate(batches).tolist()) for batches in epochs]
    assert all(len(left) == 3 for left in left_out)
    assert not set.intersection(*left_out)
    assert len({frozenset(left) for left in left_out}) > 1
    assert len({frozenset(batch.tolist()) for batches in epochs for batch in batches}) > 700
    for batches in epochs:
        means = [lengths[batch].mean() for batch in batches]
        assert 0.3 < (np.diff(means) > 0).mean() < 0.7  # in no order of length
        spread = [np.ptp(lengths[batch]) for batch in batches]
        assert np.mean(spread) < 25  # of 128; in batches drawn at random it is over 100


# The simple methods

TWO = {"negative": frozenset({"bad", "dull"}), "positive": frozenset({"good", "fine"})}
THREE = {"bad": frozenset({"bad"}), "fair": frozenset({"fair"}), "good": frozenset({"good"})}
RULE = Negation(words="not never", reach=2)


@pytest.mark.parametrize(
    ("text", "plain", "negated"),
    [
        ("", [0, 0], [0, 0]),
        ("A good, FINE film; bad end", [1, 2], [1, 2]),
        ("goods and badly", [0, 0], [0, 0]),
        ("good good good", [0, 3], [0, 3]),
        ("not good", [0, 1], [1, 0]),
        ("Not a good film", [0, 1], [1, 0]),
        ("not at all good", [0, 1], [0, 1]),  # the third word is out of reach
        ("not good good good", [0, 3], [2, 1]),
        ("good, not", [0, 1], [0, 1]),
        ("never dull", [1, 0], [0, 1]),
        ("not not good", [0, 1], [1, 0]),  # the second reaches anew, it does not take back
        ("not this, never that good", [0, 1], [1, 0]),
        ("not-so-good", [0, 1], [1, 0]),
        ("isn't good", [0, 1], [1, 0]),
        ("It ISN\u2019T good", [0, 1], [1, 0]),
        ("nothing good", [0, 1], [0, 1]),  # not among the rule's words
        ("not bad but good", [1, 1], [0, 2]),
        *((f"not{stop} good", [0, 1], [0, 1]) for stop in ".,;:!?()"),
        ("not - good", [0, 1], [1, 0]),  # no stop
        ("not (good)", [0, 1], [0, 1]),
    ],
)
def test_keywords_are_counted_and_a_negation_turns_them(
    text: str, plain: list[float], negated: list[float]
) -> None:
    assert keyword_counts(text, TWO, None) == plain
    assert keyword_counts(text, TWO, RULE) == negated


@pytest.mark.parametrize("reach", [1, 3, 10])
def test_a_negation_reaches_as_far_as_the_params_say(reach: int) -> None:
    rule = Negation(words="not", reach=reach)
    for between in range(12):
        text = "not " + "so " * between + "good"
        assert keyword_counts(text, TWO, rule) == ([1, 0] if between < reach else [0, 1])


def test_of_three_classes_the_others_share_a_negated_keyword() -> None:
    assert keyword_counts("good and fair", THREE, RULE) == [0, 1, 1]
    assert keyword_counts("not good", THREE, RULE) == [0.5, 0.5, 0]
    assert keyword_counts("never bad, not good, fair", THREE, RULE) == [0.5, 2, 0.5]


def test_counts_become_shares_beside_the_classes_shares_in_training() -> None:
    keywords = {"negative": "bad dull", "positive": "good fine"}
    params = BASELINE.model_copy(update={"keywords": keywords, "negation": RULE})
    prior, classes = np.array([0.25, 0.75]), ["negative", "positive"]
    texts = ["so so", "good and fine", "not good", "bad"]
    plain = baseline._keyword_rung(params, classes, prior, None)(texts)
    assert_allclose(plain * [[4], [12], [8], [8]], [[1, 3], [1, 11], [1, 7], [5, 3]])
    ruled = baseline._keyword_rung(params, classes, prior, RULE)(texts)
    assert_allclose(ruled * [[4], [12], [8], [8]], [[1, 3], [1, 11], [5, 3], [5, 3]])


def by_hand(
    present: np.ndarray, mine: np.ndarray, cost: float, beta: float
) -> tuple[np.ndarray, float]:
    """Return NB-SVM's weights and bias, after Wang and Manning (2012), section 2.

    p and q are 1 + how many texts of either class hold a term; r = log((p / |p|) / (q / |q|)); the
    SVM minimises |w|^2 / 2 + C sum max(0, 1 - y (w x + b))^2 on x = r * f (as LIBLINEAR does, with
    b among the weights); then w' = (1 - beta) mean |w| + beta w, and a text's margin is w' x + b.
    """
    p, q = 1 + present[mine].sum(0), 1 + present[~mine].sum(0)
    ratio = np.log((p / p.sum()) / (q / q.sum()))
    samples = np.c_[present * ratio, np.ones(len(present))]
    sides = np.where(mine, 1.0, -1.0)

    def loss(weights: np.ndarray) -> float:
        slack = np.maximum(0, 1 - sides * (samples @ weights))
        return float(weights @ weights / 2 + cost * (slack**2).sum())

    found = minimize(loss, np.zeros(samples.shape[1]), method="BFGS", options={"gtol": 1e-7}).x
    weights, bias = found[:-1], found[-1]
    return ratio * ((1 - beta) * np.abs(weights).mean() + beta * weights), float(bias)


def texts_with_terms() -> tuple[np.ndarray, np.ndarray]:
    """Return 40 texts' terms, (40, 7) of 0 and 1, and labels of three classes."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 3
    likely = np.array([[8, 1, 1, 5, 2, 5, 3], [1, 8, 1, 5, 5, 2, 3], [1, 1, 8, 5, 5, 5, 3]]) / 10
    return (random.random((40, 7)) < likely[labels]).astype(float), labels


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("cost", [0.1, 1.0])
def test_nbsvm_is_that_of_wang_and_manning(beta: float, cost: float) -> None:
    present, labels = texts_with_terms()
    params = BASELINE.model_copy(
        update={"svm_regularisation": cost, "svm_interpolation": beta, "max_iterations": 10_000}
    )
    weights, bias, converged = nbsvm(csr_array(present), labels, 3, params)
    assert converged
    for one in range(3):
        expected, shift = by_hand(present, labels == one, cost, beta)
        assert_allclose(weights[one], expected, atol=3e-3)
        assert bias[one] == pytest.approx(shift, abs=3e-3)

    two = (labels == 1).astype(int)  # of two classes the first one's logit is 0
    weights, bias, _ = nbsvm(csr_array(present), two, 2, params)
    expected, shift = by_hand(present, two == 1, cost, beta)
    assert_allclose(weights, [np.zeros(7), expected], atol=3e-3)
    assert_allclose(bias, [0, shift], atol=3e-3)


def test_terms_of_a_known_log_count_ratio_weigh_by_it() -> None:
    # Each positive text holds one of terms 0 and 1, each negative one 2; term 3 is in all of them.
    present = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]], dtype=float)
    labels = np.array([1, 1, 1, 0])
    params = BASELINE.model_copy(update={"svm_interpolation": 0.0})
    weights, _, _ = nbsvm(csr_array(present), labels, 2, params)
    p, q = np.array([3, 2, 1, 4]) / 10, np.array([1, 1, 2, 2]) / 6
    assert_allclose(weights[1] / weights[1, 0], np.log(p / q) / np.log(1.8), rtol=1e-6)


def test_a_class_that_the_sample_lacks_is_never_chosen() -> None:
    present, labels = texts_with_terms()
    weights, bias, _ = nbsvm(csr_array(present), np.where(labels == 1, 3, labels), 4, BASELINE)
    assert bias[1] == NEVER
    assert set((present @ weights.T + bias).argmax(axis=1)) == {0, 2, 3}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_did_not_converge_is_told() -> None:
    present, labels = texts_with_terms()
    params = BASELINE.model_copy(update={"max_iterations": 1})
    assert not nbsvm(csr_array(present), labels, 3, params)[2]


def test_a_sample_of_one_class_only_is_fitted_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = task_on(written(tmp_path))
    few = BASELINE.model_copy(update={"fit_on_at_most": 1})
    task = Task("sentiment", task.params.model_copy(update={"baseline": few}), PARAMS.runtime)
    try:
        found = baseline.fit(task)
    except Refusal:
        return
    assert baseline.NBSVM in found.probabilities


@pytest.mark.parametrize("right", [5, 6, 9])
def test_margins_become_the_probabilities_that_fit_validation_data(right: int) -> None:
    """Of ten margins of 1 so many on the right side: log loss is lowest at that share."""
    logits = np.array([[0.0, 1.0]] * 5 + [[1.0, 0.0]] * 5)
    labels = logits.argmax(axis=1)
    labels[: 10 - right] = 1 - labels[: 10 - right]
    share = right / 10
    assert baseline._steepness(logits, labels) == pytest.approx(
        math.log(share / (1 - share)), abs=2e-3
    )


def test_the_ladder_keeps_what_it_fitted_and_predicts_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the written terms, weights and bias alone the probabilities can be had again."""
    monkeypatch.chdir(tmp_path)
    task = task_on(written(tmp_path, 120))
    found = baseline.fit(task)
    assert list(found.probabilities) == [
        baseline.KEYWORDS, baseline.NEGATION, baseline.TFIDF, baseline.NBSVM,
    ]  # fmt: skip
    terms = str(found.more["vocabulary.txt"]).splitlines()
    dataset = read_dataset(task.folder("prepare"))
    texts = Texts(task.folder("prepare") / "texts.bin").at(dataset.rows("test"))
    known = [set(baseline._terms(text)) for text in texts]
    present = np.array([[term in own for term in terms] for own in known], dtype=float)
    logits = present @ found.arrays["nbsvm.weights"].T + found.arrays["nbsvm.bias"]
    given_ = found.probabilities[baseline.NBSVM]
    assert_allclose(given_, functional.softmax(torch.from_numpy(logits), 1), atol=1e-5)
    assert any(" " in term for term in terms)
    for probabilities in found.probabilities.values():
        assert probabilities.shape == (len(texts), 2)
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.skipif(not MOVIES.exists(), reason=f"{MOVIES.name} is not in ../shared/datasets")
def test_nbsvm_is_as_good_on_film_reviews_as_its_paper_says() -> None:
    """Wang and Manning (2012), table 2: 79.4% with pairs of words on these, over ten folds."""
    found = list(passages(columns_of(MOVIES)))
    texts = np.array([one.text for one in found], dtype=object)
    labels = np.array([one.label == "positive" for one in found]).astype(int)
    assert len(texts) == 10_662
    order = np.random.default_rng(0).permutation(len(texts))
    held, kept = order[: len(order) // 10], order[len(order) // 10 :]
    counter = CountVectorizer(analyzer=baseline._terms, binary=True, dtype=np.float64)
    present = csr_array(counter.fit_transform(texts[kept]))
    weights, bias, converged = nbsvm(present, labels[kept], 2, BASELINE)
    margins = csr_array(counter.transform(texts[held])) @ weights.T + bias
    assert converged
    assert (margins.argmax(axis=1) == labels[held]).mean() >= 0.77


# Parts of the test data


def test_slices_are_counted_and_carry_wilsons_interval() -> None:
    columns = {
        "shop": np.array(["north", "south", "north", "", "north", "north"], dtype=object),
        "year": np.array(["2024"] * 6, dtype=object),
    }
    right = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    simple = np.array([0, 0, 1, 0, 0, 1], dtype=bool)
    table = slices(columns, right, simple, 0.95)
    assert table[["slice", "value", "count", "errors", "baseline_errors"]].to_numpy().tolist() == [
        ["shop", "", 1, 0, 1],
        ["shop", "north", 4, 1, 2],
        ["shop", "south", 1, 1, 1],
        ["year", "2024", 6, 2, 4],
    ]
    assert_allclose(table["accuracy"], [1, 3 / 4, 0, 4 / 6])
    assert_allclose(table["baseline_accuracy"], [0, 2 / 4, 0, 2 / 6])
    z = 1.959963984540054
    for row in table.to_dict("records"):
        n, p = row["count"], row["accuracy"]
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half), abs=1e-9)
    wider = slices(columns, right, simple, 0.99)
    assert ((wider["high"] - wider["low"]) > (table["high"] - table["low"])).all()


def test_a_group_is_consistent_if_all_its_texts_of_several_labels_are_right() -> None:
    table = [
        ("pair, right", 0, True), ("pair, right", 1, True),
        ("pair, half right", 0, True), ("pair, half right", 1, False),
        ("pair, wrong", 1, False), ("pair, wrong", 0, False),
        ("one label", 1, True), ("one label", 1, True),
        ("alone", 0, True),
        ("three, right", 0, True), ("three, right", 1, True), ("three, right", 1, True),
        ("three, one wrong", 0, True), ("three, one wrong", 1, True), ("three, one wrong", 1, False),
    ]  # fmt: skip
    for order in (range(15), np.random.default_rng(0).permutation(15)):
        groups, labels, right = (np.array(c) for c in zip(*(table[n] for n in order), strict=True))
        assert consistent_groups(groups, labels, right) == (2, 5)
    alone = np.array(["a", "b"])
    assert consistent_groups(alone, np.array([0, 1]), np.array([True, True])) == (0, 0)


@pytest.mark.parametrize(
    ("lengths", "count", "name"),
    [
        ([10, 20, 30], 0, "01 to 10 words"),
        ([10, 20, 30], 1, "01 to 10 words"),
        ([10, 20, 30], 10, "01 to 10 words"),
        ([10, 20, 30], 11, "11 to 20 words"),
        ([10, 20, 30], 20, "11 to 20 words"),
        ([10, 20, 30], 21, "21 to 30 words"),
        ([10, 20, 30], 30, "21 to 30 words"),
        ([10, 20, 30], 31, "over 30 words"),
        ([5, 100], 5, "001 to 005 words"),
        ([5, 100], 6, "006 to 100 words"),
        ([7], 7, "1 to 7 words"),
        ([7], 8, "over 7 words"),
    ],
)
def test_a_text_is_in_the_slice_of_its_length(lengths: list[int], count: int, name: str) -> None:
    assert length_slices(["don't, " * count + "..."], lengths).tolist() == [name]


def test_slices_of_length_sort_from_short_to_long() -> None:
    names = length_slices(["so " * n for n in range(1, 130)], [9, 20, 100]).tolist()
    assert names == sorted(names)
    assert [names.count(name) for name in sorted(set(names))] == [9, 11, 80, 29]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A fine film.", "other"),
        ("", "other"),
        ("Dull, BUT short.", "contrast"),
        ("It isn't short, yet I'd go again", "contrast"),  # the first of the signs counts
        ("It isn't better than that", "negation"),
        ("It isn\u2019t short", "negation"),
        ("Cannot say", "negation"),
        ("Nothing if so", "negation"),
        ("Better than most, if so", "comparison"),
        ("If so", "conditional"),
        ("so very", "intensity"),
        ("butter, notion, thank, iffy, soon", "other"),  # words, not parts of words
    ],
)
def test_a_text_without_a_known_device_is_told_by_its_words(text: str, name: str) -> None:
    assert bucket(text) == name


def test_errors_are_counted_by_bucket_and_method() -> None:
    buckets = np.array(["b", "a", "b", "b", "a"], dtype=object)
    right = {
        "keyword counts": np.array([1, 1, 0, 0, 0], dtype=bool),
        "model": np.array([1, 1, 1, 0, 1], dtype=bool),
    }
    table = errors_by_bucket(buckets, right)
    assert list(table.columns) == ["bucket", "count", "keyword counts", "model"]
    assert table.to_numpy().tolist() == [["a", 2, 1, 0], ["b", 3, 2, 1]]


def test_a_fix_is_counted_where_it_should_work_and_elsewhere() -> None:
    table = [
        ("negation", 0, 1), ("double negation", 0, 1), ("negation", 0, 1), ("negation", 1, 0),
        ("negation", 0, 0), ("negation", 1, 1), ("negation", 1, 1),
        ("sarcasm", 1, 0), ("other", 1, 1), ("other", 0, 0),
    ]  # fmt: skip
    buckets, before, after = (np.array(column) for column in zip(*table, strict=True))
    found = fix_attempt(before.astype(bool), after.astype(bool), buckets)
    assert (found["change"], found["instead_of"]) == (baseline.NEGATION, baseline.KEYWORDS)
    assert found["bucket"] == "double negation and negation"
    assert found["in_bucket"] == {
        "count": 7,
        "errors_before": 4,
        "errors_after": 2,
        "fixed": 3,
        "broken": 1,
        "mcnemar_p": pytest.approx(0.625),  # twice (4 + 1) / 16
    }
    assert found["elsewhere"] == {
        "count": 3,
        "errors_before": 1,
        "errors_after": 2,
        "fixed": 0,
        "broken": 1,
        "mcnemar_p": pytest.approx(1.0),
    }


# The words behind a prediction


def one_word_model(word: str, logit: float) -> Classifier:
    """Return a model whose tokens all take in `word` where it occurs; else they are nothing.

    Class 1's logit is `logit` then, and 0 otherwise; class 0's is 0.
    """
    (_, token, _), *_ = tokens([word], 8)
    direction = torch.tensor([1.0, -1.0] * 4)
    model = Classifier(1, 8, 1, 2, 0.0)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    for norm in (model.norm, layer.norm1, layer.norm2):
        nn.init.ones_(norm.weight)
    with torch.no_grad():
        model.token.weight[token] = direction
        layer.attention.query.bias.copy_(direction)  # every token asks for it,
        layer.attention.key.weight.copy_(1000 * torch.eye(8))  # it alone answers,
        layer.attention.value.weight.copy_(torch.eye(8))  # and gives itself
        layer.attention.output.weight.copy_(torch.eye(8))
        model.head.weight[1] = direction * logit / 8
    return model.eval()


def weighed(model: Classifier, texts: list[str], most: int = 128) -> list[list[tuple[str, float]]]:
    said = asked(model.log_probabilities, texts, most, CPU)
    return driving_words(model, texts, said, most, CPU)


@pytest.mark.parametrize("logit", [2.0, -3.0])
def test_all_weight_is_on_the_one_word_that_the_model_reacts_to(logit: float) -> None:
    model = one_word_model("wonderful", logit)
    texts = [
        "A wonderful film about bread.",
        "Wonderful!",
        "Nothing that I know of",
        "no, " * 70 + "wonderful",
        "Bread, wonderful bread",
    ]
    # What is said of a text falls from log(1 / (1 + e^-|logit|)) to log(1 / 2).
    fall = math.log(2) - math.log1p(math.exp(-abs(logit)))
    found = weighed(model, texts, 512)
    for text, words in zip(texts, found, strict=True):
        assert [word for word, _ in words] == text.split()
        expected = [fall if "wonderful" in word.lower() else 0.0 for word in text.split()]
        assert_allclose([weight for _, weight in words], expected, atol=1e-6)
    named = [[word for word, weight in strongest(words) if weight > 1e-6] for words in found]
    assert named == [["wonderful"], ["Wonderful!"], [], ["wonderful"], ["wonderful"]]


def test_a_word_has_no_weight_where_the_model_cannot_miss_it() -> None:
    model = one_word_model("wonderful", 2.0)
    twice, beyond = weighed(model, ["wonderful, wonderful", "so " * 20 + "wonderful"], 16)
    assert [weight for _, weight in twice] == [0, 0]
    assert [weight for _, weight in beyond[:-1]] == pytest.approx([0] * 20)
    assert beyond[-1] == ("wonderful", 0)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Return a task with texts and a model on disk: positive is what holds the word wonderful."""
    monkeypatch.chdir(tmp_path)
    scratch = {"layers": 1, "width": 8, "heads": 1}
    task = task_on(written(tmp_path), model="scratch", scratch=scratch, max_tokens=20)
    model = one_word_model("wonderful", 2.0)
    with torch.no_grad():
        model.head.bias[0] = 1.0
    path = task.folder("train") / f"weights-{task.params.train.seeds[0]}.safetensors"
    write_weights(path, learnt(model))
    return Task(task.name, task.params, PARAMS.runtime.model_copy(update={"threads": 1}))


def test_a_prediction_names_class_confidence_and_the_words_behind_it(trained: Task) -> None:
    texts = ["A wonderful film about bread.", "About\tbread", "so " * 20 + "wonderful"]
    assert list(predict(trained, texts)) == [
        (texts[0], "positive", "0.731", "words: wonderful"),  # 1 / (1 + e^-1)
        (texts[1], "negative", "0.731", "words: none"),
        (texts[2], "negative", "0.731", "words: none"),  # beyond the 20 tokens
    ]


def test_an_empty_text_is_refused_by_its_number(trained: Task) -> None:
    with pytest.raises(Refusal, match="text 2 is empty; give one, in quotes"):
        list(predict(trained, ["fine", " \n"]))


def test_a_text_that_no_encoding_knows_is_judged_or_refused(trained: Task) -> None:
    text = os.fsdecode(b"caf\xe9")  # as Python hands on what is typed in a Latin-1 terminal
    try:
        found = list(predict(trained, [text]))
    except Refusal:
        return
    assert found[0][1] == "negative"


def test_at_most_three_words_are_named_the_strongest_first() -> None:
    given_ = [("a", 0.1), ("b", -3.0), ("c", 2.0), ("d", 0.0), ("e", 0.5), ("f", 0.3)]
    assert strongest(given_) == [("c", 2.0), ("e", 0.5), ("f", 0.3)]
    assert strongest([("b", -3.0), ("d", 0.0)]) == []
    assert strongest([]) == []
