"""Linear classifiers for the baselines: logistic regression and NB-SVM, C chosen on validation data.

Every fit runs on one thread: two made the same fits of 50,000 images three to twelve times slower on a
busy machine, because the solver alternates between short products and waiting.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.progress import progress
from stages.evaluation.baselines import NEVER, softmax, softmax_weights
from stages.evaluation.classification_metrics import log_loss, metric_score

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Logits = Callable[[Any], np.ndarray]  # inputs, dense or sparse (n, inputs) -> (n, classes)
_MAX_INVERSE_TEMPERATURE = 50.0
# Largest entry of the mean loss's gradient at which a fit has converged. With scikit-learn's 1e-4, fits on
# TF-IDF, whose entries are small, stop after 4 or 5 steps: on short reviews, C 16 had 0.685 of validation
# texts then, and has 0.712.
_GRADIENT = 1e-6
_RIDGE = 1e-4  # of scale (in mean absolute scores) and bias


@dataclass(frozen=True)
class LinearModel:
    """Weights (classes, inputs) and bias (classes,) of logits, and whether fitting converged."""

    weights: np.ndarray
    bias: np.ndarray
    converged: bool

    def logits(self, inputs: Any) -> np.ndarray:
        """Return logits (n, classes) of inputs (n, inputs), dense or sparse."""
        logits: np.ndarray = inputs @ self.weights.T + self.bias
        return logits


@dataclass(frozen=True)
class Selection:
    """The model of the C that validation data chose, and the score of every candidate.

    Attributes:
        model: fitted with that C.
        summary: "chosen", the C, and "candidates", for each: C, its score, the log loss, converged.
    """

    model: LinearModel
    summary: dict[str, Any]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the libraries under numpy to one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def choose_regularisation(
    candidates: Sequence[float],
    fit: Callable[[float], LinearModel],
    validation: tuple[Any, np.ndarray],
    metric: str,
) -> Selection:
    """Fit a model for each C; return the one with the highest score on validation data.

    Of equal scores the smallest C, which is the simplest model, is chosen.

    Args:
        candidates: values of C, the inverse strength of the regularisation.
        fit: C -> the fitted model.
        validation: inputs (n, inputs) and labels (n,).
        metric: one of `metric_names.METRICS`.
    """
    inputs, labels = validation
    models, rows = [], []
    with one_thread(), warnings.catch_warnings():
        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` says it
        for c in progress(sorted(candidates), "fitting a linear model with each C"):
            model = fit(c)
            logits = model.logits(inputs)
            score = metric_score(metric, labels, logits.argmax(axis=1), len(model.bias))
            models.append(model)
            rows.append(
                {
                    "c": c,
                    metric: score,
                    "log_loss": log_loss(softmax(logits), labels),
                    "converged": model.converged,
                }
            )
    best = max(range(len(rows)), key=lambda index: rows[index][metric])
    return Selection(models[best], {"chosen": rows[best]["c"], "candidates": rows})


def logistic_regression(
    inputs: Any, labels: np.ndarray, classes: int, max_iterations: int
) -> Callable[[float], LinearModel]:
    """Return C -> multinomial logistic regression with an L2 penalty (none of the bias), by L-BFGS.

    Each fit starts from the weights of the one before: along a rising C it needs few iterations.

    Args:
        inputs: (n, inputs), dense or sparse.
        labels: (n,), of at least two classes.
        classes: how many there are, with those that do not occur.
        max_iterations: of the solver, for each C.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=max_iterations, warm_start=True, tol=_GRADIENT)

    def fit(c: float) -> LinearModel:
        model.set_params(C=c).fit(inputs, labels)
        weights, bias = softmax_weights(model, classes)
        return LinearModel(weights, bias, bool(model.n_iter_.max() < max_iterations))

    return fit


@dataclass(frozen=True)
class Projection:
    """Centring, and the principal axes of the inputs.

    A rotation changes no penalty and no optimum of L2-regularised logistic regression; leaving out the
    axes of least variance changes them little, and each iteration gets cheaper with the inputs.

    Attributes:
        mean: (inputs,), float32.
        axes: (inputs, axes), orthonormal columns, float32.
    """

    mean: np.ndarray
    axes: np.ndarray

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Return the coordinates (n, axes) of inputs (n, inputs)."""
        with one_thread():
            coordinates: np.ndarray = (inputs - self.mean) @ self.axes
        return coordinates

    def unproject(self, model: LinearModel) -> LinearModel:
        """Return the model of the inputs that equals `model` of their coordinates."""
        weights = (model.weights @ self.axes.T).astype(np.float32)
        bias = (model.bias - weights @ self.mean).astype(np.float32)
        return LinearModel(weights, np.where(model.bias <= NEVER, NEVER, bias), model.converged)


def principal_axes(inputs: np.ndarray, max_axes: int) -> Projection:
    """Return the mean of inputs (n, inputs) and at most `max_axes` of their principal axes."""
    from scipy.linalg import eigh

    mean = inputs.mean(axis=0)
    width = inputs.shape[1]
    if width <= max_axes:
        return Projection(mean, np.eye(width, dtype=np.float32))
    with one_thread():
        centred = inputs - mean
        covariance = centred.T @ centred / len(inputs)
        _, axes = eigh(covariance, subset_by_index=[width - max_axes, width - 1])
    return Projection(mean, np.ascontiguousarray(axes, dtype=np.float32))


@dataclass(frozen=True)
class UnitScale:
    """The mean (inputs,) of features, and the factor that gives them a mean squared length of 1.

    The length is that of TF-IDF, so the same C mean about the same for every method.
    """

    mean: np.ndarray
    factor: float

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Return features (n, inputs), centred and scaled, float32."""
        scaled: np.ndarray = ((features - self.mean) * self.factor).astype(np.float32)
        return scaled


