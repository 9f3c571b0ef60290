"""The schema of params.yaml: every key, its type, what it may be, and what must agree.

One class a section; a section of a task is a stage.
"""

import re
import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

_GROUP = 8  # channels of the flow that are normalised together, as its model.py has it

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
ZeroToOne = Annotated[float, Field(ge=0, le=1)]


def _whole(value: Any) -> Any:
    """Refuse what only equals a whole number: true is no 1, nor is 1.0."""
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


class Section(BaseModel):
    """A section of params.yaml: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Runtime(Section):
    """How the machine is used."""

    threads: Annotated[int, Field(ge=1, le=256)]
    cpu: Literal["avx2", "native"]
    device: Literal["cpu", "cuda", "mps", "auto"]
    devices: Count
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "64-true"]


class Reruns(Section):
    """What `python -m stages.band` changes, one at a time, to see how far metrics lie apart."""

    threads: list[Annotated[int, Field(ge=1, le=256)]]
    cpu: list[Literal["avx2", "native"]]
    device: list[Literal["cpu", "cuda", "mps"]]
    seeds: Annotated[int, Field(ge=0, le=100)]


class Split(Section):
    """How samples are held out."""

    test: Share
    validation: Share
    seed: Seed

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError("test + validation must leave a share to train on (below 1)")
        return self


class PrepareImages(Section):
    """From files or arrays to one packed array of images, split."""

    source: Literal["digits", "folder", "torchvision"]
    path: Annotated[str, Field(min_length=1)]
    dataset: Literal["MNIST", "FashionMNIST", "CIFAR10"] | None
    group_pattern: str | None
    size: Annotated[int, Field(ge=4, le=1024)]
    channels: Annotated[Literal[1, 3], BeforeValidator(_whole)]
    unreadable: Literal["list", "refuse"]
    max_pixels: Count
    min_per_class: Annotated[int, Field(ge=3)]
    near_duplicate: ZeroToOne
    split: Split

    @field_validator("group_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    groups = re.compile(pattern).groups
            except (re.error, OverflowError, RecursionError, FutureWarning) as error:
                raise ValueError(f"must be a regular expression ({error})") from None
            if groups < 1:
                raise ValueError("must hold a group in parentheses")
        return pattern

    @model_validator(mode="after")
    def _fits_its_source(self) -> Self:
        if (self.dataset is not None) != (self.source == "torchvision"):
            raise ValueError("dataset must be named for source: torchvision, and be null otherwise")
        if self.group_pattern is not None and self.source != "folder":
            raise ValueError("group_pattern is for source: folder; it must be null otherwise")
        return self


def _each_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("must name each once")
    return names


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], AfterValidator(_each_once)]


class Columns(Section):
    """Which column of a CSV file holds what."""

    text: Name
    label: Name
    id: Name | None
    group: Name | None
    slices: Names

    @field_validator("slices")
    @classmethod
    def _not_a_word_of_ours(cls, slices: list[str]) -> list[str]:
        taken = {"row", "id", "label", "group", "split", "official_test", "length", "kind", "value"}
        for name in slices:
            if name in taken:
                raise ValueError(f"must not use {name!r}, which the samples' table has already")
        return slices


class PrepareTexts(Section):
    """From a CSV file to one packed array of texts, split."""

    source: Literal["reviews", "csv"]
    path: Name
    columns: Columns
    classes: Annotated[Names, Field(min_length=2)]
    min_per_class: Annotated[int, Field(ge=3)]
    near_duplicate: Annotated[float, Field(gt=0, le=1)]
    split: Split


class CheckNetwork(Section):
    """What must hold before a network is trained."""

    batch_size: Annotated[int, Field(ge=2)]
    first_loss_tolerance: Positive
    overfit_steps: Count
    overfit_loss: Positive


class ImageBaseline(Section):
    """Nearest prototype and logistic regression."""

    regularisation: Positive
    max_iterations: Count
    fit_on_at_most: Count


def _distinct_words(text: str) -> str:
    words = text.split()
    if len(set(words)) < len(words) or text != text.casefold():
        raise ValueError("must be distinct words in small letters, blanks between them")
    return text


Words = Annotated[str, Field(min_length=1), AfterValidator(_distinct_words)]


class Negation(Section):
    """When a keyword counts for the other class."""

    words: Words
    reach: Count


class TextBaseline(Section):
    """The ladder: keywords, negation, TF-IDF, NB-SVM."""

    keywords: dict[str, Words] | None
    negation: Negation
    regularisation: Positive
    svm_regularisation: Positive
    svm_interpolation: ZeroToOne
    max_iterations: Count
    fit_on_at_most: Count


class PrepareStripes(Section):
    """From a seed to one packed array of stripes, split."""

    path: ClassVar[str] = "stages/tasks/workshop/stripes.py"
    source: ClassVar[str] = "stripes"
    channels: ClassVar[int] = 1
    unreadable: ClassVar[str] = "refuse"
    max_pixels: ClassVar[int] = 50_000_000  # of a file that is to be predicted

    seed: Seed
    per_class: Annotated[int, Field(le=100_000)]
    size: Annotated[int, Field(ge=8, le=256)]
    difficulty: ZeroToOne
    min_per_class: Annotated[int, Field(ge=3)]
    near_duplicate: ZeroToOne
    split: Split

    @model_validator(mode="after")
    def _enough_are_drawn(self) -> Self:
        if self.per_class < self.min_per_class:
            raise ValueError(
                f"per_class (given {self.per_class}) must be at least min_per_class "
                f"({self.min_per_class})"
            )
        return self


class Augment(Section):
    """Random change of each training image."""

    rotate: Annotated[float, Field(ge=0, le=180)]
    translate: Annotated[float, Field(ge=0, le=0.5)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    shear: Annotated[float, Field(ge=0, le=1)]
    flip: bool


def _seeds_once(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must name each seed once: a repeated one would count as evidence twice")
    return seeds


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_seeds_once)]
Channels = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FitClassifier(Section):
    """How one classifier is fitted."""

    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class WorkshopBaseline(FitClassifier):
    """Flatten + linear, by the shared loop."""

    seed: Seed


class TrainClassifier(FitClassifier):
    """How a classifier is trained, once a seed."""

    seeds: Seeds


class TrainImages(TrainClassifier):
    """The network for images and its training."""

    model: Literal["residual", "resnet18"]
    channels: Channels
    start_from: Annotated[str, Field(min_length=1)] | None
    augment: Augment

    @model_validator(mode="after")
    def _weights_fit_the_model(self) -> Self:
        if self.start_from and Path(self.start_from).parts[:2] == ("data", "train"):
            raise ValueError("start_from must lie outside data/train, which DVC empties first")
        if self.start_from == "imagenet" and self.model != "resnet18":
            raise ValueError("start_from: imagenet needs model: resnet18")
        return self


class TrainStripes(TrainClassifier):
    """The tiny CNN and its training."""

    channels: Channels


class Scratch(Section):
    """The small Transformer that is trained from nothing."""

    layers: Annotated[int, Field(ge=1, le=24)]
    width: Annotated[int, Field(ge=8, le=2048)]
    heads: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width (given {self.width}) must be a multiple of heads (given {self.heads})"
            )
        return self


class TrainTexts(TrainClassifier):
    """The network for texts and its training."""

    model: Literal["minilm", "scratch"]
    train_layers: Annotated[int, Field(ge=0, le=6)]
    scratch: Scratch
    max_tokens: Annotated[int, Field(ge=8, le=512)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class EvaluateClassifier(Section):
    """Intervals and the verdict."""

    confidence: Share
    resamples: Annotated[int, Field(ge=1000, le=1_000_000)]
    seed: Seed
    bins: Annotated[int, Field(ge=2, le=100)]
    worthwhile_gain: Share
    assumed_regressions: Annotated[float, Field(ge=0, lt=0.5)]


class EvaluateTexts(EvaluateClassifier):
    """Intervals and the verdict; by which lengths and buckets results are shown."""

    lengths: Annotated[list[Count], Field(min_length=1)]
    bucket_by: Name | None

    @field_validator("lengths")
    @classmethod
    def _rising(cls, lengths: list[int]) -> list[int]:
        if sorted(set(lengths)) != lengths:
            raise ValueError("must rise: the longest text, in words, of each slice but the last")
        return lengths


class Failures(Section):
    """Which cases are shown, and with what."""

    show: Annotated[int, Field(ge=6, le=12)]
    neighbours: Annotated[int, Field(ge=1, le=50)]
    at_least: Annotated[int, Field(ge=3)]
    suspect_margin: ZeroToOne


class FailuresOfTexts(Failures):
    """Which cases are shown, and of how many the words are weighed."""

    per_bucket: Annotated[int, Field(ge=3, le=12)]
    explain: Count


class Judge(FitClassifier):
    """The classifier that judges samples."""

    channels: Channels


class Vae(Section):
    """The small variational autoencoder."""

    latent: Annotated[int, Field(ge=1, le=1024)]
    width: Annotated[int, Field(ge=1, le=8192)]
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive


class GenerativeBaseline(Section):
    """Gaussians by class, a small VAE, and the judge."""

    axes: Count
    fit_on_at_most: Annotated[int, Field(ge=100)]
    vae: Vae
    judge: Judge


class TrainFlow(Section):
    """The flow and its training."""

    seeds: Seeds
    log_every: Count
    review: Annotated[list[Count], Field(min_length=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    average: Annotated[float, Field(ge=0, lt=1)]
    label_dropout: Annotated[float, Field(ge=0, lt=1)]
    channels: Channels

    @property
    def steps(self) -> int:
        """Return how many steps are trained: up to the last one that is reviewed."""
        return self.review[-1]

    @property
    def epochs(self) -> int:
        """Return how many rows the log has."""
        return self.steps // self.log_every

    @field_validator("channels")
    @classmethod
    def _in_groups(cls, channels: list[int]) -> list[int]:
        if any(width % _GROUP for width in channels):
            raise ValueError(f"must be multiples of {_GROUP}, which are normalised together")
        return channels

    @model_validator(mode="after")
    def _reviewed_where_logged(self) -> Self:
        every, review = self.log_every, self.review
        if sorted(set(review)) != review or any(step % every for step in review):
            raise ValueError(
                f"review (given {review}) must rise, each step a multiple of log_every ({every})"
            )
        return self


class EvaluateFlow(Section):
    """How samples are made and measured, and by which rule a checkpoint is chosen."""

    confidence: Share
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Seed
    samples: Annotated[int, Field(ge=50, le=5000)]
    sampling_seeds: Seeds
    guidance: NotNegative
    solver_steps: Annotated[int, Field(ge=1, le=1000)]
    neighbours: Annotated[int, Field(ge=1, le=50)]
    close_share: Share
    hold_diversity: ZeroToOne
    worthwhile_gain: Share

    @model_validator(mode="after")
    def _more_than_neighbours(self) -> Self:
        if self.samples <= self.neighbours:
            raise ValueError(
                f"samples (given {self.samples}) must be more than neighbours (given {self.neighbours})"
            )
        return self


class FailuresOfSamples(Section):
    """Which samples are shown as failures."""

    per_bucket: Annotated[int, Field(ge=3, le=12)]


class Pack(Section):
    """The evidence pack."""

    page_limit_mb: Positive


class Image(Section):
    """The task image: a section a stage."""

    prepare: PrepareImages
    check: CheckNetwork
    baseline: ImageBaseline
    train: TrainImages
    evaluate: EvaluateClassifier
    failures: Failures
    pack: Pack


class Sentiment(Section):
    """The task sentiment: a section a stage."""

    prepare: PrepareTexts
    check: CheckNetwork
    baseline: TextBaseline
    train: TrainTexts
    evaluate: EvaluateTexts
    failures: FailuresOfTexts
    pack: Pack

    @model_validator(mode="after")
    def _buckets_are_a_slice(self) -> Self:
        by, slices = self.evaluate.bucket_by, self.prepare.columns.slices
        if by is not None and by not in slices:
            raise ValueError(
                f"evaluate.bucket_by (given {by!r}) must be null, or one of prepare.columns.slices "
                f"({', '.join(slices) or 'none'})"
            )
        return self

    @model_validator(mode="after")
    def _keywords_are_of_the_classes(self) -> Self:
        classes = self.prepare.classes
        if self.baseline.keywords is not None and sorted(self.baseline.keywords) != sorted(classes):
            raise ValueError(
                f"baseline.keywords (given for {', '.join(self.baseline.keywords) or 'none'}) must be "
                f"null, or name words for each of prepare.classes ({', '.join(classes)})"
            )
        return self


class Generative(Section):
    """The task generative: a section a stage."""

    prepare: PrepareImages
    check: CheckNetwork
    baseline: GenerativeBaseline
    train: TrainFlow
    evaluate: EvaluateFlow
    failures: FailuresOfSamples
    pack: Pack

    @model_validator(mode="after")
    def _guidance_knows_no_label(self) -> Self:
        if self.train.label_dropout == 0 and self.evaluate.guidance != 1:
            raise ValueError(
                f"evaluate.guidance (given {self.evaluate.guidance:g}) must be 1 where "
                "train.label_dropout is 0: the network has never been asked without a label"
            )
        return self

    @model_validator(mode="after")
    def _sides_can_be_halved(self) -> Self:
        halvings = len(self.train.channels) - 1
        if self.prepare.size % 2**halvings:
            raise ValueError(
                f"prepare.size (given {self.prepare.size}) must be a multiple of {2**halvings}: "
                f"train.channels names {halvings + 1} levels, each at half the side of the one before"
            )
        return self


class Workshop(Section):
    """The task workshop: a section a stage."""

    prepare: PrepareStripes
    check: CheckNetwork
    baseline: WorkshopBaseline
    train: TrainStripes
    evaluate: EvaluateClassifier
    failures: Failures
    pack: Pack

    @model_validator(mode="after")
    def _sides_can_be_halved(self) -> Self:
        least = 2 ** (len(self.train.channels) - 1)
        if self.prepare.size < least:
            raise ValueError(
                f"prepare.size (given {self.prepare.size}) must be at least {least}: train.channels "
                f"names {len(self.train.channels)} levels, each at half the side of the one before"
            )
        return self


class Params(Section):
    """All of params.yaml: how the machine is used, what is run again, and a section a task."""

    runtime: Runtime
    band: Reruns
    image: Image
    sentiment: Sentiment
    generative: Generative
    workshop: Workshop

    @classmethod
    def tasks(cls) -> list[str]:
        """Return the tasks' names, in their order."""
        return [name for name in cls.model_fields if name not in {"runtime", "band"}]

    @model_validator(mode="after")
    def _batches_can_be_shared(self) -> Self:
        devices = self.runtime.devices
        for task in self.tasks():
            size = getattr(self, task).train.batch_size
            if size % devices or size < 2 * devices:
                raise ValueError(
                    f"{task}.train.batch_size (given {size}) must be a multiple of runtime.devices "
                    f"(given {devices}), and at least twice that"
                )
        return self
