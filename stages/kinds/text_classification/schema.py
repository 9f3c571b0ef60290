"""The params of a text classification task, and the rules between its sections."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from stages.core.schema import (
    Candidates,
    CheckNetwork,
    Count,
    EvaluateClassifier,
    Failures,
    Name,
    PrepareTexts,
    Section,
    TaskSections,
    TrainClassifier,
    ZeroToOne,
)

MINILM_LAYERS = 6


def _distinct_words(text: str) -> str:
    words = text.split()
    if len(set(words)) < len(words) or text != text.casefold():
        raise ValueError("must be distinct words in lower case, separated by spaces")
    return text


Words = Annotated[str, Field(min_length=1), AfterValidator(_distinct_words)]


class Negation(Section):
    """The rule by which a negated keyword counts for the other classes."""

    words: Words
    window: Count


class FrozenMiniLM(Section):
    """Logistic regression on MiniLM's embeddings of the texts, which stay as they are."""

    max_tokens: Annotated[int, Field(ge=8, le=512)]
    max_samples: Count


class TextBaseline(Section):
    """The simple methods: keyword counts, a negation rule, TF-IDF, NB-SVM, frozen embeddings."""

    keywords: dict[str, Words] | None
    negation: Negation
    regularisation: Candidates
    svm_regularisation: Candidates
    svm_interpolation: ZeroToOne
    max_iterations: Count
    max_samples: Count
    frozen_minilm: FrozenMiniLM | None = None


class Scratch(Section):
    """The small Transformer that is trained from scratch."""

    layers: Annotated[int, Field(ge=1, le=24)]
    width: Annotated[int, Field(ge=8, le=2048)]
    heads: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width (given {self.width}) must be a multiple of heads (given {self.heads})"
            )
        return self


class TrainTexts(TrainClassifier):
    """The network for texts and its training."""

    model: Literal["minilm", "scratch"]
    train_layers: Annotated[int, Field(ge=0, le=MINILM_LAYERS)]
    scratch: Scratch
    max_tokens: Annotated[int, Field(ge=8, le=512)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class EvaluateTexts(EvaluateClassifier):
    """Intervals and the verdict; the lengths and the column by which results are sliced."""

    lengths: Annotated[list[Count], Field(min_length=1)]
    bucket_by: Name | None

    @field_validator("lengths")
    @classmethod
    def _rising(cls, lengths: list[int]) -> list[int]:
        if sorted(set(lengths)) != lengths:
            raise ValueError("must rise: the longest text, in words, of each slice but the last")
        return lengths


class FailuresOfTexts(Failures):
    """How many failure cases are shown, and for how many the words are weighed."""

    explain: Count


class TextClassification(TaskSections):
    """A task of this kind."""

    kind: Literal["text_classification"]
    prepare: PrepareTexts
    check: CheckNetwork
    baseline: TextBaseline
    train: TrainTexts
    evaluate: EvaluateTexts
    failures: FailuresOfTexts

    @model_validator(mode="after")
    def _buckets_are_a_slice(self) -> Self:
        column, slices = self.evaluate.bucket_by, self.prepare.columns.slices
        if column is not None and column not in slices:
            raise ValueError(
                f"evaluate.bucket_by (given {column!r}) must be null, or one of "
                f"prepare.columns.slices ({', '.join(slices) or 'none'})"
            )
        return self

    @model_validator(mode="after")
    def _keywords_match_the_classes(self) -> Self:
        classes, keywords = self.prepare.classes, self.baseline.keywords
        if keywords is not None and classes is None:
            raise ValueError(
                "baseline.keywords must be null where prepare.classes is; list the classes first"
            )
        if keywords is not None and sorted(keywords) != sorted(classes or ()):
            raise ValueError(
                f"baseline.keywords (given for {', '.join(keywords) or 'none'}) must be null, or "
                f"name words for each of prepare.classes ({', '.join(classes or ())})"
            )
        return self
