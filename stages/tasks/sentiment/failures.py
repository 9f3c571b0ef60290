"""Failure cases of the text classifier, the words behind them, and the one change to try first."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.shared.cases import AMONG, BETWEEN, DRAWN, UNLIKE, Cases, Change, failing, smoothing
from stages.shared.dataset import read_dataset
from stages.shared.files import read_csv, read_json
from stages.shared.runtime import device
from stages.shared.texts.packed import Texts
from stages.tasks.sentiment.model import LAYERS, asked, load
from stages.tasks.sentiment.predict import driving_words

if TYPE_CHECKING:
    from stages.shared.schema import FailuresOfTexts, TrainTexts
    from stages.shared.task import Task

_ENOUGH = 10  # texts of a bucket before its share of errors is compared


def failures(task: "Task") -> Cases:
    """Return the failure cases, some successes, the words that drove each, and the next step."""
    params: FailuresOfTexts = task.params.failures
    dataset = read_dataset(task.folder("prepare"))
    texts = Texts(task.folder("prepare") / "texts.bin")
    found = failing(task, dataset, changes(task.params.train))
    shown = pd.concat([found.cases.head(params.explain), found.successes])
    written = texts.at(shown["row"])

    model = load(task, len(dataset.classes), task.params.train.seeds[0])
    where, most = device(task.runtime), task.params.train.max_tokens
    said = asked(model.log_probabilities, written, most, where)
    weighed = driving_words(model, written, said, most, where)
    buckets = read_csv(task.folder("evaluate") / "buckets.csv", dtype={"bucket": str})
    metrics = read_json(task.folder("evaluate") / "metrics.json")
    known = known_failure(buckets, metrics["strongest_baseline"])
    fix = metrics.get("fix_attempt", {"change": "none: the params name no keywords"})
    return replace(
        found,
        cases=found.cases.assign(text=texts.at(found.cases["row"])),
        successes=found.successes.assign(text=texts.at(found.successes["row"])),
        summary={**found.summary, "known_failure": known, "fix_attempt": fix},
        more={
            "words.json": {
                str(name): [[word, weight] for word, weight in words]
                for name, words in zip(shown["id"], weighed, strict=True)
            }
        },
    )


def known_failure(buckets: pd.DataFrame, baseline: str) -> dict[str, Any]:
    """Return the bucket in which the model is wrong most often, beside the baseline.

    Only buckets of at least 10 test texts are compared, where there are such.
    """
    enough = buckets[buckets["count"] >= _ENOUGH]
    enough = buckets if enough.empty else enough
    worst = enough.iloc[int((enough["model"] / enough["count"]).argmax())]
    return {
        "bucket": worst["bucket"],
        "count": int(worst["count"]),
        "errors": int(worst["model"]),
        "baseline_errors": int(worst[baseline]),
    }


def changes(params: "TrainTexts") -> dict[str, Change]:
    """Return for a cause the param to change, its new value, and what that should do."""
    found = smoothing(params)
    if params.model == "minilm":
        more = (
            "train_layers",
            min(LAYERS, params.train_layers + 1),
            "one more of MiniLM's layers learns, so that what texts are near to can change",
        )
        found |= dict.fromkeys((UNLIKE, BETWEEN, DRAWN, AMONG), more)
    else:
        wider = (
            "scratch.layers",
            params.scratch.layers + 1,
            "one more layer lets words be read in the light of others",
        )
        found |= dict.fromkeys((UNLIKE, BETWEEN, DRAWN, AMONG), wider)
    return found
