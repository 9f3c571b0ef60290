"""The sections of params.yaml that several kinds share, and the types of their values.

The sections of one kind are in its `schema.py`.
"""

import re
import warnings
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Threads = Annotated[int, Field(ge=1, le=256)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
ZeroToOne = Annotated[float, Field(ge=0, le=1)]

_FEWEST_FOLDS = 3


def _unique_seeds(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must name each seed once: a repeated seed would count as evidence twice")
    return seeds


def _unique_names(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("must name each once")
    return names


def _unique_candidates(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise ValueError("must name each candidate once")
    return values


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_unique_seeds)]
Channels = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], AfterValidator(_unique_names)]
Candidates = Annotated[list[Positive], Field(min_length=1), AfterValidator(_unique_candidates)]


def whole_number(value: Any) -> Any:
    """Reject values that only compare equal to an integer, such as true and 1.0."""
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


class Section(BaseModel):
    """A section of params.yaml: unknown keys and implicit conversions are errors; values are frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Runtime(Section):
    """Threads, instruction set, device, processes and precision."""

    threads: Threads
    cpu: Literal["avx2", "native"]
    device: Literal["cpu", "cuda", "mps", "auto"]
    devices: Count
    nodes: Count = 1
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "64-true"]

    @property
    def processes(self) -> int:
        """Return how many processes train one model together: the world size."""
        return self.devices * self.nodes

    @property
    def alone(self) -> "Runtime":
        """Return it for a training of one process: of a baseline, or of a network that is measured."""
        return self.model_copy(update={"devices": 1, "nodes": 1})


class ToleranceRuns(Section):
    """The settings that `evidence tolerance` varies, one at a time."""

    threads: list[Threads]
    cpu: list[Literal["avx2", "native"]]
    device: list[Literal["cpu", "cuda", "mps"]]
    seeds: Annotated[int, Field(ge=0, le=100)]


class Split(Section):
    """The shares of groups or samples held out for test and validation, or the number of folds."""

    test: Share | None = None
    validation: Share | None = None
    folds: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Seed

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Self:
        if self.folds > 1:
            if self.folds < _FEWEST_FOLDS:
                raise ValueError(
                    f"folds (given {self.folds}) must be 1, or at least {_FEWEST_FOLDS}: one part for "
                    "test, one for validation, the others to train on"
                )
            if self.test is not None or self.validation is not None:
                raise ValueError(
                    "test and validation must be absent with folds: each fold tests one part of the "
                    "groups and validates on the next one"
                )
        elif self.test is None or self.validation is None:
            raise ValueError("must have test and validation, or folds")
        elif sum(self.shares) >= 1:
            raise ValueError("test + validation must leave a share to train on (below 1)")
        return self

    @property
    def shares(self) -> tuple[float, float]:
        """The shares for test and validation; 0 with folds."""
        return self.test or 0.0, self.validation or 0.0


class Stripes(Section):
    """The stripes that `source: stripes` draws."""

    seed: Seed
    per_class: Annotated[int, Field(ge=3, le=100_000)]
    difficulty: ZeroToOne


class Labels(Section):
    """A table that names image files and their classes, and its columns."""

    path: Name
    file: Name
    label: Name
    group: Name | None = None
    split: Name | None = None
    separator: Literal["comma", "semicolon", "tab"] | None = None

    @field_validator("path")
    @classmethod
    def _lies_in_the_folder(cls, path: str) -> str:
        if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
            raise ValueError(
                "must be a path below prepare.path, the folder that DVC tracks; move the table there, "
                "or let prepare.path name a folder that holds both"
            )
        return path

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        columns = [self.file, self.label, self.group, self.split]
        _unique_names([name for name in columns if name is not None])
        return self


class PrepareImages(Section):
    """Images: the source, how they are fitted to one shape, and how they are split."""

    source: Literal["digits", "folder", "torchvision", "stripes"]
    path: Annotated[str, Field(min_length=1)]
    dataset: Literal["MNIST", "FashionMNIST", "CIFAR10"] | None
    layout: Literal["classes", "splits", "table"] | None = None
    labels: Labels | None = None
    group_pattern: str | None
    stripes: Stripes | None = None
    size: Annotated[int, Field(ge=4, le=1024)]
    channels: Annotated[Literal[1, 3], BeforeValidator(whole_number)]
    unreadable: Literal["list", "refuse"]
    max_pixels: Count
    min_per_class: Annotated[int, Field(ge=3)]
    near_duplicate: ZeroToOne
    split: Split

    @field_validator("group_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    groups = re.compile(pattern).groups
            except (re.error, OverflowError, RecursionError, FutureWarning) as error:
                raise ValueError(f"must be a regular expression ({error})") from None
            if groups < 1:
                raise ValueError("must contain a group in parentheses")
        return pattern

    @model_validator(mode="after")
    def _matches_the_source(self) -> Self:
        if (self.dataset is not None) != (self.source == "torchvision"):
            raise ValueError("dataset must be named for source: torchvision, and be null otherwise")
        if self.group_pattern is not None and self.source != "folder":
            raise ValueError("group_pattern is for source: folder; it must be null otherwise")
        for name in ("layout", "labels"):
            if getattr(self, name) is not None and self.source != "folder":
                raise ValueError(
                    f"{name} is for source: folder; it must be null or absent otherwise"
                )
        if self.labels is not None and self.layout not in {None, "table"}:
            raise ValueError(f"labels is for layout: table (given layout: {self.layout})")
        if self.labels is not None and self.labels.group and self.group_pattern is not None:
            raise ValueError("group_pattern must be null where labels.group names a column")
        if (self.stripes is not None) != (self.source == "stripes"):
            raise ValueError(
                "stripes must be a section for source: stripes, and be null or absent otherwise"
            )
        return self

    @model_validator(mode="after")
    def _stripes_fit(self) -> Self:
        if self.stripes is None:
            return self
        if self.stripes.per_class < self.min_per_class:
            raise ValueError(
                f"stripes.per_class (given {self.stripes.per_class}) must be at least min_per_class "
                f"({self.min_per_class})"
            )
        if not 8 <= self.size <= 256 or self.channels != 1:  # noqa: PLR2004 (named in the message)
            raise ValueError("source: stripes needs a size from 8 to 256 and channels: 1")
        return self


class Columns(Section):
    """The columns of a table of texts."""

    text: Name
    label: Name
    id: Name | None
    group: Name | None
    split: Name | None = None
    slices: Names

    @field_validator("slices")
    @classmethod
    def _not_a_column_of_the_samples_table(cls, slices: list[str]) -> list[str]:
        reserved = {
            "row",
            "id",
            "label",
            "group",
            "split",
            "official_split",
            "length",
            "cut_off",
            "kind",
            "value",
        }
        for name in slices:
            if name in reserved:
                raise ValueError(
                    f"must not use {name!r}, a column that the samples' table already has"
                )
        return slices


class PrepareTexts(Section):
    """Texts: the source, its columns and classes, and how they are split."""

    source: Literal["reviews", "csv"]
    path: Name
    separator: Literal["comma", "semicolon", "tab"] | None = None
    columns: Columns
    classes: Annotated[Names, Field(min_length=2)] | None
    unreadable: Literal["list", "refuse"] | None = None
    min_per_class: Annotated[int, Field(ge=3)]
    near_duplicate: Annotated[float, Field(gt=0, le=1)]
    split: Split


class CheckNetwork(Section):
    """The checks of an untrained network."""

    batch_size: Annotated[int, Field(ge=2)]
    first_loss_tolerance: Positive
    overfit_steps: Count
    overfit_loss: Positive


class FitClassifier(Section):
    """The training of one classifier."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "linear"] = "cosine"
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class TrainClassifier(FitClassifier):
    """The training of a classifier, once for each seed."""

    seeds: Seeds
    threads: Threads | None = None
    class_weights: Literal["balanced"] | None = None


class EvaluateClassifier(Section):
    """The metric that decides, confidence intervals, calibration bins and the verdict."""

    metric: Literal["accuracy", "balanced_accuracy", "macro_f1"] = "accuracy"
    confidence: Share
    resamples: Annotated[int, Field(ge=1000, le=1_000_000)]
    seed: Seed
    bins: Annotated[int, Field(ge=2, le=100)]
    worthwhile_gain: Share
    assumed_regressions: Annotated[float, Field(ge=0, lt=0.5)]
    equivalence_margin: Share | None = None


class Failures(Section):
    """How many failure cases are shown, and their nearest neighbours."""

    show: Annotated[int, Field(ge=6, le=12)]
    neighbours: Annotated[int, Field(ge=1, le=50)]
    min_cases: Annotated[int, Field(ge=3)]
    confident_probability: ZeroToOne


class Pack(Section):
    """The evidence pack."""

    page_limit_mb: Positive


class TaskSections(Section):
    """A task: its kind, and a section for each stage that has params.

    A kind's schema derives from this, sets `kind` to a literal and adds its sections.
    """

    kind: str
    pack: Pack
