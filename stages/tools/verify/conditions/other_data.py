"""The same model on other data of the same form, which the submitter never saw.

The submission's weights, stored or trained again, are evaluated by this project's code of the kind, in a
process of its own; nothing of the submission runs. Weights are safetensors.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.verify.conditions.claim import Claim, interval_words, unknown_metric
from stages.tools.verify.conditions.condition import Condition, Outcome
from stages.tools.verify.isolation import run_isolated

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.datasets.ledger import PackedSamples

_CONFIDENCE, _RESAMPLES = 0.95, 10_000  # the receiver's, whatever the submission's params say
_INTERVAL = f"{_CONFIDENCE:.0%} "
_LISTED = 5  # classes that a message names


@dataclass(frozen=True)
class OtherData:
    """Data on which the model of a task is evaluated."""

    task: str
    path: Path

    @property
    def option(self) -> str:
        """Return how the command line names them, for messages."""
        return f"--data {self.task}={self.path}"


@dataclass(frozen=True)
class OtherScores:
    """The scores of a task's models on other data.

    Attributes:
        task: by name.
        metric: `evaluate.metric` of the task, which decides.
        n: samples.
        scores: of the primary seed's model, by key as in metrics.json; with folds the mean over the
            models of all folds, also of the ends of intervals.
        committed: the same keys of the committed result, as far as it has them.
        models: in words, whose scores they are.
        remarks: sentences on samples that were left out, or that were trained on.
    """

    task: str
    metric: str
    n: int
    scores: dict[str, float]
    committed: dict[str, float]
    models: str
    remarks: list[str]

    def conditions(self, claims: Sequence[Claim]) -> list[Condition]:
        """Return whether claims hold on the other data.

        Args:
            claims: those on other tasks are left out. Without one, the claim is the committed result: it
                holds if the interval on the other data reaches the committed one or lies above it.
        """
        of_task = [claim for claim in claims if claim.task == self.task]
        return [self._check(claim) for claim in of_task] or [self._compare()]

    def _check(self, claim: Claim) -> Condition:
        name = f"claim on other data: {claim}"
        value = self.scores.get(claim.metric)
        if value is None:
            reason = unknown_metric(claim, self.scores)
            return Condition(name, Outcome.UNCHECKED, f"on other data, {reason}")
        outcome = Outcome.HOLDS if claim.is_met(value) else Outcome.FAILS
        ends = [self.scores.get(f"{claim.metric}_{end}") for end in ("low", "high")]
        return Condition(
            name,
            outcome,
            f"{value:g}{interval_words(claim, ends, _INTERVAL)}, n {self.n}; {self.models}",
        )

    def _compare(self) -> Condition:
        name = f"{self.task} on other data: as the committed {self.metric}"
        keys = [f"{self.metric}{end}" for end in ("", "_low", "_high")]
        value, low, high = (self.scores[key] for key in keys)
        text = f"{value:g} ({_INTERVAL}interval {low:g} to {high:g}), n {self.n}; {self.models}"
        if not all(key in self.committed for key in keys):
            return Condition(name, Outcome.UNCHECKED, f"{text}; nothing committed to compare with")
        committed, committed_low, committed_high = (self.committed[key] for key in keys)
        text += (
            f"; committed {committed:g} (interval {committed_low:g} to {committed_high:g}): "
            f"{value - committed:+.3g}"
        )
        return Condition(name, Outcome.HOLDS if high >= committed_low else Outcome.FAILS, text)


def parse_other_data(text: str) -> OtherData:
    """Return the data that an option names.

    Raises:
        UserError: it has another form, or there is no such file or folder.
    """
    task, sign, path = text.partition("=")
    if not task or not sign or not path:
        raise UserError(f"--data: given {text!r}; must be TASK=PATH: image=photos/")
    if not Path(path).exists():
        raise UserError(f"--data: given {text!r}; {path}: no such file or folder")
    return OtherData(task, Path(path).absolute())


def evaluate_other_data(data: OtherData, root: Path) -> OtherScores:
    """Return the scores of a task's models on other data, computed in isolation.

    Args:
        data: on which they are evaluated.
        root: the clone of the submission, with the weights.

    Raises:
        UserError: there is no such task, its kind has no such evaluation, there are no weights or they
            are not of its model, the data cannot be read, or they have other classes.
    """
    content = run_isolated(
        root, "conditions.other_data", "score_other_data", task_name=data.task, path=str(data.path)
    )
    return OtherScores(**content)


def score_other_data(folder: str, task_name: str, path: str) -> dict[str, Any]:
    """Return the fields of `OtherScores`; runs in the clone.

    Args:
        folder: an empty one, for packed samples.
        task_name: the task.
        path: of the data.
    """
    from stages.core.files import read_json
    from stages.core.runtime import pin_threads
    from stages.kinds.params import load_params, load_tasks, select_task
    from stages.kinds.registry import KINDS

    params = load_params()
    threads = min(params.runtime.threads, os.cpu_count() or 1)
    runtime = params.runtime.alone.model_copy(update={"threads": threads, "device": "cpu"})
    pin_threads(runtime)  # before numpy and torch are imported
    task = select_task(load_tasks(params.model_copy(update={"runtime": runtime})), task_name)
    data = OtherData(task_name, Path(path))
    if not KINDS[task.kind].can_score_other_data:
        raise UserError(f"{data.option}: tasks of the kind {task.kind} predict no labels")
    note = read_json(task.evidence / "data" / "dataset_note.json")
    (Path(folder) / "other").mkdir()
    packed = task.module("other_data").pack(
        task, data.path, Path(folder) / "other", note, data.option
    )
    dataset = _as_test_data(packed, note, data)
    scores = _mean_scores(task, dataset, Path(folder) / "other")
    committed = read_json(task.evidence / "data" / "metrics.json").get("current", {})
    folds = len(task.folds())
    seed = task.params.train.seeds[0]
    return {
        "task": task_name,
        "metric": task.params.evaluate.metric,
        "n": len(dataset.samples),
        "scores": scores,
        "committed": {key: value for key, value in committed.items() if key in scores},
        "models": f"seed {seed}"
        + (f", mean over the models of {folds} folds" if folds > 1 else ""),
        "remarks": [*_left_out(packed, data), *_trained_on(task, dataset, Path(folder), data)],
    }


def _as_test_data(packed: "PackedSamples", note: dict[str, Any], data: OtherData) -> "Dataset":
    """Return packed samples as a dataset in which all are test data.

    Raises:
        UserError: their classes are not those of the submission.
    """
    from stages.datasets.dataset import Dataset

    classes = list(note["classes"])
    labels = set(packed.samples["label"])
    if labels != set(classes):
        further, missing = sorted(labels - set(classes)), sorted(set(classes) - labels)
        parts = [
            f"{words} {', '.join(map(repr, names[:_LISTED]))}{' ...' if names[_LISTED:] else ''}"
            for words, names in (("unknown:", further), ("absent:", missing))
            if names
        ]
        raise UserError(
            f"{data.option}: its classes are not the {len(classes)} of the submission ({'; '.join(parts)})"
        )
    codes = {name: code for code, name in enumerate(classes)}
    samples = packed.samples.assign(
        label=packed.samples["label"].map(codes).astype("int64"), split="test"
    )
    return Dataset(samples, {**note, "folds": 1})


def _mean_scores(task: "Task", dataset: "Dataset", folder: Path) -> dict[str, float]:
    """Return the scores of the primary seed's models, the mean over the folds.

    Each interval covers the score of its fold's model, and the models err alike on the same samples; so
    the mean of the intervals covers the mean of the scores at least as often.
    """
    import numpy as np

    from stages.core.runtime import set_deterministic
    from stages.evaluation.classification_metrics import predictions_from
    from stages.evaluation.scoring import method_scores

    set_deterministic(task.runtime)
    params = task.params.evaluate.model_copy(
        update={"confidence": _CONFIDENCE, "resamples": _RESAMPLES}
    )
    load = task.module("other_data").model_loader(task, folder)
    labels, groups = dataset.labels("test"), _groups(dataset.samples)
    scores = []
    for fold in task.folds():
        embed, predict = load(fold, dataset, task.params.train.seeds[0])
        predictions = predictions_from(predict(embed("test")), labels)
        scores.append(method_scores(predictions, labels, len(dataset.classes), params, groups))
    return {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}


def _groups(samples: "pd.DataFrame") -> "np.ndarray":
    """Return the group of each sample, (n,); one without a group is alone."""
    alone = "sample " + samples["row"].astype(str)
    groups: np.ndarray = samples["group"].where(samples["group"] != "", alone).to_numpy(object)
    return groups


def _left_out(packed: "PackedSamples", data: OtherData) -> list[str]:
    counts = {"unreadable": len(packed.unreadable), "exact duplicates": len(packed.duplicates)}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    return [f"{data.option}: left out: {', '.join(parts)}"] if parts else []


def _trained_on(task: "Task", dataset: "Dataset", folder: Path, data: OtherData) -> list[str]:
    """Return a remark where samples of the other data are among those that the submission trains on."""
    from stages.kinds.registry import KINDS
    from stages.tools.verify.conditions.overlap import PACKED, compare_with_training, prepare_again

    packed = folder / "other" / PACKED[KINDS[task.kind].modality]
    try:
        prepared = prepare_again(task, folder / "prepared")
        names = dataset.samples["id"].tolist()
        overlap = compare_with_training(task, prepared, folder, packed, names)
    except (UserError, OSError) as error:
        return [f"{data.option}: whether it was trained on these samples was not checked ({error})"]
    return [f"{data.option}: {overlap}"] if overlap.exact or overlap.near else []
