"""The networks for texts: MiniLM, and a small Transformer of the same architecture from scratch.

Both are BERT's encoder (Devlin et al., 2019, section 3; Vaswani et al., 2017, section 3) with a linear
head on the mean of the tokens' last states.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.progress import progress
from stages.core.runtime import seed_for, torch_device
from stages.kinds.text_classification.inputs import (
    PADDING,
    pad_tokens,
    sorted_batches,
    token_counts,
)
from stages.kinds.text_classification.schema import MINILM_LAYERS
from stages.kinds.text_classification.tokens import minilm_file, tokenize
from stages.training.text_networks import EncoderLayer
from stages.training.weights import load_trainable, read_weights

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.text_classification.schema import TrainTexts

VOCABULARY, POSITIONS = 30522, 512  # MiniLM's
MINILM_WIDTH, MINILM_HEADS = 384, 12
_INITIAL_STD = 0.02


class TextClassifier(nn.Module):
    """Embeddings, encoder layers, the mean over the tokens, and a linear head.

    Attributes:
        frozen: how many layers are frozen, with the embeddings; None where nothing is.
    """

    def __init__(self, layers: int, width: int, heads: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(POSITIONS, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, dropout) for _ in range(layers))
        self.head = nn.Linear(width, classes)
        self.frozen: int | None = None
        self.apply(_initialise)

    def freeze(self, layers: int) -> None:
        """Exclude the embeddings and the lowest `layers` from training."""
        self.frozen = layers
        for part in (self.token, self.position, self.norm, *self.layers[:layers]):
            part.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 (torch's signature)
        """Set the mode; frozen layers apply no dropout, so that their states can be cached."""
        super().train(mode)
        if self.frozen is not None:
            for part in (self.dropout, *self.layers[: self.frozen]):
                part.eval()
        return self

    def frozen_states(self, tokens: Tensor) -> Tensor:
        """Return the output of the embeddings and the frozen layers, (batch, tokens, width)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        states: Tensor = self.dropout(self.norm(self.token(tokens) + self.position(positions)))
        for layer in self.layers[: self.frozen or 0]:
            states = layer(states, _mask(tokens))
        return states

    def embed(self, tokens: Tensor, states: Tensor | None = None) -> Tensor:
        """Return the mean of the tokens' last states, (batch, width).

        Args:
            tokens: (batch, tokens), int64, `PADDING` after the end of a text.
            states: the result of `frozen_states` for them, where it is cached.
        """
        states = self.frozen_states(tokens) if states is None else states
        for layer in self.layers[self.frozen or 0 :]:
            states = layer(states, _mask(tokens))
        present = (tokens != PADDING).unsqueeze(-1)
        return (states * present).sum(1) / present.sum(1)

    def forward(self, tokens: Tensor, states: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes); arguments as for `embed`."""
        logits: Tensor = self.head(self.embed(tokens, states))
        return logits

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Return log probabilities (batch, classes)."""
        return self(tokens).log_softmax(dim=1)  # type: ignore[no-any-return]


def _mask(tokens: Tensor) -> Tensor:
    return (tokens != PADDING)[:, None, None, :]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_INITIAL_STD)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def build(params: "TrainTexts", classes: int, model: str | None = None) -> TextClassifier:
    """Return an untrained network, initialised from torch's current seed or from MiniLM's weights.

    Args:
        params: of the stage train.
        classes: how many.
        model: "minilm" or "scratch"; None: the one that the params name.

    Raises:
        UserError: MiniLM's weights are missing, or have another SHA-256.
    """
    if (model or params.model) == "scratch":
        small = params.scratch
        return TextClassifier(small.layers, small.width, small.heads, classes, params.dropout)
    network = pretrained_minilm(classes, params.dropout)
    network.freeze(MINILM_LAYERS - params.train_layers)
    return network


def pretrained_minilm(classes: int = 1, dropout: float = 0.0) -> TextClassifier:
    """Return MiniLM as it was published, with an untrained head.

    Raises:
        UserError: its weights are missing, or have another SHA-256.
    """
    network = TextClassifier(MINILM_LAYERS, MINILM_WIDTH, MINILM_HEADS, classes, dropout)
    network.load_state_dict(_minilm_weights(), strict=False)  # all but the head
    return network


# BERT's names of a layer's parts, and those of `EncoderLayer`.
_LAYER_PARTS = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm2",
}


def _minilm_weights() -> dict[str, Tensor]:
    """Return MiniLM's weights under the names of `TextClassifier`."""
    published = read_weights(minilm_file("model.safetensors"))
    weights = {
        # Of BERT's two segments only the first occurs: its vector is added to every token's.
        "token.weight": published["embeddings.word_embeddings.weight"]
        + published["embeddings.token_type_embeddings.weight"][0],
        "position.weight": published["embeddings.position_embeddings.weight"],
    }
    for kind in ("weight", "bias"):
        weights[f"norm.{kind}"] = published[f"embeddings.LayerNorm.{kind}"]
        for layer in range(MINILM_LAYERS):
            for bert_part, part in _LAYER_PARTS.items():
                weights[f"layers.{layer}.{part}.{kind}"] = published[
                    f"encoder.layer.{layer}.{bert_part}.{kind}"
                ]
    return weights


def fresh_model(task: "Task", classes: int, seed: int, model: str | None = None) -> TextClassifier:
    """Return the model of a training seed before its first step; `model` as for `build`."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    return build(task.params.train, classes, model)


def load(task: "Task", classes: int, seed: int) -> TextClassifier:
    """Return the trained model of one seed, ready to predict.

    Raises:
        UserError: its weights are missing, damaged, or of another model.
    """
    model = build(task.params.train, classes)
    load_trainable(model, task.folder("train") / f"weights-{seed}.safetensors")
    return model.eval().to(torch_device(task.runtime))


def predict_batches(
    predict: Callable[[Tensor], Tensor],
    texts: Sequence[str],
    max_tokens: int,
    device: torch.device,
) -> np.ndarray:
    """Return the results of `predict` for all texts, in their order.

    Args:
        predict: tokens (batch, tokens) -> (batch, ...).
        texts: n.
        max_tokens: of each text; what comes after is cut off.
        device: on which `predict` computes.

    Returns:
        (n, ...), float32.
    """
    token_lists = tokenize(texts, max_tokens)
    parts, indices = [], []
    with torch.inference_mode():
        for batch in progress([*sorted_batches(token_counts(token_lists))], "predicting"):
            tokens = pad_tokens([token_lists[index] for index in batch])
            parts.append(predict(tokens.to(device)).float().cpu().numpy())
            indices.append(batch)
    by_length = np.concatenate(parts)
    results: np.ndarray = np.empty_like(by_length)
    results[np.concatenate(indices)] = by_length
    return results
