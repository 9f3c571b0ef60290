"""A small class-conditional variational autoencoder: the generative baseline with a network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.runtime import seed_for
from stages.kinds.image_generation.inputs import Sampler, flat_to_pixels
from stages.training.batches import random_batches
from stages.training.loop import Scores, TrainingRun
from stages.training.loop import fit as run_training
from stages.training.schedules import one_cycle

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.kinds.image_generation.schema import Vae

LabelledImages = tuple[Tensor, Tensor]  # (n, channel, height, width), 0 to 1; (n,)


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
        """Return logits of pixels, (batch, channel, height, width).

        Args:
            codes: (batch, latent).
            labels: (batch,).
        """
        one_hot = functional.one_hot(labels, self.classes).float()
        logits: Tensor = self.decoder(torch.cat([codes, one_hot], dim=1))
        return logits.view(-1, *self.shape)

    def forward(self, images: Tensor, labels: Tensor, noise: Tensor) -> Scores:
        """Return "loss", the negative evidence lower bound in nats an image, and its part "prior".

        Args:
            images: (batch, channel, height, width), 0 to 1, read as probabilities.
            labels: (batch,).
            noise: (batch, latent), standard normal.
        """
        one_hot = functional.one_hot(labels, self.classes).float()
        encoded = self.encoder(torch.cat([images.flatten(1), one_hot], dim=1))
        mean, log_variance = encoded.chunk(2, dim=1)
        logits = self.decode(mean + torch.exp(log_variance / 2) * noise, labels)
        reconstruction = functional.binary_cross_entropy_with_logits(
            logits, images, reduction="sum"
        )
        prior = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
        count = len(images)
        return {"loss": (reconstruction + prior) / count, "prior": prior / count}


def fit_vae(
    params: "Vae",
    data: LabelledImages,
    validation_data: LabelledImages,
    classes: int,
    fabric: "Fabric",
) -> tuple[Autoencoder, float]:
    """Train a VAE; return it with the weights of the lowest validation loss, and that loss.

    Args:
        params: of the VAE.
        data: the training images, with labels.
        validation_data: these select the epoch.
        classes: how many.
        fabric: the device, precision and processes, launched.
    """
    images, labels = data
    torch.manual_seed(seed_for("vae"))
    channels, height, width = images.shape[1:]
    model = Autoencoder(params, (channels, height, width), classes)
    generator = torch.Generator().manual_seed(seed_for("vae held"))
    noise = torch.randn(len(validation_data[0]), params.latent, generator=generator)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        epoch_generator = torch.Generator().manual_seed(seed_for("vae noise", epoch))
        for indices in random_batches(len(images), params.batch_size, "vae", epoch):
            drawn = torch.randn(len(indices), params.latent, generator=epoch_generator)
            yield fabric.to_device((images[indices], labels[indices], drawn))

    def validate(network: nn.Module) -> dict[str, float]:
        scores = network(*fabric.to_device((*validation_data, noise)))
        return {name: value.item() for name, value in scores.items()}

    steps = len(images) // min(params.batch_size, len(images)) * params.epochs
    trained = run_training(
        TrainingRun(
            model,
            torch.optim.AdamW(model.parameters(), lr=params.learning_rate, fused=True),
            one_cycle(params.learning_rate, steps),
            batches,
            lambda network, batch: network(*batch),
            validate,
            params.epochs,
        ),
        fabric,
    )
    model.load_state_dict(trained.weights)
    return model.eval().float().cpu(), trained.history[trained.best_epoch]["validation_loss"]


def vae_sampler(model: Autoencoder) -> Sampler:
    """Return (labels, seed) -> samples of a trained VAE, uint8 (n, channel, height, width)."""

    def draw(labels: np.ndarray, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed_for(seed, "noise"))
        codes = random.standard_normal((len(labels), model.latent)).astype(np.float32)
        with torch.inference_mode():
            logits = model.decode(torch.from_numpy(codes), torch.from_numpy(labels))
        return flat_to_pixels(logits.sigmoid().numpy(), model.shape)

    return draw
