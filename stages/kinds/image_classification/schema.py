"""The params of an image classification task, and the rules between its sections."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

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
    TaskSections,
    TrainClassifier,
)

# The simplest first; those with settings have a section of the same name.
BASELINES = (
    "most_frequent_class",
    "nearest_prototype",
    "logistic_regression",
    "flatten_linear",
    "frozen_features",
)


class LogisticRegression(Section):
    """Logistic regression, its C chosen on validation data."""

    regularisation: Candidates
    max_iterations: Count
    max_samples: Count


class FrozenFeatures(LogisticRegression):
    """Logistic regression on the features of a trained network, which stays as it is."""

    model: Literal["tiny_cnn", "residual", "resnet18"]
    channels: Channels
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
    def _imagenet_is_of_resnet18(self) -> Self:
        if self.initial_weights == "imagenet" and self.model != "resnet18":
            raise ValueError("initial_weights: imagenet needs model: resnet18")
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


class TrainImages(TrainClassifier):
    """The network and its training."""

    model: Literal["tiny_cnn", "residual", "resnet18"]
    channels: Channels
    initial_weights: Annotated[str, Field(min_length=1)] | None
    augment: Augment | None

    @model_validator(mode="after")
    def _weights_fit_the_model(self) -> Self:
        if self.initial_weights and Path(self.initial_weights).parts[:2] == ("data", "train"):
            raise ValueError(
                "initial_weights must be outside data/train, which DVC deletes before training"
            )
        if self.initial_weights == "imagenet" and self.model != "resnet18":
            raise ValueError("initial_weights: imagenet needs model: resnet18")
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
    def _sides_can_be_halved(self) -> Self:
        least = 2 ** (len(self.train.channels) - 1)
        if self.train.model == "tiny_cnn" and self.prepare.size < least:
            raise ValueError(
                f"prepare.size (given {self.prepare.size}) must be at least {least}: train.channels "
                f"names {len(self.train.channels)} levels, each at half the side of the one before"
            )
        return self
