"""The one change to try first, computed from the failures of the samples."""

from typing import TYPE_CHECKING, Any

from stages.evaluation.failure_causes import change_in_words
from stages.kinds.image_generation.failure_kinds import (
    BLURRED,
    BROKEN,
    COLLAPSED,
    COPIED,
    CRITERIA,
)

if TYPE_CHECKING:
    from stages.kinds.image_generation.schema import EvaluateFlow, TrainFlow

_STILL_IMPROVING = 0.1  # fall of the Fréchet distance between the last two checkpoints
_GUIDANCE_STEP = 0.25
_MIN_WEIGHT_DECAY = 0.01
_LABEL_DROPOUT = 0.1

Change = tuple[str, Any, str]  # key below the task, new value, what it is expected to do


def next_step(
    section: str,
    excess: dict[str, float],
    last_improvement: float,
    train: "TrainFlow",
    evaluate: "EvaluateFlow",
) -> dict[str, Any]:
    """Return the one change to try first, with its command, for the kind of failure with most excess.

    While quality still improves by over a tenth from one checkpoint to the next, longer training comes
    first.

    Args:
        section: of params, "tasks.<name>".
        excess: by kind of failure, failing samples minus the number that real images would have.
        last_improvement: share by which the Fréchet distance fell between the last two checkpoints.
        train: params of the stage train.
        evaluate: params of the stage evaluate.
    """
    bucket = max(excess, key=lambda name: excess[name])
    short_reason = "samples fail no more often than real images do"
    reason = short_reason
    if excess[bucket] > 0:
        short_reason = (
            f"{excess[bucket]:.0f} more samples are {bucket} than the share of real images predicts"
        )
        reason = f"{short_reason}, the largest excess ({bucket}: {CRITERIA[bucket]})"
    if last_improvement > _STILL_IMPROVING:
        key, value, expectation = _longer_training(last_improvement, train)
        short_reason = f"quality improved by {last_improvement:.0%} with the last checkpoint"
    else:
        key, value, expectation = _change(bucket, train, evaluate)
    stage, _, name = key.partition(".")
    before = getattr({"train": train, "evaluate": evaluate}[stage], name)
    return {
        "bucket": bucket,
        "change": {f"{section}.{key}": value},
        "summary": f"{change_in_words(key, before, value)}: {short_reason}",
        "why": f"{reason}; {expectation}",
        "command": f"dvc exp run -S '{section}.{key}={value}'",
    }


def _longer_training(last_improvement: float, train: "TrainFlow") -> Change:
    last = train.checkpoint_steps[-1]
    longer = last + max(1, last // 2 // train.log_every) * train.log_every
    return (
        "train.checkpoint_steps",
        [*train.checkpoint_steps, longer],
        (
            f"quality still improved by {last_improvement:.0%} between the last two checkpoints, so longer "
            "training comes first"
        ),
    )


def _change(bucket: str, train: "TrainFlow", evaluate: "EvaluateFlow") -> Change:
    """Return the change for one kind of failure."""
    if bucket == COPIED:
        return (
            "train.weight_decay",
            max(_MIN_WEIGHT_DECAY, round(train.weight_decay * 2, 4)),
            "regularisation keeps the network from memorising single training images",
        )
    if bucket == COLLAPSED and not evaluate.guidance:
        return (
            "train.label_dropout",
            round((1 + train.label_dropout) / 2, 3),
            "with labels dropped more often, the network learns more of what the classes share",
        )
    if not train.label_dropout:
        return (
            "train.label_dropout",
            _LABEL_DROPOUT,
            "guidance would help, for which the network must also be trained without labels",
        )
    step, expectation = {
        BROKEN: (_GUIDANCE_STEP, "more guidance draws samples towards the requested class"),
        BLURRED: (
            _GUIDANCE_STEP,
            "more guidance gives sharper samples, at the expense of diversity, which the review checks",
        ),
        COLLAPSED: (-_GUIDANCE_STEP, "less guidance leaves each class more of its spread"),
    }[bucket]
    return "evaluate.guidance", round(max(0.0, evaluate.guidance + step), 3), expectation