def fit_unit_scale(features: np.ndarray) -> UnitScale:
    """Return the mean and the scale of features (n, inputs)."""
    mean = features.mean(axis=0)
    squared = float(((features - mean) ** 2).sum(axis=1).mean())
    return UnitScale(mean, 1 / np.sqrt(squared) if squared > 0 else 1.0)


def fit_nbsvm(
    presence: "csr_array",
    labels: np.ndarray,
    classes: int,
    c: float,
    interpolation: float,
    max_iterations: int,
) -> LinearModel:
    """Return NB-SVM (Wang and Manning, 2012, section 2).

    Presence of terms times their log-count ratio, a linear SVM on that, and its weights interpolated
    with their mean magnitude. The SVM's bias belongs to its own weights, so scale and bias of the
    interpolated ones are fitted again (`fit_margin`). With more than two classes, one against the rest.

    Args:
        presence: (n, terms), 1 where a text contains a term.
        labels: (n,).
        classes: how many; of two, the first one's logit is 0.
        c: the inverse strength of the SVM's penalty.
        interpolation: beta; 1 is the SVM alone.
        max_iterations: of the solver.
    """
    from scipy.sparse import csr_array
    from sklearn.svm import LinearSVC

    weights = np.zeros((classes, presence.shape[1]))
    bias, converged = np.zeros(classes), True
    for label in range(1 if classes == 2 else 0, classes):  # noqa: PLR2004
        positive = labels == label
        if not positive.any():
            bias[label] = NEVER
            continue
        p, q = (1 + presence[rows].sum(axis=0) for rows in (positive, ~positive))
        ratio = np.log(p / p.sum()) - np.log(q / q.sum())
        svm = LinearSVC(C=c, dual=False, max_iter=max_iterations)
        svm.fit(csr_array(presence.multiply(ratio)), positive)
        coefficients = svm.coef_[0]
        mean = np.abs(coefficients).mean()
        interpolated = ratio * ((1 - interpolation) * mean + interpolation * coefficients)
        scale, bias[label] = fit_margin(presence @ interpolated, positive)
        weights[label] = scale * interpolated
        converged &= bool(np.max(svm.n_iter_) < max_iterations)
    return LinearModel(weights, bias, converged)


def fit_margin(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Return the scale s and the bias b of scores with the lowest mean squared hinge loss.

    The loss is the SVM's: max(0, 1 - y (s score + b))^2. Its penalty is left out: with the small C that
    suits texts it would shrink the scale and so leave the bias too large where classes are unbalanced (on
    film reviews, two thirds positive, 0.73 instead of 0.76). A ridge of `_RIDGE` makes the answer unique
    where the scores separate the classes.

    Args:
        scores: of the samples, (n,).
        positive: whether y is 1, else -1, (n,), bool.
    """
    from scipy.optimize import minimize

    signs = np.where(positive, 1.0, -1.0)
    unit = float(np.abs(scores).mean()) or 1.0  # so that both parameters are near 1
    inputs = np.stack([scores / unit, np.ones(len(scores))])

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slack = np.maximum(0.0, 1 - signs * (parameters @ inputs))
        value = (slack**2).mean() + _RIDGE * parameters @ parameters
        gradient = 2 * _RIDGE * parameters - 2 * inputs @ (signs * slack) / len(scores)
        return float(value), gradient

    start = np.array([1.0, 0.0])
    scale, bias = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return float(scale) / unit, float(bias)


def inverse_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor on logits (n, classes) that minimises the log loss of `labels` (n,).

    Temperature scaling (Guo et al., 2017, section 4.2): it turns margins into probabilities and changes
    no prediction. Samples of a class that is never predicted are left out: each would have an endless loss,
    and the smallest factor would be the best. Without other samples the factor is 1.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(labels))
    possible = logits[rows, labels] > NEVER / 2
    if not possible.any():
        return 1.0
    logits, labels, rows = logits[possible], labels[possible], np.arange(possible.sum())

    def loss(factor: float) -> float:
        return float(-log_softmax(factor * logits, axis=1)[rows, labels].mean())

    bounds = (1e-3, _MAX_INVERSE_TEMPERATURE)
    return float(minimize_scalar(loss, bounds=bounds, method="bounded").x)
