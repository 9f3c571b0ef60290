"""The network for texts computes what torch's own layers and MiniLM's published figures say."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from support.text_networks import (
    CPU,
    HEADS,
    WIDTH,
    one_thread,
    random_tokens,
    randomise,
    small_model,
)
from support.texts import default_text_task
from torch import Tensor, nn
from torch.nn import functional

from stages.kinds.text_classification.inputs import pad_states, pad_tokens
from stages.kinds.text_classification.model import TextClassifier, build, predict_batches
from stages.kinds.text_classification.tokens import tokenize, whole_lengths
from stages.training.text_networks import EncoderLayer

WEATHER = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
TEXTS = ["Fine.", "Not the film that we had hoped for, at all", "a", *WEATHER, "\U0001f600 \u00e9!"]
TRAIN = default_text_task().params.train


@pytest.fixture(autouse=True, scope="module")
def single_threaded() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def minilm() -> TextClassifier:
    """Return MiniLM with a head as large as its features. Not to be changed."""
    torch.manual_seed(0)
    model = build(TRAIN, 2)
    nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.fixture(params=["small", "minilm"])
def model_and_tokens(
    request: pytest.FixtureRequest, minilm: TextClassifier
) -> tuple[TextClassifier, list[list[int]]]:
    if request.param == "small":
        return small_model(), random_tokens(12)
    return minilm, tokenize(TEXTS, 64)


# Layers


def torch_layer(layer: EncoderLayer, width: int, heads: int) -> nn.TransformerEncoderLayer:
    """Return torch's own layer with the weights of `layer`."""
    reference = nn.TransformerEncoderLayer(
        width,
        heads,
        4 * width,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-12,
        batch_first=True,
        norm_first=False,
    )
    state = layer.state_dict()
    weights = {}
    for kind in ("weight", "bias"):
        parts = [state[f"attention.{name}.{kind}"] for name in ("query", "key", "value")]
        weights[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        weights[f"self_attn.out_proj.{kind}"] = state[f"attention.output.{kind}"]
        weights[f"linear1.{kind}"] = state[f"widen.{kind}"]
        weights[f"linear2.{kind}"] = state[f"narrow.{kind}"]
        for name in ("norm1", "norm2"):
            weights[f"{name}.{kind}"] = state[f"{name}.{kind}"]
    reference.to(state["norm1.weight"].dtype).load_state_dict(weights)
    return reference.eval()


@pytest.mark.parametrize(("width", "heads"), [(16, 4), (24, 1), (8, 8)])
def test_a_layer_computes_the_same_as_torchs_own(width: int, heads: int) -> None:
    layer = EncoderLayer(width, heads, 0.0).double().eval()
    randomise(layer)
    random = torch.Generator().manual_seed(1)
    states = torch.randn(5, 9, width, generator=random, dtype=torch.float64)
    present = torch.arange(9) < torch.tensor([9, 1, 4, 8, 2])[:, None]
    computed = layer(states, present[:, None, None, :])
    expected = torch_layer(layer, width, heads)(states, src_key_padding_mask=~present)
    torch.testing.assert_close(computed[present], expected[present], rtol=1e-9, atol=1e-9)


def test_the_classifier_is_embeddings_torchs_layers_their_mean_and_a_head() -> None:
    model = small_model().double()
    assert_equal = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
    for tokens in random_tokens(6):
        batch = torch.tensor([tokens])
        states = model.token.weight[tokens] + model.position.weight[: len(tokens)]
        states = functional.layer_norm(states, (WIDTH,), model.norm.weight, model.norm.bias, 1e-12)
        for layer in model.layers:
            assert isinstance(layer, EncoderLayer)
            states = torch_layer(layer, WIDTH, HEADS)(states[None])[0]
        features = states.mean(0)
        assert_equal(model.embed(batch)[0], features)
        logits = features @ model.head.weight.T + model.head.bias
        assert_equal(model(batch)[0], logits)
        log_probabilities = logits - logits.logsumexp(0)
        assert_equal(model.log_probabilities(batch)[0], log_probabilities)


def test_padding_changes_no_logits(
    model_and_tokens: tuple[TextClassifier, list[list[int]]],
) -> None:
    model, token_lists = model_and_tokens
    with torch.inference_mode():
        together = model(functional.pad(pad_tokens(token_lists), (0, 7)))
        assert together.std() > 0.1  # there is something that padding could change
        for row, tokens in enumerate(token_lists):
            alone = model(torch.tensor([tokens]))[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-5)


def test_attention_weights_are_shares_of_the_tokens_of_the_text(
    model_and_tokens: tuple[TextClassifier, list[list[int]]],
) -> None:
    model, token_lists = model_and_tokens
    outputs: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: outputs.append(output))
        for module in model.modules()
        if isinstance(module, nn.Softmax)
    ]
    with torch.inference_mode():
        model(pad_tokens(token_lists))
    for hook in hooks:
        hook.remove()
    longest = max(map(len, token_lists))
    assert len(outputs) == len(model.layers)
    for weights in outputs:
        assert weights.shape[0::2] == (len(token_lists), longest)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        for row, tokens in enumerate(token_lists):
            assert (weights[row, ..., len(tokens) :] == 0).all()
            assert (weights[row, ..., : len(tokens)] > 0).any(dim=(0, 1)).all()


