"""The ladder of baselines for texts: keywords, negation, TF-IDF with logistic regression, NB-SVM."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.shared.baselines import (
    NEVER,
    Baselines,
    all_classes,
    ladder,
    refuse_lone_class,
    softmax,
)
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.runtime import seed_for
from stages.shared.texts.packed import Texts, words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from stages.shared.schema import Negation, TextBaseline
    from stages.shared.task import Task

KEYWORDS, NEGATION = "keyword counts", "keywords with a negation rule"
TFIDF, NBSVM = "TF-IDF and logistic regression", "NB-SVM"
_STOP = re.compile(r"[.,;:!?()]")
_STEEPEST = 50.0

Rung = Callable[[Sequence[str]], np.ndarray]


def keyword_counts(
    text: str, keywords: Mapping[str, frozenset[str]], negation: "Negation | None"
) -> list[float]:
    """Return how many keywords of each class a text holds.

    With `negation`, a keyword within `reach` words after a negating word (one of `words`, or any
    that ends in n't) and before the next stop counts for the other classes instead.
    """
    counts = dict.fromkeys(keywords, 0.0)
    negating = frozenset(negation.words.split()) if negation else frozenset[str]()
    for clause in _STOP.split(text):
        left = 0  # words that are still in reach of a negating one
        for word in words(clause):
            if negation and (word in negating or word.endswith("n't")):
                left = negation.reach
                continue
            for name, known in keywords.items():
                if word in known:
                    others = [other for other in keywords if other != name]
                    for counted in others if left else [name]:
                        counts[counted] += 1 / (len(others) if left else 1)
            left = max(0, left - 1)
    return list(counts.values())


def _keyword_rung(
    params: "TextBaseline", classes: list[str], prior: np.ndarray, negation: "Negation | None"
) -> Rung:
    """Return texts -> (counts + the classes' shares in training) / (all counts + 1)."""
    assert params.keywords is not None  # noqa: S101 (for the type checker)
    keywords = {name: frozenset(params.keywords[name].split()) for name in classes}

    def rung(texts: Sequence[str]) -> np.ndarray:
        counts = np.array([keyword_counts(text, keywords, negation) for text in texts])
        shares: np.ndarray = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1)
        return shares.astype(np.float32)

    return rung


def nbsvm(
    counts: "csr_array", labels: np.ndarray, classes: int, params: "TextBaseline"
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return weights (classes, terms), bias (classes,), and whether the fit converged.

    Wang and Manning (2012), section 2: presence of terms times their log-count ratio, a linear SVM
    on that, and its weights drawn towards their mean size. Of more than two classes each stands
    against the rest.

    Args:
        counts: (n, terms), 1 where a text holds a term.
        labels: (n,).
        classes: how many; of two, the first one's logit is 0.
        params: svm_regularisation (C) and svm_interpolation (beta; 1 is the SVM alone).
    """
    from scipy.sparse import csr_array
    from sklearn.svm import LinearSVC

    weights = np.zeros((classes, counts.shape[1]))
    bias, converged = np.zeros(classes), True
    for one in range(1 if classes == 2 else 0, classes):  # noqa: PLR2004
        mine = labels == one
        if not mine.any():
            bias[one] = NEVER
            continue
        inside, outside = (1 + counts[side].sum(axis=0) for side in (mine, ~mine))
        ratio = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
        model = LinearSVC(C=params.svm_regularisation, dual=False, max_iter=params.max_iterations)
        model.fit(csr_array(counts.multiply(ratio)), mine)
        found, beta = model.coef_[0], params.svm_interpolation
        weights[one] = ratio * ((1 - beta) * np.abs(found).mean() + beta * found)
        bias[one] = model.intercept_[0]
        converged &= bool(np.max(model.n_iter_) < params.max_iterations)
    return weights, bias, converged


def _steepness(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor on logits that gives validation data the lowest log loss.

    Guo et al. (2017), section 4.2, temperature scaling: it turns margins into probabilities and
    changes no prediction.
    """
    from scipy.optimize import minimize_scalar

    def loss(factor: float) -> float:
        scaled = factor * (logits - logits.max(axis=1, keepdims=True))
        given = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
        return float(-given.mean())

    return float(minimize_scalar(loss, bounds=(1e-3, _STEEPEST), method="bounded").x)


def fit(task: "Task") -> Baselines:
    """Fit the ladder on the training data; the strongest on validation data is the one to beat."""
    from sklearn.exceptions import ConvergenceWarning

    params: TextBaseline = task.params.baseline
    dataset = read_dataset(task.folder("prepare"))
    packed = Texts(task.folder("prepare") / "texts.bin")
    some = dataset.draw("train", params.fit_on_at_most, seed_for("baseline sample"))
    labels = dataset.labels("train")
    refuse_lone_class(labels[some], "sentiment.baseline.fit_on_at_most", params.fit_on_at_most)
    rows = {split: dataset.rows(split) for split in ("validation", "test")}
    texts = {split: packed.at(where) for split, where in rows.items()}
    texts["train"] = packed.at(dataset.rows("train")[some])

    rungs: dict[str, Rung] = {}
    if params.keywords is not None:
        prior = np.bincount(labels, minlength=len(dataset.classes)) / len(labels)
        rungs[KEYWORDS] = _keyword_rung(params, dataset.classes, prior, None)
        rungs[NEGATION] = _keyword_rung(params, dataset.classes, prior, params.negation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the pack says whether it converged
        linear, arrays, terms, converged = _linear(texts, labels[some], dataset, params)
    rungs |= linear
    fitted_on = {name: len(some) if name in linear else len(labels) for name in rungs}
    found = ladder(
        dataset,
        fitted_on,
        lambda name, split: rungs[name](texts[split]),
        labels[some],
        {"sees": "each text as words in small letters", "converged": converged},
        arrays,
    )
    return replace(found, more={"vocabulary.txt": "\n".join(terms) + "\n"})


def _linear(
    texts: Mapping[str, Sequence[str]], labels: np.ndarray, dataset: Dataset, params: "TextBaseline"
) -> tuple[dict[str, Rung], dict[str, np.ndarray], list[str], bool]:
    """Return the two methods on one and two words, what was fitted, its terms, if it converged."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    counter = CountVectorizer(analyzer=_terms, dtype=np.float64)
    counts = csr_array(counter.fit_transform(texts["train"]))
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts)
    logistic = LogisticRegression(C=params.regularisation, max_iter=params.max_iterations)
    logistic.fit(weigh.transform(counts), labels)
    classes = len(dataset.classes)
    weights, bias = all_classes(logistic, classes)
    present = csr_array((counts > 0).astype(np.float64))
    svm_weights, svm_bias, svm_converged = nbsvm(present, labels, classes, params)

    def margins(given: Sequence[str]) -> np.ndarray:
        there = csr_array((counter.transform(given) > 0).astype(np.float64))
        found: np.ndarray = there @ svm_weights.T + svm_bias
        return found

    factor = _steepness(margins(texts["validation"]), dataset.labels("validation"))

    def tfidf(given: Sequence[str]) -> np.ndarray:
        return softmax(weigh.transform(counter.transform(given)) @ weights.T + bias)

    arrays: dict[str, Any] = {
        "tfidf.idf": weigh.idf_,
        "tfidf.weights": weights,
        "tfidf.bias": bias,
        "nbsvm.weights": svm_weights * factor,
        "nbsvm.bias": svm_bias * factor,
    }
    return (
        {TFIDF: tfidf, NBSVM: lambda given: softmax(factor * margins(given))},
        {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()},
        list(counter.get_feature_names_out()),
        bool(logistic.n_iter_.max() < params.max_iterations) and svm_converged,
    )


def _terms(text: str) -> list[str]:
    """Return a text's words and pairs of neighbouring words."""
    single = words(text)
    return single + [" ".join(two) for two in pairwise(single)]
