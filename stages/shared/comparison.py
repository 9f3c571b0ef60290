"""A classifier beside its baseline on the same test samples: scores, verdict, tables, plots."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared import classification
from stages.shared.alarms import hold_to_log, label_noise, rows
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
class Evaluation:
    """What the models said of the test data, and how good that was.

    Attributes:
        predictions: a row a test sample: id, row, group, label, baseline, baseline_confidence,
            confidence (the headline's), and what each seed's model predicted (seed_0, ...).
        probabilities: by seed, (n, classes) each, the headline first.
        features: of "train" and "test" samples, (n, width) each, by the headline model.
        metrics: scores of "current", "baseline" and every method, and the improvement.
        tables: per_class and confusion of the headline model.
        plots: what `dvc plots` draws, of the current model; and of the baseline.
        alarms: what is amiss, though the result stands.
    """

    predictions: pd.DataFrame
    probabilities: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame]
    alarms: list[Trouble] = field(default_factory=list)

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes into its folder."""
        return {
            "predictions.csv": self.predictions,
            "probabilities.safetensors": self.probabilities,
            "features.safetensors": self.features,
            "metrics.json": self.metrics,
            "alarms.json": rows(self.alarms),
            **{f"{name}.csv": table for name, table in self.tables.items()},
            **{f"baseline/{name}.csv": table for name, table in self.baseline_plots.items()},
        }


def _scores(
    probabilities: np.ndarray, labels: np.ndarray, params: "EvaluateClassifier"
) -> dict[str, Any]:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = proportion_interval(right, len(labels), params.confidence)
    return {
        **classification.scores(probabilities, labels, params.bins),
        "accuracy_low": low,
        "accuracy_high": high,
    }


def _plots(
    probabilities: np.ndarray, labels: np.ndarray, names: list[str], bins: int, loss: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    named = np.array(names, dtype=object)
    return {
        "loss": loss,
        "confusion": pd.DataFrame(
            {"actual": named[labels], "predicted": named[probabilities.argmax(axis=1)]}
        ),
        "reliability": classification.reliability(probabilities, labels, bins),
    }


def evaluated(
    task: "Task", dataset: Dataset, load: Callable[[int], tuple[Embed, Judge]]
) -> Evaluation:
    """Return what the models of all seeds say of the test samples, beside the baseline.

    Args:
        task: whose stages before have left their results.
        dataset: the prepared samples.
        load: seed -> how its model embeds a split's samples (n, width), and the probabilities
            (n, classes) that its head gives to such features.

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
        hold_to_log(
            given,
            truth,
            log[log["seed"] == seed],
            chosen[str(seed)],
            task.runtime.precision,
        )
        found = embed("test")
        seeds[seed] = judge(found)
        if not features:
            features = {"train": embed("train"), "test": found}
            alarms = label_noise(judge(features["train"]), dataset.labels("train"), given, truth)
    folder = task.folder("baseline")
    evaluation = compare(
        dataset,
        seeds,
        features,
        read_arrays(folder / "test.safetensors"),
        read_json(folder / "baseline.json"),
        log,
        task.params.evaluate,
    )
    tables = {**evaluation.tables, "validation_predictions": held}
    return replace(evaluation, alarms=alarms, tables=tables)


def compare(
    dataset: Dataset,
    seeds: dict[int, np.ndarray],
    features: dict[str, np.ndarray],
    baselines: dict[str, np.ndarray],
    fitted: dict[str, Any],
    log: pd.DataFrame,
    params: "EvaluateClassifier",
) -> Evaluation:
    """Return the evaluation of a classifier on the test split.

    Args:
        dataset: the prepared samples.
        seeds: test probabilities (n, classes) by training seed, the headline first.
        features: by the headline model, of "train" and "test" samples.
        baselines: test probabilities by baseline.
        fitted: what the baseline stage chose: "methods" (the simplest first), "strongest",
            "validation", "training_log_loss".
        log: the training log: seed, epoch, train_loss, validation_loss, ...
        params: of the stage evaluate.
    """
    labels = dataset.labels("test")
    headline, *_ = seeds
    strongest = fitted["strongest"]
    model, simple = seeds[headline], baselines[strongest]
    right = np.stack([(p.argmax(axis=1) == labels) for p in seeds.values()])
    better = improvement(simple.argmax(axis=1) == labels, right, params)
    accuracies = right.mean(axis=1)

    test = dataset.part("test")
    predictions = test[["id", "row", "group", "label"]].assign(
        baseline=simple.argmax(axis=1),
        baseline_confidence=simple.max(axis=1).astype(float),
        confidence=model.max(axis=1).astype(float),
        **{f"seed_{seed}": p.argmax(axis=1) for seed, p in seeds.items()},
    )
    current = _scores(model, labels, params)
    metrics = {
        "current": {**current, "improvement": {"verdict": better.verdict, **better.figures}},
        "baseline": _scores(simple, labels, params),
        "baselines": {name: _scores(p, labels, params) for name, p in baselines.items()},
        "seeds": {
            str(seed): {"accuracy": float(a)} for seed, a in zip(seeds, accuracies, strict=True)
        },
        "n": len(labels),
        "headline_seed": headline,
        "strongest_baseline": strongest,
    }
    counts = classification.confusion(labels, model.argmax(axis=1), len(dataset.classes))
    table = classification.per_class(counts, dataset.classes)
    simple_counts = classification.confusion(labels, simple.argmax(axis=1), len(dataset.classes))
    table["baseline_f1"] = classification.per_class(simple_counts, dataset.classes)["f1"]
    matrix = pd.DataFrame(counts, columns=pd.Index(dataset.classes))
    matrix.insert(0, "true / predicted", dataset.classes)

    own = log.loc[log["seed"] == headline, ["epoch", "train_loss", "validation_loss"]]
    flat = own.assign(
        train_loss=fitted["training_log_loss"][strongest],
        validation_loss=fitted["validation"][strongest]["log_loss"],
    )
    return Evaluation(
        predictions,
        {f"seed_{seed}": p for seed, p in seeds.items()},
        features,
        metrics,
        {"per_class": table, "confusion": matrix},
        _plots(model, labels, dataset.classes, params.bins, own.reset_index(drop=True)),
        _plots(simple, labels, dataset.classes, params.bins, flat.reset_index(drop=True)),
    )
