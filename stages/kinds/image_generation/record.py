"""The record of an image generator's pack."""

from typing import TYPE_CHECKING, Any

from stages.kinds.image_generation.failure_section import worst_line
from stages.kinds.image_generation.summary import answers, gain_line
from stages.report.pack import common_record

if TYPE_CHECKING:
    from stages.kinds.image_generation.outputs import GenerationOutputs


def record(outputs: "GenerationOutputs", drafts: dict[str, str]) -> dict[str, Any]:
    """Return the record, under the names that every pack uses.

    Args:
        outputs: of the stages before the pack.
        drafts: of the review notes, by heading.
    """
    columns = ["id", "true", "predicted", "confidence", "bucket", "kind", "cause"]
    cases = outputs.cases[columns].to_dict("records")
    checkpoints = outputs.checkpoint_rows[["step", "status", "reason", "note"]]
    return {
        **common_record(outputs),
        "improvement_of": "Fréchet distance to the test split: the baseline's minus the model's",
        "failure_cases": cases,
        "questions": answers(outputs),
        "headline": gain_line(outputs),
        "worst": worst_line(outputs),
        "checkpoint_samples": "pictures/checkpoints.png",
        "checkpoint_review": checkpoints.to_dict("records"),
        "quality_note": drafts["Quality"],
        "diversity_note": drafts["Diversity"],
        "failure_sample": cases[0],
        "selection_rule": outputs.metrics["selection"]["rule"],
        "split_rule": outputs.dataset.note["split_rule"],
    }
