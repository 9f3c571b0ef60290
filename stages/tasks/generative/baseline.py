"""Baselines for generation: Gaussians by class and a small VAE; and the judge of all samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.dataset import Dataset, read_dataset
from stages.shared.files import read_arrays
from stages.shared.images.network import (
    Classifier,
    as_tensor,
    asked,
    labelled,
    normalise_by,
    residual,
)
from stages.shared.images.packed import opened
from stages.shared.refusal import Refusal
from stages.shared.runtime import device, seed_for
from stages.shared.training import Batch, Job, Scores, classifier, launched, one_cycle
from stages.shared.training import fit as train
from stages.shared.weights import learnt, load_learnt

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_fabric import Fabric

    from stages.shared.files import Content
    from stages.shared.schema import GenerativeBaseline, Judge, Vae
    from stages.shared.task import Task

GAUSSIANS, VAE = "class Gaussians", "small VAE"
_VALUES = 64_000_000  # pixels of the images that baselines are fitted on
_GAUSSIANS, _VAE, _JUDGE = "gaussians.safetensors", "vae.safetensors", "judge.safetensors"


@dataclass(frozen=True)
class Fitted:
    """The baselines' and the judge's weights, and what became of fitting them."""

    summary: dict[str, Any]
    weights: dict[str, dict[str, np.ndarray]]

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes."""
        return {"baseline.json": self.summary, **self.weights}


