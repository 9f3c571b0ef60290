"""A classifier beside its baseline on the same test samples: scores, verdict, tables, plots."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared import classification
from stages.shared.alarms import hold_to_log, label_noise, mean_loss, rows
from stages.shared.classification import Said, said
from stages.shared.dataset import Dataset
from stages.shared.files import read_arrays, read_csv, read_json
from stages.shared.statistics import improvement, proportion_interval
from stages.shared.troubles import Trouble

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.schema import EvaluateClassifier
    from stages.shared.task import Task

Embed = Callable[[str], np.ndarray]
Judge = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Measured:
    """How good what was said of the test samples is: all of it follows from the tables in the pack.

    Attributes:
        metrics: scores of "current", "baseline" and every method, and the improvement.
        tables: per_class and confusion of the headline model.
        plots: what `dvc plots` draws, of the current model; and of the baseline.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Answers:
    """What models and baselines said, in the digits with which it is written.

    Attributes:
        predictions: a row a test sample: id, row, group, label, baseline and baseline_confidence (of
            the one to beat), confidence and loss (the headline's), and what each seed's model
            predicted (seed_0, ...).
        baselines: a row a test sample: id, label, and for each method M what it predicted ("M"), "M:
            confidence", "M: loss".
        validation: a row a validation sample: id, label, and what each seed's model predicted.
    """

    predictions: pd.DataFrame
    baselines: pd.DataFrame
    validation: pd.DataFrame

    def of_seeds(self) -> dict[int, np.ndarray]:
        """Return what each seed's model predicted of the test samples, the headline's first."""
        columns = self.predictions.filter(regex=r"^seed_\d+$")
        return {int(str(name)[5:]): column.to_numpy() for name, column in columns.items()}

    def headline(self) -> Said:
        """Return what the headline's model said."""
        table = self.predictions
        predicted = next(iter(self.of_seeds().values()))
        return Said(predicted, table["confidence"].to_numpy(), table["loss"].to_numpy())

    def of_baseline(self, method: str) -> Said:
        """Return what a baseline said."""
        names = (method, f"{method}: confidence", f"{method}: loss")
        return Said(*(self.baselines[name].to_numpy() for name in names))

    def labels(self) -> np.ndarray:
        """Return the true labels of the test samples."""
        found: np.ndarray = self.predictions["label"].to_numpy()
        return found

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by file name."""
        return {
            "predictions": self.predictions,
            "baseline_predictions": self.baselines,
            "validation_predictions": self.validation,
        }


@dataclass(frozen=True)
class Evaluation:
    """What the models said of the test data, and how good that was.

    Attributes:
        answers: the tables from which everything is measured.
        probabilities: by seed, (n, classes) each, the headline first.
        features: of "train" and "test" samples, (n, width) each, by the headline model.
        measured: how good the answers are.
        alarms: what is amiss, though the result stands.
    """

    answers: Answers
    probabilities: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    measured: Measured
    alarms: list[Trouble] = field(default_factory=list)

    @property
    def plots(self) -> dict[str, pd.DataFrame]:
        """Return what `dvc plots` draws."""
        return self.measured.plots

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes into its folder."""
        tables = {**self.answers.tables(), **self.measured.tables}
        return {
            "probabilities.safetensors": self.probabilities,
            "features.safetensors": self.features,
            "metrics.json": self.measured.metrics,
            "alarms.json": rows(self.alarms),
            **{f"{name}.csv": table for name, table in tables.items()},
            **{
                f"baseline/{name}.csv": table
                for name, table in self.measured.baseline_plots.items()
            },
        }


def _scores(
    found: Said, labels: np.ndarray, classes: int, params: "EvaluateClassifier"
) -> dict[str, Any]:
    right = int((found.predicted == labels).sum())
    low, high = proportion_interval(right, len(labels), params.confidence)
    return {
        **classification.scores(found, labels, classes, params.bins),
        "accuracy_low": low,
        "accuracy_high": high,
    }


