"""The evidence pack of the generator: samples by checkpoint, quality, diversity, copying, failures."""

from typing import TYPE_CHECKING

from stages.core.files import read_arrays, to_csv
from stages.datasets.images.packed import open_packed
from stages.kinds.image_generation.artifacts import artifacts
from stages.kinds.image_generation.failure_section import (
    excess_figure,
    failure_strip,
    failures_section,
    success_strip,
    worst_line,
)
from stages.kinds.image_generation.outputs import GenerationOutputs
from stages.kinds.image_generation.record import record
from stages.kinds.image_generation.sections import (
    baseline_section,
    certainty_section,
    checkpoint_section,
    class_section,
    demo_section,
    limits_section,
    method_figure,
    train_section,
)
from stages.kinds.image_generation.summary import (
    answers,
    gain_line,
    review_drafts,
    summary_line,
)
from stages.report.document import Columns, Document, Headline
from stages.report.pack import EvidencePack, data_files
from stages.report.sections import (
    check_section,
    first_facts,
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
        Headline(gain_line(outputs), outputs.gain["verdict"]),
        summary_line(outputs),
        [
            failures_section(outputs, samples["samples"], images),
            checkpoint_section(outputs, samples),
            certainty_section(outputs),
            next_step_section(outputs),
            review_section(outputs, drafts),
            limits_section(outputs),
            demo_section(outputs, interpolation),
            overview_section(outputs, answers(outputs)),
            class_section(outputs),
            prepare_section(outputs),
            check_section(outputs),
            baseline_section(outputs, samples),
            train_section(outputs),
        ],
        [
            Columns(
                [method_figure(outputs), *first_facts(outputs, worst_line(outputs))],
                [excess_figure(outputs)],
            ),
            failure_strip(outputs, samples["samples"]),
            success_strip(outputs, samples["samples"]),
        ],
    )
    return EvidencePack(
        document,
        record(outputs, drafts),
        {**data_files(outputs, files), "metric_table.csv": to_csv(outputs.metric_table())},
        task.params.pack.page_limit_mb,
    )
