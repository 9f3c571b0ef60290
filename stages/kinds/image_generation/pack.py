"""The evidence pack of the generator: samples by checkpoint, quality, diversity, copying, failures."""

from typing import TYPE_CHECKING

from stages.core.files import read_arrays, to_csv
from stages.datasets.images.packed import open_packed
from stages.kinds.image_generation.artifacts import artifacts
from stages.kinds.image_generation.failure_section import failures_section
from stages.kinds.image_generation.outputs import GenerationOutputs
from stages.kinds.image_generation.record import record
from stages.kinds.image_generation.sections import (
    baseline_section,
    demo_section,
    evaluate_section,
    limits_section,
    train_section,
)
from stages.kinds.image_generation.summary import (
    answers,
    review_drafts,
    summary_line,
    verdict_line,
)
from stages.report.document import Document
from stages.report.pack import EvidencePack, data_files
from stages.report.sections import (
    check_section,
    next_step_section,
    overview_section,
    prepare_section,
    review_section,
)
from stages.report.stage_outputs import load_outputs

if TYPE_CHECKING:
    from stages.core.task import Task


def pack(task: "Task") -> EvidencePack:
    """Return the evidence pack."""
    files = artifacts(task)
    outputs = load_outputs(task, GenerationOutputs, files)
    samples = read_arrays(task.folder("evaluate") / "samples.safetensors")
    interpolation = read_arrays(task.folder("failures") / "interpolation.safetensors")["images"]
    images = open_packed(task.folder("prepare") / "images.npy")
    drafts = review_drafts(outputs)
    document = Document(
        f"Evidence: {task.name}, image generation",
        verdict_line(outputs),
        summary_line(outputs),
        [
            overview_section(outputs, answers(outputs)),
            prepare_section(outputs),
            check_section(outputs),
            baseline_section(outputs, samples),
            train_section(outputs),
            evaluate_section(outputs, samples),
            failures_section(outputs, samples["samples"], images),
            review_section(outputs, drafts),
            next_step_section(outputs),
            limits_section(outputs),
            demo_section(outputs, interpolation),
        ],
    )
    return EvidencePack(
        document,
        record(outputs, drafts),
        {**data_files(outputs, files), "metric_table.csv": to_csv(outputs.metric_table())},
        task.params.pack.page_limit_mb,
    )