def _plots(
    found: Said, labels: np.ndarray, names: list[str], bins: int, loss: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    named = np.array(names, dtype=object)
    return {
        "loss": loss,
        "confusion": pd.DataFrame({"actual": named[labels], "predicted": named[found.predicted]}),
        "reliability": classification.reliability(found, labels, bins),
    }


def evaluated(
    task: "Task",
    dataset: Dataset,
    load: Callable[[int], tuple[Embed, Judge]],
    measure: "Callable[[Task, Dataset, Answers, dict[str, Any], pd.DataFrame], Measured] | None" = None,
) -> Evaluation:
    """Return what the models of all seeds say of the test samples, beside the baseline.

    Args:
        task: whose stages before have left their results.
        dataset: the prepared samples.
        load: seed -> how its model embeds a split's samples (n, width), and the probabilities
            (n, classes) that its head gives to such features.
        measure: in place of `measured`, for a task that measures more.

    Raises:
        Refusal: stored weights do not give the validation loss by which training chose them.
    """
    seeds: dict[int, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    alarms: list[Trouble] = []
    log = read_csv(task.folder("train") / "log.csv")
    chosen = read_json(task.folder("train") / "chosen.json")["epoch"]
    held, truth = dataset.part("validation")[["id", "label"]].copy(), dataset.labels("validation")
    for seed in task.params.train.seeds:
        embed, judge = load(seed)
        given = judge(embed("validation"))
        held[f"seed_{seed}"] = given.argmax(axis=1)
        own = log[log["seed"] == seed]
        hold_to_log(mean_loss(given, truth), own, chosen[str(seed)], task.runtime.precision)
        found = embed("test")
        seeds[seed] = judge(found)
        if not features:
            features = {"train": embed("train"), "test": found}
            alarms = label_noise(judge(features["train"]), dataset.labels("train"), given, truth)
    fitted = read_json(task.folder("baseline") / "baseline.json")
    baselines = read_arrays(task.folder("baseline") / "test.safetensors")
    answers = answered(dataset, seeds, baselines, fitted["strongest"], held)
    return Evaluation(
        answers,
        {f"seed_{seed}": p for seed, p in seeds.items()},
        features,
        (measure or measured)(task, dataset, answers, fitted, log),
        alarms,
    )


def answered(
    dataset: Dataset,
    seeds: dict[int, np.ndarray],
    baselines: dict[str, np.ndarray],
    strongest: str,
    validation: pd.DataFrame,
) -> Answers:
    """Return what models and baselines said, as tables.

    Args:
        dataset: the prepared samples.
        seeds: test probabilities (n, classes) by training seed, the headline first.
        baselines: test probabilities by baseline.
        strongest: the baseline to beat.
        validation: id, label, and what each seed's model predicted.
    """
    test, labels = dataset.part("test"), dataset.labels("test")
    simple = {name: said(p, labels) for name, p in sorted(baselines.items())}
    model = said(next(iter(seeds.values())), labels)
    columns: dict[str, np.ndarray] = {}
    for name, one in simple.items():
        columns |= {
            name: one.predicted,
            f"{name}: confidence": one.confidence,
            f"{name}: loss": one.loss,
        }
    return Answers(
        test[["id", "row", "group", "label"]].assign(
            baseline=simple[strongest].predicted,
            baseline_confidence=simple[strongest].confidence,
            confidence=model.confidence,
            loss=model.loss,
            **{f"seed_{seed}": p.argmax(axis=1) for seed, p in seeds.items()},
        ),
        test[["id", "label"]].assign(**columns),
        validation,
    )


def measured(
    task: "Task", dataset: Dataset, answers: Answers, fitted: dict[str, Any], log: pd.DataFrame
) -> Measured:
    """Return how good a classifier's answers are, beside the baselines'.

    Args:
        task: its params of the stage evaluate are used.
        dataset: the prepared samples; the classes' names are used.
        answers: what was said of the test samples.
        fitted: what the baseline stage chose: "methods" (the simplest first), "strongest",
            "validation", "training_log_loss".
        log: the training log: seed, epoch, train_loss, validation_loss, ...
    """
    params: EvaluateClassifier = task.params.evaluate
    labels, names, seeds = answers.labels(), dataset.classes, answers.of_seeds()
    headline, *_ = seeds
    strongest = fitted["strongest"]
    model, simple = answers.headline(), answers.of_baseline(strongest)
    right = np.stack([predicted == labels for predicted in seeds.values()])
    better = improvement(simple.predicted == labels, right, params)
    accuracies = right.mean(axis=1)
    baselines = {
        name: _scores(answers.of_baseline(name), labels, len(names), params)
        for name in fitted["methods"]
    }
    current = _scores(model, labels, len(names), params)
    metrics = {
        "current": {**current, "improvement": {"verdict": better.verdict, **better.figures}},
        "baseline": baselines[strongest],
        "baselines": baselines,
        "seeds": {
            str(seed): {"accuracy": float(a)} for seed, a in zip(seeds, accuracies, strict=True)
        },
        "n": len(labels),
        "headline_seed": headline,
        "strongest_baseline": strongest,
    }
    counts = classification.confusion(labels, model.predicted, len(names))
    table = classification.per_class(counts, names)
    simple_counts = classification.confusion(labels, simple.predicted, len(names))
    table["baseline_f1"] = classification.per_class(simple_counts, names)["f1"]
    matrix = pd.DataFrame(counts, columns=pd.Index(names))
    matrix.insert(0, "true / predicted", names)

    own = log.loc[log["seed"] == headline, ["epoch", "train_loss", "validation_loss"]]
    flat = own.assign(
        train_loss=fitted["training_log_loss"][strongest],
        validation_loss=fitted["validation"][strongest]["log_loss"],
    )
    return Measured(
        metrics,
        {"per_class": table, "confusion": matrix},
        _plots(model, labels, names, params.bins, own.reset_index(drop=True)),
        _plots(simple, labels, names, params.bins, flat.reset_index(drop=True)),
    )
