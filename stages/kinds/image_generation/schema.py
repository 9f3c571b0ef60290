"""The params of an image generation task, and the rules between its sections."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.core.schema import (
    Channels,
    CheckNetwork,
    Count,
    FitClassifier,
    NotNegative,
    Positive,
    PrepareImages,
    Section,
    Seed,
    Seeds,
    Share,
    TaskSections,
    Threads,
    ZeroToOne,
)

_GROUP = 8  # channels normalised together, as in model.py, which imports torch


class ReferenceClassifier(FitClassifier):
    """The classifier in whose features samples are compared with real images."""

    channels: Channels


class Vae(Section):
    """The small variational autoencoder."""

    latent: Annotated[int, Field(ge=1, le=1024)]
    width: Annotated[int, Field(ge=1, le=8192)]
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive


class GenerationBaseline(Section):
    """Gaussians by class, a small VAE, and the reference classifier."""

    principal_axes: Count
    max_samples: Annotated[int, Field(ge=100)]
    vae: Vae
    reference_classifier: ReferenceClassifier


class TrainFlow(Section):
    """The flow and its training."""

    seeds: Seeds
    threads: Threads | None = None
    log_every: Count
    checkpoint_steps: Annotated[list[Count], Field(min_length=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    label_dropout: Annotated[float, Field(ge=0, lt=1)]
    channels: Channels

    @property
    def steps(self) -> int:
        """Return the number of training steps: up to the last checkpoint."""
        return self.checkpoint_steps[-1]

    @property
    def epochs(self) -> int:
        """Return the number of rows of the log."""
        return self.steps // self.log_every

    @field_validator("channels")
    @classmethod
    def _divide_into_groups(cls, channels: list[int]) -> list[int]:
        if any(width % _GROUP for width in channels):
            raise ValueError(
                f"must be multiples of {_GROUP}: so many channels are normalised together"
            )
        return channels

    @model_validator(mode="after")
    def _checkpoints_are_logged(self) -> Self:
        interval, steps = self.log_every, self.checkpoint_steps
        if sorted(set(steps)) != steps or any(step % interval for step in steps):
            raise ValueError(
                f"checkpoint_steps (given {steps}) must rise, each step a multiple of log_every "
                f"({interval})"
            )
        return self


class EvaluateFlow(Section):
    """How samples are drawn and measured, and the rule that selects a checkpoint."""

    confidence: Share
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Seed
    samples: Annotated[int, Field(ge=50, le=5000)]
    sampling_seeds: Seeds
    guidance: NotNegative
    solver_steps: Annotated[int, Field(ge=1, le=1000)]
    neighbours: Annotated[int, Field(ge=1, le=50)]
    copy_quantile: Share
    min_diversity: ZeroToOne
    worthwhile_gain: Share

    @model_validator(mode="after")
    def _more_than_neighbours(self) -> Self:
        if self.samples <= self.neighbours:
            raise ValueError(
                f"samples (given {self.samples}) must be more than neighbours (given {self.neighbours})"
            )
        return self


class SampleFailures(Section):
    """Which failing samples are shown."""

    per_bucket: Annotated[int, Field(ge=3, le=12)]


class ImageGeneration(TaskSections):
    """The params of a task of this kind."""

    kind: Literal["image_generation"]
    prepare: PrepareImages
    check: CheckNetwork
    baseline: GenerationBaseline
    train: TrainFlow
    evaluate: EvaluateFlow
    failures: SampleFailures

    @model_validator(mode="after")
    def _has_a_single_split(self) -> Self:
        folds = self.prepare.split.folds
        if folds > 1:
            raise ValueError(
                f"prepare.split.folds: given {folds}; must be 1 or absent: samples are compared with one "
                "test split"
            )
        return self

    @model_validator(mode="after")
    def _guidance_needs_label_dropout(self) -> Self:
        if self.train.label_dropout == 0 and self.evaluate.guidance != 1:
            raise ValueError(
                f"evaluate.guidance (given {self.evaluate.guidance:g}) must be 1 where "
                "train.label_dropout is 0: guidance needs a network that is also trained without labels"
            )
        return self

    @model_validator(mode="after")
    def _size_can_be_halved(self) -> Self:
        halvings = len(self.train.channels) - 1
        if self.prepare.size % 2**halvings:
            raise ValueError(
                f"prepare.size (given {self.prepare.size}) must be a multiple of {2**halvings}: "
                f"train.channels has {halvings + 1} levels, each at half the size of the one before"
            )
        return self
