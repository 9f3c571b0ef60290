"""Baselines for texts: keyword counts, a negation rule, TF-IDF with logistic regression, NB-SVM."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stages.core.runtime import seed_for
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.texts.packed import PackedTexts, split_words
from stages.evaluation.baselines import (
    NEVER,
    FittedBaselines,
    compare_baselines,
    require_two_classes,
    softmax,
    softmax_weights,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from stages.core.task import Task
    from stages.kinds.text_classification.schema import Negation, TextBaseline

KEYWORDS, NEGATION = "keyword counts", "keywords with a negation rule"
TFIDF, NBSVM = "TF-IDF and logistic regression", "NB-SVM"
_CLAUSE_END = re.compile(r"[.,;:!?()]")
_MAX_INVERSE_TEMPERATURE = 50.0

# Texts -> probabilities (n, classes), float32.
PredictTexts = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class LinearBaselines:
    """Logistic regression and NB-SVM, fitted on words and pairs of words.

    Attributes:
        predictors: by name.
        arrays: their parameters, float32.
        terms: the words and pairs of words, in the order of the weights.
        converged: whether both fits converged.
    """

    predictors: dict[str, PredictTexts]
    arrays: dict[str, np.ndarray]
    terms: list[str]
    converged: bool


def fit(task: "Task") -> FittedBaselines:
    """Fit the baselines on the training data; validation data choose the one to beat."""
    params: TextBaseline = task.params.baseline
    dataset = read_dataset(task.folder("prepare"))
    packed = PackedTexts(task.folder("prepare") / "texts.bin")
    labels = dataset.labels("train")
    sample = dataset.draw("train", params.max_samples, seed_for("baseline sample"))
    require_two_classes(labels[sample], task.key("baseline.max_samples"), params.max_samples)
    texts = {split: packed.at(dataset.rows(split)) for split in ("validation", "test")}
    texts["train"] = packed.at(dataset.rows("train")[sample])

    by_keywords = _keyword_predictors(dataset, params)
    linear = _fit_linear(texts, labels[sample], dataset, params)
    predictors = by_keywords | linear.predictors
    fitted_on = dict.fromkeys(by_keywords, len(labels))
    fitted_on |= dict.fromkeys(linear.predictors, len(sample))
    baselines = compare_baselines(
        dataset,
        fitted_on,
        lambda name, split: predictors[name](texts[split]),
        dict.fromkeys(fitted_on, labels[sample]),
        {"input": "the words of each text in lower case", "converged": linear.converged},
        linear.arrays,
    )
    return replace(baselines, extra_files={"vocabulary.txt": "\n".join(linear.terms) + "\n"})


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


def _keyword_predictors(dataset: Dataset, params: "TextBaseline") -> dict[str, PredictTexts]:
    """Return the keyword baselines by name; none where the params name no keywords."""
    if params.keywords is None:
        return {}
    keywords = {name: frozenset(params.keywords[name].split()) for name in dataset.classes}
    labels = dataset.labels("train")
    prior = np.bincount(labels, minlength=len(keywords)) / len(labels)
    return {
        KEYWORDS: keyword_predictor(keywords, prior, None),
        NEGATION: keyword_predictor(keywords, prior, params.negation),
    }


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


def _fit_linear(
    texts: Mapping[str, Sequence[str]],
    labels: np.ndarray,
    dataset: Dataset,
    params: "TextBaseline",
) -> LinearBaselines:
    """Fit logistic regression on TF-IDF, and NB-SVM with its temperature on validation data.

    Args:
        texts: of "train" (the sample to fit on) and "validation".
        labels: of the texts of "train".
        dataset: the prepared samples.
        params: of the stage baseline.
    """
    from scipy.sparse import csr_array
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    classes = len(dataset.classes)
    counter = CountVectorizer(analyzer=terms_of, dtype=np.float64)
    counts = csr_array(counter.fit_transform(texts["train"]))
    tfidf = TfidfTransformer(sublinear_tf=True).fit(counts)
    logistic = LogisticRegression(C=params.regularisation, max_iter=params.max_iterations)
    presence = csr_array((counts > 0).astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the pack says whether it converged
        logistic.fit(tfidf.transform(counts), labels)
        svm_weights, svm_bias, svm_converged = nbsvm(presence, labels, classes, params)
    weights, bias = softmax_weights(logistic, classes)

    def predict_tfidf(texts: Sequence[str]) -> np.ndarray:
        return softmax(tfidf.transform(counter.transform(texts)) @ weights.T + bias)

    def margins(texts: Sequence[str]) -> np.ndarray:
        presence = csr_array((counter.transform(texts) > 0).astype(np.float64))
        logits: np.ndarray = presence @ svm_weights.T + svm_bias
        return logits

    scale = inverse_temperature(margins(texts["validation"]), dataset.labels("validation"))
    arrays = {
        "tfidf.idf": tfidf.idf_,
        "tfidf.weights": weights,
        "tfidf.bias": bias,
        "nbsvm.weights": svm_weights * scale,
        "nbsvm.bias": svm_bias * scale,
    }
    return LinearBaselines(
        {TFIDF: predict_tfidf, NBSVM: lambda texts: softmax(scale * margins(texts))},
        {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()},
        list(counter.get_feature_names_out()),
        bool(logistic.n_iter_.max() < params.max_iterations) and svm_converged,
    )


def terms_of(text: str) -> list[str]:
    """Return the words of a text and the pairs of neighbouring words."""
    words = split_words(text)
    return words + [" ".join(pair) for pair in pairwise(words)]


def nbsvm(
    presence: "csr_array", labels: np.ndarray, classes: int, params: "TextBaseline"
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return weights (classes, terms), bias (classes,), and whether the fit converged.

    Wang and Manning (2012), section 2: presence of terms times their log-count ratio, a linear SVM on
    that, and its weights interpolated with their mean magnitude. With more than two classes, one
    against the rest.

    Args:
        presence: (n, terms), 1 where a text contains a term.
        labels: (n,).
        classes: how many; of two, the first one's logit is 0.
        params: svm_regularisation (C) and svm_interpolation (beta; 1 is the SVM alone).
    """
    from scipy.sparse import csr_array
    from sklearn.svm import LinearSVC

    weights = np.zeros((classes, presence.shape[1]))
    bias, converged = np.zeros(classes), True
    beta = params.svm_interpolation
    for label in range(1 if classes == 2 else 0, classes):  # noqa: PLR2004
        positive = labels == label
        if not positive.any():
            bias[label] = NEVER
            continue
        p, q = (1 + presence[rows].sum(axis=0) for rows in (positive, ~positive))
        ratio = np.log(p / p.sum()) - np.log(q / q.sum())
        svm = LinearSVC(C=params.svm_regularisation, dual=False, max_iter=params.max_iterations)
        svm.fit(csr_array(presence.multiply(ratio)), positive)
        coefficients = svm.coef_[0]
        weights[label] = ratio * ((1 - beta) * np.abs(coefficients).mean() + beta * coefficients)
        bias[label] = svm.intercept_[0]
        converged &= bool(np.max(svm.n_iter_) < params.max_iterations)
    return weights, bias, converged


def inverse_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor on logits (n, classes) that minimises the log loss of `labels` (n,).

    Temperature scaling (Guo et al., 2017, section 4.2): it turns margins into probabilities and changes
    no prediction.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def loss(factor: float) -> float:
        return float(-log_softmax(factor * logits, axis=1)[rows, labels].mean())

    bounds = (1e-3, _MAX_INVERSE_TEMPERATURE)
    return float(minimize_scalar(loss, bounds=bounds, method="bounded").x)
