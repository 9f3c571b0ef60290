"""The declaration of a kind: what the pipeline and the tools need to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.core.schema import TaskSections


@dataclass(frozen=True)
class BenchRuns:
    """What `evidence bench` repeats for a kind.

    Attributes:
        repeats: the default number of pairs of a split and a training seed.
        columns: of the table of results, heading -> path of a figure in metrics.json
            (`current.accuracy`); a `*` in both gives a column for each key at that place.
        summary: the heading of the column whose mean and spread over the repeats are reported.
    """

    repeats: int
    columns: Mapping[str, str]
    summary: str


CLASSIFICATION_COLUMNS = {
    "n": "n",
    "*": "baselines.*.accuracy",
    "model": "current.accuracy",
    "gain": "current.improvement.gain",
    "interval from": "current.improvement.gain_low",
    "interval to": "current.improvement.gain_high",
    "verdict": "current.improvement.verdict",
}


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    The package `stages/kinds/<name>` holds a module for each stage (`prepare`, `check`, `baseline`,
    `train`, `evaluate`, `failures`, `pack`) and `predict`, `recompute` and `experiment` for the tools.

    Attributes:
        name: the value of `kind:` in params.yaml, and of its package.
        title: for readers: "image classification".
        schema: of a task's params.
        modality: what a sample is; the fault catalogue selects by it.
        data: whether `prepare.path` names a folder or a file.
        plots: the files in data/evaluate/<task>/plots, by name without the suffix.
        bench: what `evidence bench` repeats.
        small_params: params with which a task of this kind runs through all its stages in seconds.
        metric: the figure in metrics.json that decides the verdict; "" where the param `evaluate.metric`
            names it.
        can_sample: whether the kind has a module `sample`, for `evidence sample`.
        can_propose: whether it has a module `propose` and two templates, for `evidence new`.
        can_score_other_data: whether it has a module `other_data`, for `evidence verify --data`.
        has_walkthrough: whether it has a module `walkthrough`, for `evidence walkthrough`.
    """

    name: str
    title: str
    schema: type[TaskSections]
    modality: Literal["images", "texts"]
    data: Literal["folder", "file"]
    plots: tuple[str, ...]
    bench: BenchRuns
    small_params: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    can_sample: bool = False
    can_propose: bool = False
    can_score_other_data: bool = False
    has_walkthrough: bool = False
