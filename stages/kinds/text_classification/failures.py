"""Failure cases of a text classifier, the words behind them, and the one change to try first."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.files import read_csv, read_json
from stages.core.runtime import set_deterministic, torch_device
from stages.datasets.dataset import read_dataset
from stages.datasets.texts.packed import PackedTexts
from stages.evaluation.error_analysis import FailureAnalysis, analyse_classifier
from stages.evaluation.failure_causes import (
    BETWEEN_CLASSES,
    OTHER_CLASS,
    OUTLIER,
    OWN_CLASS,
    Change,
    label_smoothing_changes,
    training_changes,
)
from stages.kinds.text_classification.model import load, predict_batches
from stages.kinds.text_classification.predict import WordWeights, word_weights
from stages.kinds.text_classification.schema import MINILM_LAYERS
from stages.kinds.text_classification.word_budget import within_budget

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.text_classification.schema import FailuresOfTexts, TrainTexts

_USUAL_RATE = 0.0003  # of AdamW, for Transformers
_MIN_TEXTS = 10  # of a bucket, for its share of errors to be compared


def analyse(task: "Task") -> FailureAnalysis:
    """Return the failure cases, some successes, the words behind each, and the next step."""
    params: FailuresOfTexts = task.params.failures
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    train = task.params.train
    analysis = analyse_classifier(task, changes(train), diagnosis_changes(train))
    explained = pd.concat([analysis.successes, analysis.cases.head(params.explain)])
    explained = explained.head(within_budget(texts.at(explained["row"]), train.max_tokens))
    weights = _word_weights(task, explained, texts)
    metrics = read_json(task.folder("evaluate") / "metrics.json")
    buckets = read_csv(task.folder("evaluate") / "buckets.csv", dtype={"bucket": str})
    summary = {
        **analysis.summary,
        "known_failure": known_failure(buckets, metrics["strongest_baseline"]),
        "fix_attempt": metrics.get("fix_attempt", {"change": f"none: {_missing_for_fix(task)}"}),
    }
    return replace(
        analysis,
        cases=analysis.cases.assign(text=texts.at(analysis.cases["row"])),
        successes=analysis.successes.assign(text=texts.at(analysis.successes["row"])),
        summary=summary,
        extra_files={
            "words.json": {
                str(name): [[word, weight] for word, weight in words]
                for name, words in zip(explained["id"], weights, strict=True)
            }
        },
    )


def _missing_for_fix(task: "Task") -> str:
    if task.params.baseline.keywords is None:
        return f"{task.key('baseline.keywords')} is null"
    return "no bucket is of negations"


def _word_weights(task: "Task", samples: pd.DataFrame, texts: PackedTexts) -> list[WordWeights]:
    """Return the weight of each word of test samples, by the primary seed's model of their fold.

    Args:
        task: whose models explain.
        samples: id and row of each.
        texts: the packed ones.
    """
    set_deterministic(task.model_runtime)
    device, max_tokens = torch_device(task.runtime), task.params.train.max_tokens
    by_row: dict[int, WordWeights] = {}
    for fold in task.folds():
        dataset = read_dataset(fold)
        rows = [row for row in samples["row"] if row in set(dataset.rows("test"))]
        if not rows:
            continue
        model = load(fold, len(dataset.classes), task.params.train.seeds[0])
        of_fold = texts.at(rows)
        log_probabilities = predict_batches(model.log_probabilities, of_fold, max_tokens, device)
        weights = word_weights(model, of_fold, log_probabilities, max_tokens, device)
        by_row |= dict(zip(rows, weights, strict=True))
    return [by_row[row] for row in samples["row"]]


def known_failure(buckets: pd.DataFrame, baseline: str) -> dict[str, Any]:
    """Return the bucket in which the model has the highest share of errors, beside the baseline.

    Buckets of fewer than 10 test texts are left out, unless all are that small.

    Args:
        buckets: bucket, count, and the errors of the model and of each baseline.
        baseline: the column of the strongest baseline.
    """
    large = buckets[buckets["count"] >= _MIN_TEXTS]
    compared = buckets if large.empty else large
    share = (compared["model"] / compared["count"]).to_numpy()
    worst = compared.iloc[int(np.argmax(share))]
    return {
        "bucket": worst["bucket"],
        "count": int(worst["count"]),
        "errors": int(worst["model"]),
        "baseline_errors": int(worst[baseline]),
    }


def diagnosis_changes(params: "TrainTexts") -> dict[str, list[Change]]:
    """Return by diagnosis the params to change, the first to try first."""
    regularise: Change = (
        "dropout",
        min(0.5, round(params.dropout + 0.1, 3)),
        "dropout keeps the network from memorising single texts",
    )
    return training_changes(params, _another_layer(params), regularise, _USUAL_RATE)


def changes(params: "TrainTexts") -> dict[str, Change]:
    """Return by cause of failure the param to change, its new value, and the expected effect."""
    layer = _another_layer(params)
    return {
        **label_smoothing_changes(params),
        **dict.fromkeys((OUTLIER, BETWEEN_CLASSES, OTHER_CLASS, OWN_CLASS), layer),
    }


def _another_layer(params: "TrainTexts") -> Change:
    if params.model == "minilm":
        return (
            "train_layers",
            min(MINILM_LAYERS, params.train_layers + 1),
            "training one more of MiniLM's layers lets other texts become near neighbours",
        )
    return (
        "scratch.layers",
        params.scratch.layers + 1,
        "one more layer lets the model read words in the context of others",
    )