# MiniLM


def test_minilm_gives_the_similarities_that_its_authors_publish() -> None:
    """The first example of sbert.net's page on the usage of sentence transformers."""
    model = build(TRAIN.model_copy(update={"train_layers": 0}), 2).eval()
    with torch.inference_mode():
        embeddings = functional.normalize(model.embed(pad_tokens(tokenize(WEATHER, 128))))
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert_allclose(embeddings @ embeddings.T, expected, atol=6e-5)


def test_a_new_minilm_has_published_weights_and_a_small_random_head(
    minilm: TextClassifier,
) -> None:
    torch.manual_seed(1)
    state, published = build(TRAIN, 3).state_dict(), minilm.state_dict()
    assert state["head.weight"].shape == (3, 384)
    assert state["head.weight"].std() < 0.03  # so small that the first loss is about ln(classes)
    names = [name for name in published if not name.startswith("head.")]
    assert len(names) == 4 + 16 * 6
    assert all(torch.equal(state[name], published[name]) for name in names)


# Tokens


@pytest.mark.parametrize("max_tokens", [8, 20])
def test_long_texts_are_cut_and_every_text_has_a_start_and_an_end(max_tokens: int) -> None:
    token_lists = tokenize([*TEXTS, "word " * 100], max_tokens)
    assert max(map(len, token_lists)) == len(token_lists[-1]) == max_tokens
    assert {tokens[0] for tokens in token_lists} == {101}
    assert {tokens[-1] for tokens in token_lists} == {102}
    assert tokenize(["FINE"], max_tokens) == tokenize(["fine"], max_tokens) == [[101, 2986, 102]]


def test_emoji_are_read_by_their_names() -> None:
    texts = ["ok\U0001f44d\U0001f3fd", "\U0001f926\u200d\u2642\ufe0f no", "5 \u2b50\u2b50"]
    names = ["ok thumbs up sign", "face palm male sign no", "5 white medium star white medium star"]
    assert tokenize(texts, 64) == tokenize(names, 64)
    assert whole_lengths(texts).tolist() == [len(tokens) for tokens in tokenize(texts, 64)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=9))
def test_token_lists_become_one_tensor_filled_up_with_0(token_lists: list[list[int]]) -> None:
    longest = max(map(len, token_lists))
    expected = [tokens + [0] * (longest - len(tokens)) for tokens in token_lists]
    assert pad_tokens(token_lists).tolist() == expected


def test_predictions_come_in_the_order_of_the_texts() -> None:
    counts = np.random.default_rng(0).integers(1, 40, 200)
    texts = ["good " * int(count) for count in counts]

    def count_words_and_padding(tokens: Tensor) -> Tensor:
        assert tokens.shape[1] <= 30
        return torch.stack([(tokens == 2204).sum(1), (tokens == 0).sum(1)], dim=1)

    results = predict_batches(count_words_and_padding, texts, 30, CPU)
    assert results.dtype == np.float32
    assert results[:, 0].tolist() == np.minimum(counts, 28).tolist()
    assert results[:, 1].mean() < 5  # texts of similar length share a batch


# Frozen layers


@pytest.mark.parametrize("frozen", [0, 2, 4])
def test_frozen_layers_have_no_dropout_and_are_not_trained(frozen: int) -> None:
    model, batch = small_model(4, dropout=0.5), pad_tokens(random_tokens(20))
    model.freeze(frozen)
    states, prediction = model.frozen_states(batch), model(batch)
    model.train()
    torch.testing.assert_close(model.frozen_states(batch), states, rtol=0, atol=0)
    logits = [model(batch) for _ in range(2)]
    assert torch.equal(*logits) == (frozen == 4)
    logits[0].sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    above = tuple(f"layers.{layer}." for layer in range(frozen, 4))
    assert trained == {n for n, _ in model.named_parameters() if n.startswith(("head.", *above))}
    model.eval()
    torch.testing.assert_close(model(batch), prediction, rtol=0, atol=0)


def test_without_frozen_layers_everything_has_dropout_and_is_trained() -> None:
    model, batch = small_model(2, dropout=0.5).train(), pad_tokens(random_tokens(20))
    assert not torch.equal(model.frozen_states(batch), model.frozen_states(batch))
    model(batch).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("frozen", [0, 2, 4])
def test_cached_states_give_the_same_logits_as_computing_them(frozen: int) -> None:
    model, token_lists = small_model(4), random_tokens(20)
    batch = pad_tokens(token_lists)
    with torch.inference_mode():
        unfrozen = model(batch)
        model.freeze(frozen)
        cached = [model.frozen_states(torch.tensor([tokens]))[0] for tokens in token_lists]
        states = pad_states(cached)
        assert states.shape == (*batch.shape, WIDTH)
        torch.testing.assert_close(model(batch, states), model(batch), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(batch, states), unfrozen, rtol=1e-5, atol=1e-5)
