"""Evaluate text classifiers: on all test texts, by slice and bucket, and on contrast pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.runtime import torch_device
from stages.datasets.dataset import SPLITS, Dataset, read_dataset
from stages.datasets.texts.packed import PackedTexts, split_words
from stages.evaluation import comparison
from stages.evaluation.classifier import (
    ClassifierEvaluation,
    EmbedSplit,
    LoadModel,
    PredictFeatures,
    evaluate_classifier,
)
from stages.evaluation.comparison import ClassificationMetrics
from stages.evaluation.prediction_tables import PredictionTables
from stages.evaluation.significance import mcnemar_test, proportion_interval
from stages.evaluation.slices import contrast_consistency
from stages.kinds.text_classification.baseline import KEYWORDS, NEGATION
from stages.kinds.text_classification.tokens import whole_lengths

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
_LARGEST_SET, _SHARED_WORDS = 8, 1 / 3  # of a contrast set


def evaluate(task: "Task") -> ClassifierEvaluation:
    """Return the predictions of all models for the test texts, beside the baseline's."""
    dataset = read_dataset(task)
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    load_run = model_loader(task, task.folder("prepare"))
    evaluation = evaluate_classifier(task, load_run, compute_metrics)
    buckets = text_buckets(task, dataset, texts.at(dataset.rows("test")))
    if buckets is None:  # a failure case is in the bucket of its two classes
        return evaluation
    predictions = evaluation.predictions.predictions.assign(bucket=buckets)
    return replace(evaluation, predictions=replace(evaluation.predictions, predictions=predictions))


def model_loader(task: "Task", folder: Path) -> LoadModel:
    """Return how the models of a task are loaded to predict the texts packed in a folder."""
    # torch, which `evidence verify` does without when it recomputes the metrics
    from stages.kinds.text_classification.model import load, predict_batches
    from stages.training.weights import head_probabilities

    texts = PackedTexts(folder / "texts.bin")
    device, max_tokens = torch_device(task.runtime), task.params.train.max_tokens

    def load_run(fold: "Task", dataset: Dataset, seed: int) -> tuple[EmbedSplit, PredictFeatures]:
        model = load(fold, len(dataset.classes), seed)

        def embed(split: str) -> np.ndarray:
            return predict_batches(model.embed, texts.at(dataset.rows(split)), max_tokens, device)

        return embed, lambda features: head_probabilities(model.head, features)

    return load_run


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
    params: EvaluateTexts = task.params.evaluate
    test, labels = dataset.part("test"), predictions.labels()
    packed = PackedTexts(task.folder("prepare") / "texts.bin")
    splits = [split for split in SPLITS if len(dataset.rows(split))]  # with folds, all is test data
    lengths = {split: whole_lengths(packed.at(dataset.rows(split))) for split in splits}
    texts, max_tokens = packed.at(test["row"]), task.params.train.max_tokens
    buckets = text_buckets(task, dataset, texts)
    if buckets is None:
        buckets = np.array(dataset.classes, dtype=object)[labels]
    methods = {
        name: predictions.of_baseline(name).predicted == labels for name in baseline["methods"]
    }
    model = predictions.of_model().predicted == labels
    strongest = predictions.of_strongest().predicted == labels

    columns = {name: test[name].to_numpy(object) for name in task.params.prepare.columns.slices}
    columns["length"] = length_slices(texts, params.lengths)
    cuts = {split: cut_off(counts, max_tokens) for split, counts in lengths.items()}
    if cuts["test"]["texts"]:
        names = np.array(["whole", f"cut off after {max_tokens} tokens"], dtype=object)
        columns["cut_off"] = names[(lengths["test"] > max_tokens).astype(int)]
    figures = comparison.compute_metrics(task, dataset, predictions, baseline, log, columns)

    metrics: dict[str, Any] = {**figures.metrics, "cut_off": cuts}
    if {KEYWORDS, NEGATION} <= methods.keys() and negation_buckets(buckets):
        metrics["fix_attempt"] = fix_attempt(methods[KEYWORDS], methods[NEGATION], buckets)
    contrast_groups = groups_of_similar_texts(test["group"].to_numpy(object), labels, texts)
    for name, correct in (("current", model), ("baseline", strongest)):
        consistent, groups = contrast_consistency(contrast_groups, labels, correct)
        if groups:
            low, high = proportion_interval(consistent, groups, params.confidence)
            share = {"share": consistent / groups, "low": low, "high": high, "groups": groups}
            metrics[name] = {**metrics[name], "contrast_consistency": share}
    tables = {
        "buckets": errors_by_bucket(
            buckets, {**methods, metrics["strongest_baseline"]: strongest, "model": model}
        ),
    }
    return replace(figures, metrics=metrics, tables={**figures.tables, **tables})


def text_buckets(task: "Task", dataset: Dataset, texts: Sequence[str]) -> np.ndarray | None:
    """Return the bucket of each test text: by the params' column, or by its cue words.

    The words signal what turns a judgement round, so they are for two classes; with more and no column
    None is returned: errors are counted by class.
    """
    column = task.params.evaluate.bucket_by
    if column:
        return np.array(dataset.part("test")[column], dtype=object)
    if len(dataset.classes) > 2:  # noqa: PLR2004
        return None
    return np.array([bucket_of(text) for text in texts], dtype=object)


def groups_of_similar_texts(
    groups: np.ndarray, labels: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
    """Return the groups, (n,), of which some may be contrast sets; any other text is a group of its own.

    The texts of a contrast set differ in a few words and in the label; an author's texts on several
    topics do not. So two texts of different labels must share a third of their words, and a group of
    more than 8 texts is none.

    Args:
        groups: (n,).
        labels: (n,).
        texts: n.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    result = np.array([f"text {index}" for index in range(len(groups))], dtype=object)
    for group, indices in members.items():
        words = {index: set(split_words(texts[index])) for index in indices[:_LARGEST_SET]}
        if len(indices) <= _LARGEST_SET and any(
            labels[a] != labels[b]
            and len(words[a] & words[b]) >= _SHARED_WORDS * len(words[a] | words[b])
            for a, b in combinations(indices, 2)
        ):
            result[indices] = group
    return result


def cut_off(lengths: np.ndarray, max_tokens: int) -> dict[str, Any]:
    """Return how many texts are cut off, their share of the texts, and the share of tokens that is cut.

    Args:
        lengths: (n,), the tokens of each text before anything is cut off.
        max_tokens: that the model reads.
    """
    cut = int((lengths > max_tokens).sum())
    lost = np.maximum(lengths - max_tokens, 0).sum()
    return {
        "texts": cut,
        "share_of_texts": cut / len(lengths),
        "share_of_tokens": float(lost / lengths.sum()),
    }


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


def negation_buckets(buckets: np.ndarray) -> list[str]:
    """Return the buckets of (n,) that have "negation" in their name, sorted."""
    return sorted({str(bucket) for bucket in buckets if "negation" in str(bucket)})


def fix_attempt(before: np.ndarray, after: np.ndarray, buckets: np.ndarray) -> dict[str, Any]:
    """Return the effect of the negation rule on the buckets of negations, and on all others.

    Args:
        before: (n,), bool, texts that keyword counts classify correctly.
        after: (n,), bool, the same with the rule.
        buckets: (n,); the rule should fix those of `negation_buckets`, of which there is one.
    """
    covered = negation_buckets(buckets)
    inside = np.isin(buckets.astype(str), covered)
    attempt: dict[str, Any] = {
        "change": NEGATION,
        "instead_of": KEYWORDS,
        "bucket": " and ".join(covered),
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
