"""Evaluate text classifiers: on all test texts, by slice and bucket, and on contrast pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.runtime import torch_device
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.texts.packed import PackedTexts, split_words
from stages.evaluation import comparison
from stages.evaluation.comparison import (
    ClassificationMetrics,
    ClassifierEvaluation,
    EmbedSplit,
    PredictFeatures,
    PredictionTables,
    evaluate_classifier,
)
from stages.evaluation.significance import mcnemar_test, proportion_interval
from stages.evaluation.slices import contrast_consistency, slice_metrics
from stages.kinds.text_classification.baseline import KEYWORDS, NEGATION

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.text_classification.schema import EvaluateTexts

# English words that signal a device by which a text may mislead; the first bucket that matches counts.
CUE_WORDS = {
    "contrast": "but although though however yet despite nevertheless nonetheless whereas while",
    "negation": "not no never none nobody nothing nowhere neither nor without hardly barely cannot",
    "comparison": "than compared unlike like as",
    "conditional": "if unless would could should wish hope",
    "intensity": "so such too very really utterly totally extremely absolutely",
}
NO_CUE = "other"


def evaluate(task: "Task") -> ClassifierEvaluation:
    """Return the predictions of all seeds' models for the test texts, beside the baseline's."""
    # torch, which `evidence verify` does without when it recomputes the metrics
    from stages.kinds.text_classification.model import load, predict_batches
    from stages.training.weights import head_probabilities

    dataset = read_dataset(task.folder("prepare"))
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    device, max_tokens = torch_device(task.runtime), task.params.train.max_tokens

    def load_seed(seed: int) -> tuple[EmbedSplit, PredictFeatures]:
        model = load(task, len(dataset.classes), seed)

        def embed(split: str) -> np.ndarray:
            return predict_batches(model.embed, texts.at(dataset.rows(split)), max_tokens, device)

        return embed, lambda features: head_probabilities(model.head, features)

    evaluation = evaluate_classifier(task, dataset, load_seed, compute_metrics)
    buckets = _buckets(task, dataset.part("test"), texts.at(dataset.rows("test")))
    predictions = evaluation.predictions.predictions.assign(bucket=buckets)
    return replace(evaluation, predictions=replace(evaluation.predictions, predictions=predictions))


def compute_metrics(
    task: "Task",
    dataset: Dataset,
    predictions: PredictionTables,
    baseline: dict[str, Any],
    log: pd.DataFrame,
) -> ClassificationMetrics:
    """Return the figures of a text classifier's predictions: also by slice, bucket and contrast pair.

    Arguments as for `comparison.compute_metrics`; the prepared texts are read as well.
    """
    figures = comparison.compute_metrics(task, dataset, predictions, baseline, log)
    params: EvaluateTexts = task.params.evaluate
    test, labels = dataset.part("test"), predictions.labels()
    texts = PackedTexts(task.folder("prepare") / "texts.bin").at(test["row"])
    buckets = _buckets(task, test, texts)
    methods = {
        name: predictions.of_baseline(name).predicted == labels for name in baseline["methods"]
    }
    model, strongest = predictions.of_model().predicted == labels, methods[baseline["strongest"]]

    metrics: dict[str, Any] = dict(figures.metrics)
    if {KEYWORDS, NEGATION} <= methods.keys():
        metrics["fix_attempt"] = fix_attempt(methods[KEYWORDS], methods[NEGATION], buckets)
    for name, correct in (("current", model), ("baseline", strongest)):
        consistent, groups = contrast_consistency(test["group"].to_numpy(), labels, correct)
        if groups:
            low, high = proportion_interval(consistent, groups, params.confidence)
            share = {"share": consistent / groups, "low": low, "high": high, "groups": groups}
            metrics[name] = {**metrics[name], "contrast_consistency": share}
    columns = {name: test[name].to_numpy(object) for name in task.params.prepare.columns.slices}
    columns["length"] = length_slices(texts, params.lengths)
    tables = {
        "slices": slice_metrics(columns, model, strongest, params.confidence),
        "buckets": errors_by_bucket(buckets, {**methods, "model": model}),
    }
    return replace(figures, metrics=metrics, tables={**figures.tables, **tables})


def _buckets(task: "Task", test: pd.DataFrame, texts: Sequence[str]) -> np.ndarray:
    """Return each test text's bucket: the params' column, or the bucket of its cue words."""
    column = task.params.evaluate.bucket_by
    buckets: list[str] = list(test[column]) if column else [bucket_of(text) for text in texts]
    return np.array(buckets, dtype=object)


def bucket_of(text: str) -> str:
    """Return the first bucket of `CUE_WORDS` of which the text contains a word; else "other".

    Sarcasm and mixed feelings have no such words.
    """
    words = {"not" if word.endswith("n't") else word for word in split_words(text)}
    for bucket, cues in CUE_WORDS.items():
        if not words.isdisjoint(cues.split()):
            return bucket
    return NO_CUE


def errors_by_bucket(buckets: np.ndarray, correct: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the number of texts in each bucket, and how many of them each method gets wrong.

    Args:
        buckets: (n,).
        correct: by method, (n,), bool.

    Returns:
        bucket, count, and a column of errors for each method.
    """
    errors = {name: ~values for name, values in correct.items()}
    table = pd.DataFrame({"bucket": buckets, "count": 1, **errors})
    return table.groupby("bucket", sort=True).sum().astype(int).reset_index()


def fix_attempt(before: np.ndarray, after: np.ndarray, buckets: np.ndarray) -> dict[str, Any]:
    """Return the effect of the negation rule on the buckets of negations, and on all others.

    Args:
        before: (n,), bool, texts that keyword counts classify correctly.
        after: (n,), bool, the same with the rule.
        buckets: (n,); those with "negation" in their name are the ones that the rule should fix.
    """
    covered = sorted({str(bucket) for bucket in buckets if "negation" in str(bucket)})
    inside = np.isin(buckets.astype(str), covered)
    attempt: dict[str, Any] = {
        "change": NEGATION,
        "instead_of": KEYWORDS,
        "bucket": " and ".join(covered) or "negation",
    }
    for name, part in (("in_bucket", inside), ("elsewhere", ~inside)):
        fixed = int((after & ~before & part).sum())
        broken = int((before & ~after & part).sum())
        attempt[name] = {
            "count": int(part.sum()),
            "errors_before": int((~before & part).sum()),
            "errors_after": int((~after & part).sum()),
            "fixed": fixed,
            "broken": broken,
            "mcnemar_p": mcnemar_test(fixed, broken),
        }
    return attempt


def length_slices(texts: Sequence[str], lengths: Sequence[int]) -> np.ndarray:
    """Return the slice of each text by its length in words: "01 to 10 words", "over 20 words".

    Args:
        texts: n.
        lengths: the longest text of each slice but the last, rising.
    """
    digits = len(str(lengths[-1]))
    names = [
        f"{shorter + 1:0{digits}} to {longest:0{digits}} words"
        for shorter, longest in pairwise([0, *lengths])
    ]
    names.append(f"over {lengths[-1]} words")
    counts = [len(split_words(text)) for text in texts]
    return np.array(names, dtype=object)[np.searchsorted(lengths, counts)]
