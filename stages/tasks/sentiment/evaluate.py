"""Evaluate the text classifiers: overall, by slice, and on contrast pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared.comparison import Embed, Evaluation, Judge, evaluated
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.files import read_arrays, read_json
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

    found = evaluated(task, dataset, loaded)
    baselines = read_arrays(task.folder("baseline") / "test.safetensors")
    return _by_part(found, dataset, texts, baselines, task)


def _by_part(
    found: Evaluation,
    dataset: Dataset,
    texts: Texts,
    baselines: dict[str, np.ndarray],
    task: "Task",
) -> Evaluation:
    """Add slices, buckets, contrast consistency, and what one targeted change did."""
    params: EvaluateTexts = task.params.evaluate
    test, said = dataset.part("test"), found.predictions
    written = texts.at(test["row"])
    labels = test["label"].to_numpy()
    headline = said[f"seed_{found.metrics['headline_seed']}"].to_numpy() == labels
    simple = said["baseline"].to_numpy() == labels

    columns = {name: test[name].to_numpy(object) for name in task.params.prepare.columns.slices}
    by = params.bucket_by
    buckets = columns[by] if by else np.array([bucket(text) for text in written], dtype=object)
    columns["length"] = length_slices(written, params.lengths)
    methods = {name: p.argmax(axis=1) == labels for name, p in baselines.items()}
    order = read_json(task.folder("baseline") / "baseline.json")["methods"]
    ladder = {name: methods[name] for name in order}
    metrics: dict[str, Any] = dict(found.metrics)
    if {KEYWORDS, NEGATION} <= methods.keys():
        attempt = fix_attempt(methods[KEYWORDS], methods[NEGATION], buckets)
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
    return replace(
        found,
        predictions=said.assign(bucket=buckets),
        metrics=metrics,
        tables={**found.tables, **tables},
    )


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
