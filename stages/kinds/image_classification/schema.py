"""The params of an image classification task, and the rules between its sections."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.schema import (
    Channels,
    CheckNetwork,
    Count,
    EvaluateClassifier,
    Failures,
    FitClassifier,
    Names,
    Positive,
    PrepareImages,
    Section,
    Seed,
    TaskSections,
    TrainClassifier,
)

BASELINES = ("most_frequent_class", "nearest_prototype", "logistic_regression", "flatten_linear")


class LogisticRegression(Section):
    """Logistic regression on pixels."""

    regularisation: Positive
    max_iterations: Count
    max_samples: Count


class FlattenLinear(FitClassifier):
    """One linear layer on the flattened pixels, trained by the same loop as the model."""

    seed: Seed


class ImageBaseline(Section):
    """The baseline methods to fit, and the params of those that have any."""

    methods: Annotated[Names, Field(min_length=1)]
    logistic_regression: LogisticRegression | None = None
    flatten_linear: FlattenLinear | None = None

    @model_validator(mode="after")
    def _methods_are_known_and_set(self) -> Self:
        for name in self.methods:
            if name not in BASELINES:
                raise ValueError(f"methods: given {name!r}; must be of {', '.join(BASELINES)}")
        for name in ("logistic_regression", "flatten_linear"):
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
