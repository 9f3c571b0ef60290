"""Baselines for texts: class shares, keywords, TF-IDF, NB-SVM, and MiniLM's embeddings as they are."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.runtime import seed_for
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.texts.packed import PackedTexts, split_words
from stages.evaluation.baselines import (
    FittedBaselines,
    class_shares,
    compare_baselines,
    require_two_classes,
    softmax,
)
from stages.evaluation.linear_models import (
    choose_regularisation,
    fit_nbsvm,
    fit_unit_scale,
    inverse_temperature,
    logistic_regression,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import CountVectorizer

    from stages.core.task import Task
    from stages.evaluation.linear_models import LinearModel
    from stages.kinds.text_classification.schema import Negation, TextBaseline

KEYWORDS, NEGATION = "keyword counts", "keywords with a negation rule"
TFIDF, NBSVM = "TF-IDF and logistic regression", "NB-SVM"
MOST_FREQUENT, FROZEN = "most frequent class", "frozen MiniLM and logistic regression"
_CLAUSE_END = re.compile(r"[.,;:!?()]")

# Texts -> probabilities (n, classes), float32.
PredictTexts = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class TextMethod:
    """One fitted baseline.

    Attributes:
        predict: texts -> probabilities (n, classes), float32.
        sample: the positions within the training split that it was fitted on.
        arrays: its parameters, float32.
        regularisation: every C that was tried, of a linear method.
        converged: whether fitting converged.
    """

    predict: PredictTexts
    sample: np.ndarray
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    regularisation: dict[str, Any] | None = None
    converged: bool = True


def fit(task: "Task") -> FittedBaselines:
    """Fit the baselines on the training data; validation data choose the one to beat."""
    params: TextBaseline = task.params.baseline
    dataset = read_dataset(task)
    packed = PackedTexts(task.folder("prepare") / "texts.bin")
    labels = dataset.labels("train")
    sample = dataset.draw("train", params.max_samples, seed_for("baseline sample"))
    require_two_classes(labels[sample], task.key("baseline.max_samples"), params.max_samples)
    texts = {split: packed.at(dataset.rows(split)) for split in ("train", "validation", "test")}
    methods = _simple_methods(dataset, params)
    terms, metric = count_terms(texts, sample, dataset), task.params.evaluate.metric
    methods[TFIDF] = _tfidf(terms, sample, params, metric)
    methods[NBSVM] = _nbsvm(terms, sample, params, metric)
    if params.frozen_minilm is not None:
        methods[FROZEN] = _frozen_minilm(task, texts, dataset)

    def predict(name: str, split: str) -> np.ndarray:
        method = methods[name]
        part = texts[split]
        return method.predict([part[i] for i in method.sample] if split == "train" else part)

    baselines = compare_baselines(
        dataset,
        {name: len(method.sample) for name, method in methods.items()},
        predict,
        {name: labels[method.sample] for name, method in methods.items()},
        {
            "input": "the words of each text in lower case; frozen MiniLM: its tokens",
            "converged": all(method.converged for method in methods.values()),
            "regularisation": {
                name: method.regularisation
                for name, method in methods.items()
                if method.regularisation
            },
        },
        {key: array for method in methods.values() for key, array in method.arrays.items()},
        metric,
    )
    vocabulary = "\n".join(terms.counter.get_feature_names_out()) + "\n"
    return replace(baselines, extra_files={"vocabulary.txt": vocabulary})


def keyword_counts(
    text: str, keywords: Mapping[str, frozenset[str]], negation: "Negation | None"
) -> list[float]:
    """Return how many keywords of each class a text contains.

    With `negation`, a keyword counts for the other classes (in equal parts) if a negating word, one of
    `words` or any that ends in n't, occurs at most `window` words before it in the same clause.

    Args:
        text: any.
        keywords: by class.
        negation: the rule; None: keywords are counted as they are.
    """
    counts = dict.fromkeys(keywords, 0.0)
    negating = frozenset(negation.words.split()) if negation else frozenset[str]()
    for clause in _CLAUSE_END.split(text):
        negated_words = 0  # how many of the next words are in the window of a negating word
        for word in split_words(clause):
            if negation and (word in negating or word.endswith("n't")):
                negated_words = negation.window
                continue
            for name, words in keywords.items():
                if word in words:
                    rest = [label for label in keywords if label != name]
                    counted = rest if negated_words else [name]
                    for label in counted:
                        counts[label] += 1 / len(counted)
            negated_words = max(0, negated_words - 1)
    return list(counts.values())


def _simple_methods(dataset: Dataset, params: "TextBaseline") -> dict[str, TextMethod]:
    """Return the class shares and, where the params name keywords, the keyword baselines, by name."""
    labels = dataset.labels("train")
    shares = class_shares(labels, len(dataset.classes))
    predictors: dict[str, PredictTexts] = {
        MOST_FREQUENT: lambda texts: np.tile(shares, (len(texts), 1))
    }
    if params.keywords is not None:
        keywords = {name: frozenset(params.keywords[name].split()) for name in dataset.classes}
        predictors[KEYWORDS] = keyword_predictor(keywords, shares, None)
        predictors[NEGATION] = keyword_predictor(keywords, shares, params.negation)
    positions = np.arange(len(labels))
    return {name: TextMethod(predict, positions) for name, predict in predictors.items()}


def keyword_predictor(
    keywords: Mapping[str, frozenset[str]], prior: np.ndarray, negation: "Negation | None"
) -> PredictTexts:
    """Return texts -> (counts + prior) / (total count + 1).

    Args:
        keywords: by class.
        prior: (classes,), the classes' shares of the training data.
        negation: as for `keyword_counts`.
    """

    def predict(texts: Sequence[str]) -> np.ndarray:
        counts = np.array([keyword_counts(text, keywords, negation) for text in texts])
        shares: np.ndarray = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1)
        return shares.astype(np.float32)

    return predict


@dataclass(frozen=True)
class CountedTerms:
    """How often each term, a word or a pair of neighbouring words, occurs in texts.

    Attributes:
        counter: texts -> counts (n, terms).
        train: counts of the texts to fit on, (n, terms).
        validation: counts of the validation texts.
        labels: of the texts to fit on, (n,).
        validation_labels: of the validation texts.
        classes: how many there are.
    """

    counter: "CountVectorizer"
    train: "csr_array"
    validation: "csr_array"
    labels: np.ndarray
    validation_labels: np.ndarray
    classes: int


def count_terms(
    texts: Mapping[str, Sequence[str]], sample: np.ndarray, dataset: Dataset
) -> CountedTerms:
    """Return the counted terms of the texts of "train" at `sample`, and of "validation"."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=terms_of, dtype=np.float64)
    counts = counter.fit_transform([texts["train"][index] for index in sample])
    return CountedTerms(
        counter,
        csr_array(counts),
        csr_array(counter.transform(texts["validation"])),
        dataset.labels("train")[sample],
        dataset.labels("validation"),
        len(dataset.classes),
    )


