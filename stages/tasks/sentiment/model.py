"""The networks for texts: MiniLM, and a small Transformer of the same build from scratch.

Both are BERT's encoder (Devlin et al., 2019, section 3; Vaswani et al., 2017, section 3): tokens
look at each other in every layer, and the mean of what they have become is judged.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor, nn

from stages.shared.runtime import device, seed_for
from stages.shared.texts.network import Layer
from stages.shared.weights import load_learnt, read_weights
from stages.tasks.sentiment.inputs import PADDING, by_length, carried, padded, tokens

if TYPE_CHECKING:
    from stages.shared.schema import TrainTexts
    from stages.shared.task import Task

TOKENS, POSITIONS = 30522, 512  # MiniLM's vocabulary, and the longest text it knows
LAYERS, WIDTH, HEADS = 6, 384, 12
_STD = 0.02


class Classifier(nn.Module):
    """Embed tokens, let them look at each other, take their mean, judge it."""

    def __init__(self, layers: int, width: int, heads: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Embedding(TOKENS, width)
        self.position = nn.Embedding(POSITIONS, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.head = nn.Linear(width, classes)
        self.frozen: int | None = None
        self.apply(_initialise)

    def freeze(self, layers: int) -> None:
        """Leave the embeddings and the lowest `layers` as they are from now on."""
        self.frozen = layers
        for part in (self.token, self.position, self.norm, *self.layers[:layers]):
            part.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 (torch's signature)
        """Set the mode; what is frozen drops nothing out, so that its states can be kept."""
        super().train(mode)
        if self.frozen is not None:
            for part in (self.dropout, *self.layers[: self.frozen]):
                part.eval()
        return self

    def below(self, tokens: Tensor) -> Tensor:
        """Return what the frozen layers make of (batch, tokens): (batch, tokens, width)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        states: Tensor = self.dropout(self.norm(self.token(tokens) + self.position(places)))
        for layer in self.layers[: self.frozen or 0]:
            states = layer(states, _mask(tokens))
        return states

    def embed(self, tokens: Tensor, states: Tensor | None = None) -> Tensor:
        """Return the mean of the tokens' last states, (batch, width).

        Args:
            tokens: (batch, tokens), 0 where there is none.
            states: what `below` gave for them, where that was kept.
        """
        states = self.below(tokens) if states is None else states
        for layer in self.layers[self.frozen or 0 :]:
            states = layer(states, _mask(tokens))
        there = (tokens != PADDING).unsqueeze(-1)
        return (states * there).sum(1) / there.sum(1)

    def forward(self, tokens: Tensor, states: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes)."""
        logits: Tensor = self.head(self.embed(tokens, states))
        return logits

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Return log probabilities (batch, classes)."""
        return self(tokens).log_softmax(dim=1)  # type: ignore[no-any-return]


def _mask(tokens: Tensor) -> Tensor:
    return (tokens != PADDING)[:, None, None, :]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_STD)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def build(params: "TrainTexts", classes: int, kind: str | None = None) -> Classifier:
    """Return the network that the params (or `kind`) name, from torch's seed or MiniLM's weights.

    Raises:
        Refusal: MiniLM's weights are not here, or are others.
    """
    if (kind or params.model) == "scratch":
        small = params.scratch
        return Classifier(small.layers, small.width, small.heads, classes, params.dropout)
    model = Classifier(LAYERS, WIDTH, HEADS, classes, params.dropout)
    model.load_state_dict(_minilm(), strict=False)  # but for the head, which starts anew
    model.freeze(LAYERS - params.train_layers)
    return model


_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm2",
}


def _minilm() -> dict[str, Tensor]:
    """Return MiniLM's weights under the names of `Classifier`."""
    given = read_weights(carried("model.safetensors"))
    weights = {
        # Of BERT's two segments only the first occurs: its vector is added to every token's.
        "token.weight": given["embeddings.word_embeddings.weight"]
        + given["embeddings.token_type_embeddings.weight"][0],
        "position.weight": given["embeddings.position_embeddings.weight"],
    }
    for kind in ("weight", "bias"):
        weights[f"norm.{kind}"] = given[f"embeddings.LayerNorm.{kind}"]
        for layer in range(LAYERS):
            for theirs, ours in _NAMES.items():
                name = f"encoder.layer.{layer}.{theirs}.{kind}"
                weights[f"layers.{layer}.{ours}.{kind}"] = given[name]
    return weights


def fresh_model(task: "Task", classes: int, seed: int, kind: str | None = None) -> Classifier:
    """Return the model, or the one of another `kind`, before its first step."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    return build(task.params.train, classes, kind)


def load(task: "Task", classes: int, seed: int) -> Classifier:
    """Return the trained model of one seed, ready to predict.

    Raises:
        Refusal: its weights are missing, damaged, or of another model.
    """
    model = build(task.params.train, classes)
    load_learnt(model, task.folder("train") / f"weights-{seed}.safetensors")
    return model.eval().to(device(task.runtime))


def asked(
    answer: Callable[[Tensor], Tensor], texts: Sequence[str], most: int, where: torch.device
) -> np.ndarray:
    """Return `answer` for each text, (n, ...), float32; the model sees at most `most` tokens."""
    known = tokens(texts, most)
    parts, places = [], []
    with torch.inference_mode():
        for some in by_length(np.array([len(one) for one in known])):
            batch = padded([known[place] for place in some])
            parts.append(answer(batch.to(where)).float().cpu().numpy())
            places.append(some)
    found = np.concatenate(parts)
    result: np.ndarray = np.empty_like(found)
    result[np.concatenate(places)] = found
    return result
