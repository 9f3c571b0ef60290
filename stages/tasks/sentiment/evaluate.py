"""Evaluate the text classifiers: overall, by slice, and on contrast pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared import comparison
from stages.shared.comparison import Answers, Embed, Evaluation, Judge, Measured, evaluated
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.runtime import device
from stages.shared.slices import consistent_groups, slices
from stages.shared.statistics import mcnemar, proportion_interval
from stages.shared.texts.packed import Texts, words
from stages.shared.weights import judged
from stages.tasks.sentiment.baseline import KEYWORDS, NEGATION
from stages.tasks.sentiment.model import asked, load

if TYPE_CHECKING:
    from stages.shared.schema import EvaluateTexts
    from stages.shared.task import Task

SIGNS = {
    "contrast": "but although though however yet despite nevertheless nonetheless whereas while",
    "negation": "not no never none nobody nothing nowhere neither nor without hardly barely cannot",
    "comparison": "than compared unlike like as",
    "conditional": "if unless would could should wish hope",
    "intensity": "so such too very really utterly totally extremely absolutely",
}


def evaluate(task: "Task") -> Evaluation:
    """Return what the models of all seeds say of the test texts, beside the baseline."""
    dataset = read_dataset(task.folder("prepare"))
    texts = Texts(task.folder("prepare") / "texts.bin")
    where, most = device(task.runtime), task.params.train.max_tokens

    def loaded(seed: int) -> tuple[Embed, Judge]:
        model = load(task, len(dataset.classes), seed)
        return (
            lambda split: asked(model.embed, texts.at(dataset.rows(split)), most, where),
            lambda features: judged(model.head, features),
        )

    found = evaluated(task, dataset, loaded, measured)
    buckets = _buckets(task, dataset.part("test"), texts.at(dataset.rows("test")))
    predictions = found.answers.predictions.assign(bucket=buckets)
    return replace(found, answers=replace(found.answers, predictions=predictions))


def _buckets(task: "Task", test: pd.DataFrame, written: Sequence[str]) -> np.ndarray:
    by = task.params.evaluate.bucket_by
    found: list[str] = list(test[by]) if by else [bucket(text) for text in written]
    return np.array(found, dtype=object)


def measured(
    task: "Task", dataset: Dataset, answers: Answers, fitted: dict[str, Any], log: pd.DataFrame
) -> Measured:
    """Return how good a text classifier's answers are: slices, buckets, contrast pairs as well.

    As `comparison.measured`; the prepared texts are read too.
    """
    found = comparison.measured(task, dataset, answers, fitted, log)
    params: EvaluateTexts = task.params.evaluate
    test, labels = dataset.part("test"), answers.labels()
    written = Texts(task.folder("prepare") / "texts.bin").at(test["row"])
    headline = answers.headline().predicted == labels
    simple = answers.of_baseline(fitted["strongest"]).predicted == labels

    columns = {name: test[name].to_numpy(object) for name in task.params.prepare.columns.slices}
    columns["length"] = length_slices(written, params.lengths)
    buckets = _buckets(task, test, written)
    ladder = {name: answers.of_baseline(name).predicted == labels for name in fitted["methods"]}
    metrics: dict[str, Any] = dict(found.metrics)
    if {KEYWORDS, NEGATION} <= ladder.keys():
        attempt = fix_attempt(ladder[KEYWORDS], ladder[NEGATION], buckets)
        metrics["fix_attempt"] = attempt
    for name, right in (("current", headline), ("baseline", simple)):
        whole, count = consistent_groups(test["group"].to_numpy(), labels, right)
        if count:
            low, high = proportion_interval(whole, count, params.confidence)
            consistency = {"share": whole / count, "low": low, "high": high, "groups": count}
            metrics[name] = {**metrics[name], "contrast_consistency": consistency}
    tables = {
        "slices": slices(columns, headline, simple, params.confidence),
        "buckets": errors_by_bucket(buckets, {**ladder, "model": headline}),
    }
    return replace(found, metrics=metrics, tables={**found.tables, **tables})


def bucket(text: str) -> str:
    """Return the device by which a text may mislead, told by its words (English); else "other".

    The first of `SIGNS` that occurs; sarcasm and mixed feelings have no such words.
    """
    found = ["not" if word.endswith("n't") else word for word in words(text)]
    for name, signs in SIGNS.items():
        if not set(signs.split()).isdisjoint(found):
            return name
    return "other"


def errors_by_bucket(buckets: np.ndarray, right: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return how many texts each bucket holds, and how many of them each method gets wrong."""
    table = pd.DataFrame({"bucket": buckets, "count": 1, **{n: ~good for n, good in right.items()}})
    return table.groupby("bucket", sort=True).sum().astype(int).reset_index()


def fix_attempt(before: np.ndarray, after: np.ndarray, buckets: np.ndarray) -> dict[str, Any]:
    """Return what the negation rule did to the texts that hang on a negation, and to all others.

    Args:
        before: (n,), bool, what keyword counts get right.
        after: (n,), bool, what they get right with the rule.
        buckets: (n,).
    """
    covered = sorted({str(one) for one in buckets if "negation" in str(one)})
    inside = np.isin(buckets.astype(str), covered)
    found: dict[str, Any] = {
        "change": NEGATION,
        "instead_of": KEYWORDS,
        "bucket": " and ".join(covered) or "negation",
    }
    for name, part in (("in_bucket", inside), ("elsewhere", ~inside)):
        fixed = int((after & ~before & part).sum())
        broken = int((before & ~after & part).sum())
        found[name] = {
            "count": int(part.sum()),
            "errors_before": int((~before & part).sum()),
            "errors_after": int((~after & part).sum()),
            "fixed": fixed,
            "broken": broken,
            "mcnemar_p": mcnemar(fixed, broken),
        }
    return found


def length_slices(texts: Sequence[str], lengths: Sequence[int]) -> np.ndarray:
    """Return for each text the slice of its length in words: "01 to 10", "11 to 20", "over 20"."""
    digits = len(str(lengths[-1]))
    edges = [0, *lengths]
    names = [f"{low + 1:0{digits}} to {high:0{digits}} words" for low, high in pairwise(edges)] + [
        f"over {lengths[-1]} words"
    ]
    counts = [len(words(text)) for text in texts]
    return np.array(names, dtype=object)[np.searchsorted(lengths, counts)]