def _tfidf(
    terms: CountedTerms, sample: np.ndarray, params: "TextBaseline", metric: str
) -> TextMethod:
    """Return logistic regression on TF-IDF with sublinear counts, fitted on the texts at `sample`."""
    from sklearn.feature_extraction.text import TfidfTransformer

    tfidf = TfidfTransformer(sublinear_tf=True).fit(terms.train)
    selection = choose_regularisation(
        params.regularisation,
        logistic_regression(
            tfidf.transform(terms.train), terms.labels, terms.classes, params.max_iterations
        ),
        (tfidf.transform(terms.validation), terms.validation_labels),
        metric,
    )
    model = selection.model
    return TextMethod(
        lambda texts: softmax(model.logits(tfidf.transform(terms.counter.transform(texts)))),
        sample,
        {"tfidf.idf": tfidf.idf_.astype(np.float32), **_arrays("tfidf", model)},
        selection.summary,
        model.converged,
    )


def _nbsvm(
    terms: CountedTerms, sample: np.ndarray, params: "TextBaseline", metric: str
) -> TextMethod:
    """Return NB-SVM, fitted on the texts at `sample`, with its temperature on validation data."""
    presence, validation = _presence(terms.train), _presence(terms.validation)
    beta, iterations = params.svm_interpolation, params.max_iterations
    selection = choose_regularisation(
        params.svm_regularisation,
        lambda c: fit_nbsvm(presence, terms.labels, terms.classes, c, beta, iterations),
        (validation, terms.validation_labels),
        metric,
    )
    model = selection.model
    scale = inverse_temperature(model.logits(validation), terms.validation_labels)
    return TextMethod(
        lambda texts: softmax(scale * model.logits(_presence(terms.counter.transform(texts)))),
        sample,
        _arrays("nbsvm", model, scale),
        selection.summary,
        model.converged,
    )


def _presence(counts: Any) -> "csr_array":
    """Return 1 where a text contains a term, (n, terms), from the counts of terms."""
    from scipy.sparse import csr_array

    return csr_array((counts > 0).astype(np.float64))


def _arrays(name: str, model: "LinearModel", scale: float = 1.0) -> dict[str, np.ndarray]:
    return {
        f"{name}.weights": (model.weights * scale).astype(np.float32),
        f"{name}.bias": (model.bias * scale).astype(np.float32),
    }


def _frozen_minilm(
    task: "Task", texts: Mapping[str, Sequence[str]], dataset: Dataset
) -> TextMethod:
    """Return logistic regression on MiniLM's embeddings: the mean of the tokens' last states.

    Each text is embedded once.
    """
    from stages.core.runtime import set_deterministic, torch_device
    from stages.kinds.text_classification.model import predict_batches, pretrained_minilm

    params: TextBaseline = task.params.baseline
    settings = params.frozen_minilm
    assert settings is not None  # noqa: S101 (for the type checker)
    sample = dataset.draw("train", settings.max_samples, seed_for("baseline sample"))
    labels = dataset.labels("train")[sample]
    require_two_classes(
        labels, task.key("baseline.frozen_minilm.max_samples"), settings.max_samples
    )
    set_deterministic(task.runtime)
    device = torch_device(task.runtime)
    network = pretrained_minilm().eval().to(device)

    @cache
    def embed(texts: tuple[str, ...]) -> np.ndarray:
        return predict_batches(network.embed, texts, settings.max_tokens, device)

    training = embed(tuple(texts["train"][index] for index in sample))
    scale = fit_unit_scale(training)

    def inputs(texts: Sequence[str]) -> np.ndarray:
        return scale.apply(embed(tuple(texts)))

    training = scale.apply(training)
    selection = choose_regularisation(
        params.regularisation,
        logistic_regression(training, labels, len(dataset.classes), params.max_iterations),
        (inputs(texts["validation"]), dataset.labels("validation")),
        task.params.evaluate.metric,
    )
    return TextMethod(
        lambda texts: softmax(selection.model.logits(inputs(texts))),
        sample,
        {
            "minilm.mean": scale.mean,
            "minilm.scale": np.array([scale.factor], dtype=np.float32),
            **_arrays("minilm", selection.model),
        },
        selection.summary,
        selection.model.converged,
    )


def terms_of(text: str) -> list[str]:
    """Return the words of a text and the pairs of neighbouring words."""
    words = split_words(text)
    return words + [" ".join(pair) for pair in pairwise(words)]