class Autoencoder(nn.Module):
    """A class-conditional variational autoencoder (Kingma and Welling, 2014, section 3)."""

    def __init__(self, params: "Vae", shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        self.latent = params.latent
        values = int(np.prod(shape))
        self.encoder = nn.Sequential(
            nn.Linear(values + classes, params.width),
            nn.SiLU(),
            nn.Linear(params.width, 2 * params.latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(params.latent + classes, params.width),
            nn.SiLU(),
            nn.Linear(params.width, params.width),
            nn.SiLU(),
            nn.Linear(params.width, values),
        )

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return logits of pixels, (batch, channel, height, width), for codes (batch, latent)."""
        hot = functional.one_hot(labels, self.classes).float()
        logits: Tensor = self.decoder(torch.cat([codes, hot], dim=1))
        return logits.view(-1, *self.shape)

    def forward(self, images: Tensor, labels: Tensor, noise: Tensor) -> Scores:
        """Return the negative evidence bound in nats an image, and its two parts.

        Args:
            images: (batch, channel, height, width), 0 to 1, read as chances of ink.
            labels: (batch,).
            noise: (batch, latent), standard normal.
        """
        hot = functional.one_hot(labels, self.classes).float()
        mean, spread = self.encoder(torch.cat([images.flatten(1), hot], dim=1)).chunk(2, dim=1)
        logits = self.decode(mean + torch.exp(spread / 2) * noise, labels)
        missed = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        prior = (mean**2 + spread.exp() - 1 - spread).sum() / 2
        count = len(images)
        return {"loss": (missed + prior) / count, "prior": prior / count}


def gaussians(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int, most: int
) -> dict[str, np.ndarray]:
    """Return a Gaussian for each class: its mean, and a factor of its covariance.

    The factor's rows are the centred images' principal axes, scaled by their standard deviation.

    Args:
        images: the packed array.
        rows: of the images to fit.
        labels: theirs.
        classes: how many; each has an image.
        most: axes that are kept.
    """
    found = {}
    for label in range(classes):
        own = images[rows[labels == label]].reshape((labels == label).sum(), -1) / np.float32(255)
        mean = own.mean(axis=0)
        _, scales, axes = np.linalg.svd(
            (own - mean) / np.sqrt(max(1, len(own) - 1)), full_matrices=False
        )
        found[f"mean_{label}"] = mean.astype(np.float32)
        found[f"factor_{label}"] = (scales[:, None] * axes)[:most].astype(np.float32)
    return found


def samplers(
    found: dict[str, np.ndarray], vae: Autoencoder
) -> "dict[str, Callable[[np.ndarray, int], np.ndarray]]":
    """Return for each baseline: (labels, seed) -> its samples, uint8 (n, channel, height, width)."""

    def of_gaussians(labels: np.ndarray, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed_for(seed, "noise"))
        values = np.zeros((len(labels), int(np.prod(vae.shape))))
        for label in np.unique(labels):
            factor = found[f"factor_{label}"]
            noise = random.standard_normal(((labels == label).sum(), len(factor)))
            values[labels == label] = found[f"mean_{label}"] + noise @ factor
        return _pixels(values, vae.shape)

    def of_vae(labels: np.ndarray, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed_for(seed, "noise"))
        codes = random.standard_normal((len(labels), vae.latent)).astype(np.float32)
        with torch.inference_mode():
            logits = vae.decode(torch.from_numpy(codes), torch.from_numpy(labels))
        return _pixels(logits.sigmoid().numpy(), vae.shape)

    return {GAUSSIANS: of_gaussians, VAE: of_vae}


def _pixels(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    pixels: np.ndarray = (values * 255).round().clip(0, 255).astype(np.uint8)
    return pixels.reshape(-1, *shape)


def load_samplers(
    task: "Task", dataset: Dataset
) -> "dict[str, Callable[[np.ndarray, int], np.ndarray]]":
    """Return the fitted baselines' samplers.

    Raises:
        Refusal: what they have learnt is missing or damaged.
    """
    folder = task.folder("baseline")
    vae = Autoencoder(task.params.baseline.vae, dataset.note["shape"], len(dataset.classes))
    load_learnt(vae, folder / _VAE)
    return samplers(read_arrays(folder / _GAUSSIANS), vae.eval())


def fit(task: "Task") -> Fitted:
    """Fit the judge and both baselines on the training data; validation data choose their epochs."""
    params: GenerativeBaseline = task.params.baseline
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    classes, shape = len(dataset.classes), tuple(dataset.note["shape"])
    fabric = launched(task.runtime)

    judge = _judge(params.judge, dataset, images, fabric)
    most = min(params.fit_on_at_most, max(1, _VALUES // int(np.prod(shape))))
    some = dataset.draw("train", most, seed_for("baseline sample"))
    rows, labels = dataset.rows("train")[some], dataset.labels("train")[some]
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise Refusal(
            f"class {dataset.classes[int(counts.argmin())]!r} has no image among the {len(some)} that the "
            f"baselines are fitted on; raise {task.name}.baseline.fit_on_at_most or "
            f"{task.name}.prepare.min_per_class, or lower {task.name}.prepare.size"
        )
    shapes = gaussians(images, rows, labels, classes, params.axes)
    torch.manual_seed(seed_for("vae"))
    vae = Autoencoder(params.vae, shape, classes)
    held = dataset.draw("validation", most, seed_for("baseline sample"))
    vae_loss = _fit_vae(
        vae,
        params.vae,
        (as_tensor(images[rows]), torch.from_numpy(labels)),
        (
            as_tensor(images[dataset.rows("validation")[held]]),
            torch.from_numpy(dataset.labels("validation")[held]),
        ),
        fabric,
    )

    right = {
        split: float((_judged(judge, images, dataset.rows(split)) == dataset.labels(split)).mean())
        for split in ("train", "validation")
    }
    summary = {
        "methods": [GAUSSIANS, VAE],
        "fitted_on": len(some),
        "judge_accuracy": right,
        "vae_loss": vae_loss,
    }
    weights = {
        _JUDGE: {k: v.cpu().numpy() for k, v in learnt(judge).items()},
        _GAUSSIANS: shapes,
        _VAE: {k: v.cpu().numpy() for k, v in learnt(vae).items()},
    }
    return Fitted(summary, weights)


def judging_network(params: "Judge", shape: tuple[int, int, int], classes: int) -> Classifier:
    """Return the judge, untrained: images (batch, channel, height, width), 0 to 1 -> logits."""
    return Classifier(residual(params.channels, shape[0]), params.channels[-1], classes, shape[0])


def load_judge(task: "Task", dataset: Dataset) -> Classifier:
    """Return the trained judge, ready to be asked.

    Raises:
        Refusal: its weights are missing, damaged, or of another network.
    """
    params = task.params.baseline.judge
    judge = judging_network(params, dataset.note["shape"], len(dataset.classes))
    load_learnt(judge, task.folder("baseline") / _JUDGE)
    return judge.eval().to(device(task.runtime))


def _judged(judge: Classifier, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    labels: np.ndarray = asked(judge, images, rows, next(judge.parameters()).device).argmax(axis=1)
    return labels


def _judge(params: "Judge", dataset: Dataset, images: np.ndarray, fabric: "Fabric") -> Classifier:
    """Return the judge, trained on the training split; validation data choose its epoch."""
    torch.manual_seed(seed_for("judge"))
    judge = judging_network(params, dataset.note["shape"], len(dataset.classes))
    rows = {split: dataset.rows(split) for split in ("train", "validation")}
    labels = {split: torch.from_numpy(dataset.labels(split)) for split in rows}
    normalise_by(judge, images, rows["train"])

    def batches(epoch: int) -> Iterator[Batch]:
        for chosen in _shuffled(len(rows["train"]), params.batch_size, "judge", epoch):
            pixels = as_tensor(images[rows["train"][chosen]])
            yield fabric.to_device(((pixels,), labels["train"][chosen]))

    def held() -> Iterator[Batch]:
        for batch in labelled(images, rows["validation"], labels["validation"]):
            yield fabric.to_device(batch)

    steps = len(rows["train"]) // min(params.batch_size, len(rows["train"]))
    best = train(classifier(judge, batches, held, steps, params, len(dataset.classes)), fabric)
    judge.load_state_dict(best.weights)
    return judge.eval().float()


def _fit_vae(
    model: Autoencoder,
    params: "Vae",
    data: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    fabric: "Fabric",
) -> float:
    """Train the VAE; return the lowest validation loss, whose epoch's weights it ends with."""
    images, labels = data
    noise = torch.randn(
        len(held[0]), params.latent, generator=torch.Generator().manual_seed(seed_for("vae held"))
    )

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        random = torch.Generator().manual_seed(seed_for("vae noise", epoch))
        for chosen in _shuffled(len(images), params.batch_size, "vae", epoch):
            drawn = torch.randn(len(chosen), params.latent, generator=random)
            yield fabric.to_device((images[chosen], labels[chosen], drawn))

    def validate(network: nn.Module) -> dict[str, float]:
        found = network(*fabric.to_device((*held, noise)))
        return {name: value.item() for name, value in found.items()}

    steps = len(images) // min(params.batch_size, len(images)) * params.epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.learning_rate, fused=True)
    rate = one_cycle(params.learning_rate, steps)
    best = train(
        Job(
            model,
            optimizer,
            rate,
            batches,
            lambda network, batch: network(*batch),
            validate,
            params.epochs,
        ),
        fabric,
    )
    model.load_state_dict(best.weights)
    model.eval().float().cpu()
    return best.history[best.chosen_epoch]["validation_loss"]


def _shuffled(count: int, size: int, purpose: str, epoch: int) -> Iterator[np.ndarray]:
    """Yield an epoch's batches of positions, in random order; the last, smaller one is left out."""
    order = np.random.default_rng(seed_for(purpose, "order", epoch)).permutation(count)
    size = min(size, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]
