"""The evidence pack of the workshop: the shared sections, and where to look when something is wrong."""

from typing import TYPE_CHECKING

from stages.shared import pictures, sections
from stages.shared.document import Block, Command, Facts, Text
from stages.shared.evidence import Pack, classifier_files, named, record
from stages.shared.files import as_csv, read_csv
from stages.shared.findings import Findings, gather
from stages.shared.images.packed import opened

if TYPE_CHECKING:
    from stages.shared.task import Task

DEMO = "demo.png"
CHECKLIST = [
    (
        "Shapes do not match",
        "print the shape of one batch and of its logits; hold them against the table of shapes above",
    ),
    (
        "The loss does not fall",
        "learning rate, labels, scale of the inputs; then overfit one tiny batch (the check above)",
    ),
    (
        "Training gets better while validation does not",
        "overfitting: more or more varied data, fewer epochs, a smaller model",
    ),
    (
        "Results differ from run to run",
        "seeds and shuffling (stages/shared/runtime.py, seed_for), then threads and machine",
    ),
    ("Memory runs out", "smaller batches or images first, then a smaller model"),
]


def pack(task: "Task") -> Pack:
    """Return the evidence pack."""
    found = gather(task)
    images = opened(task.folder("prepare") / "images.npy")
    curves = {
        "model": read_csv(task.plots / "reliability.csv"),
        found.metrics["strongest_baseline"]: read_csv(
            task.folder("evaluate") / "baseline" / "reliability.csv"
        ),
    }
    demo = f"python -m stages.predict {task.name} {task.evidence / 'data' / DEMO}"
    document = sections.document(
        found,
        "Evidence: workshop, the direction of stripes",
        curves,
        {"right": pictures.right(found, images), "wrong": pictures.wrong(found, images)},
        {
            "check": _debugging(found),
            "train": [Text(_network(found))],
            "limits": [_limits(found)],
        },
        [Text("Load the checkpoint and ask it about an image file:"), Command(demo)],
    )
    return Pack(
        document,
        record(found, named(found)),
        {
            **classifier_files(found),
            "baseline_log.csv": as_csv(read_csv(task.folder("baseline") / "log.csv")),
            DEMO: pictures.png(pictures.plain(images[found.successes.iloc[0]["row"]])),
        },
        task.params.pack.page_limit_mb,
    )


def _debugging(found: Findings) -> list[Block]:
    given = found.shapes.iloc[0]["output_shape"]
    logits = found.shapes.iloc[-1]["output_shape"]
    count = given.strip("()").split(",")[0]
    return [
        Text(
            f"Images {given}, labels ({count},) of whole numbers, logits {logits}: one number for each "
            "image and class. docs/workshop.md follows one batch through all of it, with every value."
        ),
        Text("When something is wrong, look here first:"),
        Facts(CHECKLIST),
    ]


def _network(found: Findings) -> str:
    given = found.task.params.train
    return (
        f"Model: 3x3 convolutions with {' and '.join(map(str, given.channels))} channels; "
        f"{given.epochs} epochs of batches of {given.batch_size}, AdamW, peak learning rate "
        f"{given.learning_rate:g}, weight decay {given.weight_decay:g}."
    )


def _limits(found: Findings) -> Facts:
    return Facts(
        [
            (
                "Made, not collected",
                "stripes are drawn by a few lines of code; a result on them says nothing about photographs",
            ),
            (
                "Difficulty",
                (
                    f"{found.task.params.prepare.difficulty:g} of 1, of a scale made for this exercise; at "
                    "another one the gap is another"
                ),
            ),
            (
                "What the baseline cannot see",
                (
                    "flatten + linear has a weight for every pixel and class, so a stripe that is shifted "
                    "looks new to it; the convolutions look for it at every place"
                ),
            ),
        ]
    )
