"""Params: check params.yaml whole, before anything else is touched.

`python -m stages.params` is the pipeline's first stage, and every other one comes after it: so a
wrong params.yaml stops `dvc repro` before DVC removes a single output. What it writes never
changes, so a change of params re-runs only the stages that use it.
"""

import difflib
import re
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from stages.shared.files import write
from stages.shared.refusal import Refusal, refusing
from stages.shared.strict_yaml import read_yaml

FILE = Path("params.yaml")
_SHOWN = 120
SOUND = Path("data/params/sound.txt")

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


class CheckClassifier(Section):
    """What must hold before a classifier is trained."""

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


class Augment(Section):
    """Random change of each training image."""

    rotate: Annotated[float, Field(ge=0, le=180)]
    translate: Annotated[float, Field(ge=0, le=0.5)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    shear: Annotated[float, Field(ge=0, le=1)]
    flip: bool


class TrainClassifier(Section):
    """How a classifier is trained."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                "must name each seed once: a repeated one would count as evidence twice"
            )
        return seeds


class TrainImages(TrainClassifier):
    """The network for images and its training."""

    model: Literal["residual", "resnet18"]
    channels: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1)]
    start_from: Annotated[str, Field(min_length=1)] | None
    augment: Augment

    @model_validator(mode="after")
    def _weights_fit_the_model(self) -> Self:
        if self.start_from and Path(self.start_from).parts[:2] == ("data", "train"):
            raise ValueError("start_from must lie outside data/train, which DVC empties first")
        if self.start_from == "imagenet" and self.model != "resnet18":
            raise ValueError("start_from: imagenet needs model: resnet18")
        return self


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


class Pack(Section):
    """The evidence pack."""

    page_limit_mb: Positive


class Image(Section):
    """The task image: a section a stage."""

    prepare: PrepareImages
    check: CheckClassifier
    baseline: ImageBaseline
    train: TrainImages
    evaluate: EvaluateClassifier
    failures: Failures
    pack: Pack


class Sentiment(Section):
    """The task sentiment: a section a stage."""

    prepare: PrepareTexts
    check: CheckClassifier
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


class Params(Section):
    """All of params.yaml: how the machine is used, and a section a task."""

    runtime: Runtime
    image: Image
    sentiment: Sentiment

    @model_validator(mode="after")
    def _batches_can_be_shared(self) -> Self:
        devices = self.runtime.devices
        for task in ("image", "sentiment"):
            size = getattr(self, task).train.batch_size
            if size % devices or size < 2 * devices:
                raise ValueError(
                    f"{task}.train.batch_size (given {size}) must be a multiple of runtime.devices "
                    f"(given {devices}), and at least twice that"
                )
        return self


def load(path: Path | None = None) -> Params:
    """Return the checked params.

    Raises:
        Refusal: the file is missing, is not YAML, or holds an unknown, missing, mistyped or
            out-of-range key; the line names the file, the key, what was given, what is allowed and,
            for an unknown key, the nearest known one.
    """
    path = path or FILE
    try:
        return Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise Refusal(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """Return one line on the first thing that is wrong, and how many more there are."""
    # A misspelt key is both unknown and missing: the unknown one says more.
    first = min(
        error.errors(), key=lambda found: found["type"] not in {"extra_forbidden", "invalid_key"}
    )
    where = ".".join(str(part) for part in first["loc"]) or "the whole file"
    line = f"{where}: {_sentence(first)}"
    more = error.error_count() - 1
    return f"{line} (and {more} more)" if more else line


def _sentence(error: Any) -> str:
    kind: str = error["type"]
    given: object = error["input"]
    if kind == "missing":
        return "this key is missing; add it (params.yaml in git shows its default)"
    if kind == "extra_forbidden":
        known = _keys(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0)
        nearest = f"; the nearest known key is {near[0]!r}" if near else ""
        return f"unknown key{nearest} (known: {', '.join(known)})"
    allowed: str = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if kind in {"model_type", "model_attributes_type"}:
        return "must be a section with keys of its own"
    if not isinstance(given, dict):
        shown = repr(given)
        allowed = f"given {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}; {allowed}"
    if isinstance(given, str) and re.fullmatch(r"[-+]?[\d.]+e[-+]?\d+", given, re.IGNORECASE):
        allowed += " (YAML reads this as text: write it as 0.001, or 1.0e-3)"
    return allowed


def _keys(loc: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Params
    for part in loc:
        field = model.model_fields[part].annotation
        if not (isinstance(field, type) and issubclass(field, BaseModel)):
            return []
        model = field
    return list(model.model_fields)


def look_at_sources(params: Params) -> None:
    """Look whether each task's raw data are there, without reading them.

    Raises:
        Refusal: a folder or file is missing, is no folder or file, or is empty.
    """
    image, sentiment = params.image.prepare, params.sentiment.prepare
    _look("image", image.path, image.source, download=image.source == "torchvision", folder=True)
    _look("sentiment", sentiment.path, sentiment.source, download=False, folder=False)


def _look(task: str, given: str, source: str, *, download: bool, folder: bool) -> None:
    where = f"{FILE}: {task}.prepare.path: given {given!r}"
    kind = "folder" if folder else "file"
    try:
        path = Path(given)
        if download:
            path.mkdir(parents=True, exist_ok=True)
            return
        if not (path.is_dir() if folder else path.is_file()):
            raise Refusal(f"{where}; must be a {kind} that is there (source: {source})")
        if not (any(path.iterdir()) if folder else path.stat().st_size):
            raise Refusal(f"{where}; the {kind} is empty (source: {source})")
    except (OSError, RuntimeError, ValueError) as error:  # no such user, no right, a NUL in it
        raise Refusal(f"{where}; cannot be used ({error})") from None


def main() -> None:
    """Check params.yaml and whether the raw data that it names are there."""
    with refusing("params"):
        look_at_sources(load())
        write(SOUND, "Every key of params.yaml is known, and its value allowed.\n")


if __name__ == "__main__":
    main()
