"""The params of an image classification task, and the rules between its sections."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from stages.core.schema import (
    Candidates,
    Channels,
    CheckNetwork,
    Count,
    EvaluateClassifier,
    Failures,
    FitClassifier,
    Names,
    PrepareImages,
    Section,
    Seed,
    Share,
    TaskSections,
    TrainClassifier,
    whole_number,
)

Blocks = list[Annotated[int, Field(ge=0, le=100)]]
StemStride = Annotated[Literal[1, 2, 4], BeforeValidator(whole_number)]

# The simplest first; those with settings have a section of the same name.
BASELINES = (
    "most_frequent_class",
    "nearest_prototype",
    "logistic_regression",
    "flatten_linear",
    "frozen_features",
)


PRETRAINED = ("resnet18", "convnext_tiny")  # torchvision's, with ImageNet's weights


def _check_model(model: str, initial_weights: str | None) -> None:
    if initial_weights == "imagenet" and model not in PRETRAINED:
        raise ValueError(f"initial_weights: imagenet needs model: {' or '.join(PRETRAINED)}")


def _check_blocks(model: str, channels: list[int], blocks: list[int] | None) -> None:
    if blocks is None:
        return
    if model != "residual":
        raise ValueError(f"blocks are of model: residual; for {model} they must be null or absent")
    if len(blocks) != len(channels) or not all(blocks[1:]):
        raise ValueError(
            f"blocks (given {blocks}) must name a number for each of channels ({len(channels)}); only "
            "the first may be 0"
        )


def _check_sides(sizes: dict[str, int], model: str, channels: list[int], channels_key: str) -> None:
    """Check that images of each of `sizes`, pixels by key, have a pixel left at a network's last level."""
    least = 2 ** (len(channels) - 1)
    for key, size in sizes.items():
        if model == "tiny_cnn" and size < least:
            raise ValueError(
                f"{key} (given {size}) must be at least {least}: {channels_key} names {len(channels)} "
                "levels, each at half the side of the one before"
            )


class LogisticRegression(Section):
    """Logistic regression, its C chosen on validation data."""

    regularisation: Candidates
    max_iterations: Count
    max_samples: Count


class FrozenFeatures(LogisticRegression):
    """Logistic regression on the features of a trained network, which stays as it is."""

    model: Literal["tiny_cnn", "residual", "resnet18", "convnext_tiny"]
    channels: Channels | None = None
    blocks: Blocks | None = None
    stem_stride: StemStride = 1
    initial_weights: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(ge=4, le=1024)] | None

    @field_validator("initial_weights")
    @classmethod
    def _not_a_stage_output(cls, weights: str) -> str:
        parts = Path(weights).parts
        if weights.startswith("task:") or (parts[:1] == ("data",) and parts[:2] != ("data", "raw")):
            raise ValueError(
                "must be imagenet or a .safetensors file that no stage writes: DVC would not run that "
                "stage first; copy data/train/TASK/weights-SEED.safetensors to data/raw and `dvc add` it"
            )
        return weights

    @model_validator(mode="after")
    def _network_is_complete(self) -> Self:
        _check_model(self.model, self.initial_weights)
        if self.channels is None and self.model not in PRETRAINED:
            raise ValueError(f"channels must be named for model: {self.model}")
        _check_blocks(self.model, self.channels or [], self.blocks)
        return self


class FlattenLinear(FitClassifier):
    """One linear layer on the flattened pixels, trained by the same loop as the model."""

    seed: Seed


class ImageBaseline(Section):
    """The baseline methods to fit, and the params of those that have any."""

    methods: Annotated[Names, Field(min_length=1)]
    logistic_regression: LogisticRegression | None = None
    flatten_linear: FlattenLinear | None = None
    frozen_features: FrozenFeatures | None = None

    @model_validator(mode="after")
    def _methods_are_known_and_set(self) -> Self:
        for name in self.methods:
            if name not in BASELINES:
                raise ValueError(f"methods: given {name!r}; must be of {', '.join(BASELINES)}")
        for name in ("logistic_regression", "flatten_linear", "frozen_features"):
            if (getattr(self, name) is not None) != (name in self.methods):
                raise ValueError(
                    f"{name} must be a section where methods lists it, and absent otherwise"
                )
        return self


class Augment(Section):
    """Random augmentation of each training image."""

    rotate: Annotated[float, Field(ge=0, le=180)]
    translate: Annotated[float, Field(ge=0, le=0.5)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    shear: Annotated[float, Field(ge=0, le=1)]
    flip: bool


class LowResolution(Section):
    """The share of the epochs, the first ones, that are trained on smaller images, and their size."""

    share: Share
    size: Annotated[int, Field(ge=4, le=1024)]


class TrainImages(TrainClassifier):
    """The network and its training."""

    model: Literal["tiny_cnn", "residual", "resnet18", "convnext_tiny"]
    channels: Channels
    blocks: Blocks | None = None
    stem_stride: StemStride = 1
    initial_weights: Annotated[str, Field(min_length=1)] | None
    low_resolution: LowResolution | None = None
    augment: Augment | None

    @model_validator(mode="after")
    def _weights_fit_the_model(self) -> Self:
        if self.initial_weights and Path(self.initial_weights).parts[:2] == ("data", "train"):
            raise ValueError(
                "initial_weights must be outside data/train, which DVC deletes before training"
            )
        _check_model(self.model, self.initial_weights)
        _check_blocks(self.model, self.channels, self.blocks)
        return self


class ImageClassification(TaskSections):
    """A task of this kind."""

    kind: Literal["image_classification"]
    prepare: PrepareImages
    check: CheckNetwork
    baseline: ImageBaseline
    train: TrainImages
    evaluate: EvaluateClassifier
    failures: Failures

    @model_validator(mode="after")
    def _low_resolution_is_lower(self) -> Self:
        low = self.train.low_resolution
        if low is not None and low.size >= self.prepare.size:
            raise ValueError(
                f"train.low_resolution.size (given {low.size}) must be below prepare.size "
                f"({self.prepare.size})"
            )
        return self

    @model_validator(mode="after")
    def _sides_can_be_halved(self) -> Self:
        train, frozen = self.train, self.baseline.frozen_features
        sizes = {"prepare.size": self.prepare.size}
        if train.low_resolution is not None:
            sizes["train.low_resolution.size"] = train.low_resolution.size
        _check_sides(sizes, train.model, train.channels, "train.channels")
        if frozen is not None:
            size = frozen.size or self.prepare.size
            key = "baseline.frozen_features.size" if frozen.size else "prepare.size"
            channels = "baseline.frozen_features.channels"
            _check_sides({key: size}, frozen.model, frozen.channels or [], channels)
        return self
