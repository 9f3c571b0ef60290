"""Two tables of predictions for the same samples: matched by id, and compared with the paired tests."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.errors import UserError
from stages.datasets.class_names import MAX_CLASSES
from stages.datasets.problem_kinds import ProblemKinds, first_few
from stages.datasets.tables.faults import quote
from stages.evaluation.classification_metrics import metric_score
from stages.evaluation.loss_significance import compare_losses
from stages.evaluation.metric_significance import compare_predictions, metric_interval

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier
    from stages.evaluation.imported_predictions import PredictionTable, Sample

ACCEPTED = ("better", "equivalent")


@dataclass(frozen=True)
class PairedPredictions:
    """What two methods predict for the same samples, which are sorted by id.

    Attributes:
        ids: of the samples.
        classes: every label and prediction, sorted; labels and predictions are indices of these.
        labels: the true classes, (n,).
        predictions: of the two methods, (2, n).
        groups: of the samples, (n,); None without groups.
        losses: of the two methods in nats, (2, n); None if one has no probabilities.
        omitted: how many samples only the first, and only the second table has.
    """

    ids: list[str]
    classes: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    groups: np.ndarray | None
    losses: np.ndarray | None
    omitted: tuple[int, int]

    def rows(self, mask: np.ndarray) -> list[dict[str, str]]:
        """Return id, label and both predictions of the samples where `mask` (n,) is true."""
        label, before, after = (
            [self.classes[index] for index in values[mask]]
            for values in (self.labels, *self.predictions)
        )
        ids = [self.ids[index] for index in np.flatnonzero(mask)]
        return [
            dict(zip(("id", "label", "a", "b"), row, strict=True))
            for row in zip(ids, label, before, after, strict=True)
        ]


def pair_tables(
    first: "PredictionTable", second: "PredictionTable", *, common: bool = False
) -> PairedPredictions:
    """Return the predictions of two tables for the same samples.

    Groups may be in either table; where both have them they must agree.

    Args:
        first: of the method to compare with.
        second: of the other method.
        common: whether samples that only one table has are left out; otherwise they are an error.

    Raises:
        UserError: with the number and the first ones of each kind: an id is in one table only, or its
            labels or groups differ; or no id is in both.
    """
    ids = sorted(first.samples.keys() & second.samples.keys())
    unpaired = [
        [name for name in table.samples if name not in partner.samples]
        for table, partner in ((first, second), (second, first))
    ]
    if not ids:
        examples = " and ".join(first_few([*map(quote, names)]) for names in unpaired)
        raise UserError(f"{first.name} and {second.name} have no id in common: {examples}")
    problems = ProblemKinds()
    for table, names in () if common else zip((first, second), unpaired, strict=True):
        for name in names:
            problems.count(f"only in {table.name}", quote(name))
    remedy = "; --common leaves out what only one of them has" if problems.counts else ""
    pairs = [(first.samples[name], second.samples[name]) for name in ids]
    for name, (before, after) in zip(ids, pairs, strict=True):
        _count_differences(name, before, after, problems)
    if problems.counts:
        raise UserError(
            f"{first.name} and {second.name} are not of the same samples: {problems.describe()}{remedy}"
        )
    classes = sorted({name for pair in pairs for sample in pair for name in sample[1:3]})
    codes = {name: code for code, name in enumerate(classes)}
    groups = [after.group or before.group for before, after in pairs]
    losses = None
    if first.losses is not None and second.losses is not None:
        losses = np.array(
            [[values[name] for name in ids] for values in (first.losses, second.losses)]
        )
    return PairedPredictions(
        ids,
        classes,
        np.array([codes[before.label] for before, _ in pairs]),
        np.array(
            [[codes[sample.prediction] for sample in method] for method in zip(*pairs, strict=True)]
        ),
        np.array(groups, dtype=object) if any(groups) else None,
        losses,
        (len(unpaired[0]), len(unpaired[1])),
    )


def _count_differences(
    name: str, before: "Sample", after: "Sample", problems: ProblemKinds
) -> None:
    pairs = {"label": (before.label, after.label)}
    if before.group and after.group:
        pairs["group"] = (before.group, after.group)
    for kind, (old, new) in pairs.items():
        if old != new:
            places = f"{quote(old)} in {before.location}, {quote(new)} in {after.location}"
            problems.count(f"with another {kind}", f"{quote(name)}: {places}")


@dataclass(frozen=True)
class PairedComparison:
    """The verdict on the second method against the first.

    Attributes:
        pairs: the predictions.
        params: of the tests.
        verdict: better, worse, equivalent, not distinguishable, underpowered or too few groups.
        figures: the numbers behind it, by the keys of `improvement` in metrics.json.
        scores: the metric of each method, with its interval: (score, low, high).
    """

    pairs: PairedPredictions
    params: "EvaluateClassifier"
    verdict: str
    figures: dict[str, Any]
    scores: tuple[tuple[float, float, float], ...]

    @property
    def identical(self) -> bool:
        """Return whether no prediction differs."""
        first, second = self.pairs.predictions
        return bool((first == second).all())

    @property
    def accepted(self) -> bool:
        """Return whether the second method may replace the first one."""
        return self.verdict in ACCEPTED or self.identical

    def fixed(self) -> list[dict[str, str]]:
        """Return the samples that only the second method gets right."""
        before, after = self.pairs.predictions == self.pairs.labels
        return self.pairs.rows(~before & after)

    def broken(self) -> list[dict[str, str]]:
        """Return the samples that only the first method gets right."""
        before, after = self.pairs.predictions == self.pairs.labels
        return self.pairs.rows(before & ~after)


def compare_pairs(pairs: PairedPredictions, params: "EvaluateClassifier") -> PairedComparison:
    """Return the verdict on the second method against the first, by the rule of evaluate.

    Args:
        pairs: the predictions.
        params: metric, confidence, resamples, seed, worthwhile_gain, assumed_regressions,
            equivalence_margin.

    Raises:
        UserError: a metric that averages over classes, and more than 1,000 of them.
    """
    count = len(pairs.classes)
    if params.metric != "accuracy" and count > MAX_CLASSES:
        raise UserError(
            f"--metric {params.metric}: {count:,} different labels and predictions; it needs at most "
            f"{MAX_CLASSES:,}; use accuracy"
        )
    first, second = pairs.predictions
    improvement = compare_predictions(
        pairs.labels, first, second[None], count, params, pairs.groups
    )
    figures = dict(improvement.figures)
    if pairs.losses is not None:
        before, after = pairs.losses
        figures |= compare_losses(before, after, params, pairs.groups)
    scores = tuple(
        (
            metric_score(params.metric, pairs.labels, predicted, count),
            *metric_interval(params.metric, pairs.labels, predicted, count, params, pairs.groups),
        )
        for predicted in pairs.predictions
    )
    return PairedComparison(pairs, params, improvement.verdict, figures, scores)
