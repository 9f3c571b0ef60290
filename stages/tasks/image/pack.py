"""The evidence pack of the image classifier: the shared sections, with pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.shared import pictures, sections
from stages.shared.document import Command, Facts, Figure, Text
from stages.shared.evidence import Pack, classifier_files, named, record
from stages.shared.files import read_arrays, read_csv
from stages.shared.findings import Findings, gather
from stages.shared.images.packed import opened
from stages.shared.wording import percent

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.task import Task

DEMO = "demo.png"
SHOWN = 8  # images before and after augmentation, at most


def unseen(task: "Task", dataset: "Dataset") -> dict[Path, dict[str, tuple[int, ...]]]:
    """Return the files of pixels that `pack` draws and that are not in git, with their arrays' shapes."""
    count = min(SHOWN, task.params.check.batch_size, dataset.note["counts"]["train"])
    shape = (count, *dataset.note["shape"])
    path = task.folder("check") / "augmentation.safetensors"
    return {path: {"before": shape, "after": shape}}


def _augmentation(found: Findings, arrays: Mapping[str, np.ndarray]) -> Figure:
    before, after = arrays["before"], arrays["after"]
    given = found.task.params.train.augment
    said = ", ".join(f"{name} {value}" for name, value in given)
    return Figure(
        "augmentation.png",
        pictures.rows([list(before), list(after)]),
        f"{len(before)} training images above, the same after augmentation below.",
        f"Training images before (above) and after (below) augmentation: {said}.",
    )


def _risks(found: Findings) -> Facts:
    note, baseline = found.dataset.note, found.baseline
    counts = [row["train"] for row in note["class_counts"]]
    near = note["near_duplicates"]
    return Facts(
        [
            (
                "Class imbalance",
                f"the largest class has {max(counts)} training images, the smallest {min(counts)}",
            ),
            (
                "Background leakage",
                (
                    f"the outermost ring of pixels alone gives {percent(baseline['border_accuracy'])} on "
                    f"validation data by nearest prototype (chance is {percent(1 / len(counts))})"
                ),
            ),
            (
                "Label noise",
                (
                    f"{found.summary['suspect_labels']} suspect labels among the failure cases, "
                    f"{note['exact_duplicates_with_another_label']} exact duplicates with another label"
                ),
            ),
            (
                "Similar images across splits",
                (
                    f"{near['pairs']} near-duplicate pairs, {near['straddling_left_out']} images left out "
                    "so that none straddles two splits"
                ),
            ),
        ]
    )


def pack(task: "Task") -> Pack:
    """Return the evidence pack."""
    found = gather(task)
    images = opened(task.folder("prepare") / "images.npy")
    evaluated = task.folder("evaluate")
    curves = {
        "model": read_csv(task.plots / "reliability.csv"),
        found.metrics["strongest_baseline"]: read_csv(evaluated / "baseline" / "reliability.csv"),
    }
    demo = f"python -m stages.predict {task.name} {task.evidence / 'data' / DEMO}"
    trained = task.params.train
    model = (
        f"{trained.model}, channels {' and '.join(map(str, trained.channels))}"
        if trained.model == "residual"
        else trained.model
    )
    augmented = read_arrays(task.folder("check") / "augmentation.safetensors")
    network = (
        f"Model: {model}; {trained.epochs} epochs of batches of {trained.batch_size}, AdamW, peak "
        f"learning rate {trained.learning_rate:g}, weight decay {trained.weight_decay:g}, label "
        f"smoothing {trained.label_smoothing:g}."
    )
    document = sections.document(
        found,
        f"Evidence: {task.name} classification",
        curves,
        {"right": pictures.right(found, images), "wrong": pictures.wrong(found, images)},
        {
            "check": [_augmentation(found, augmented)],
            "train": [Text(network)],
            "limits": [_risks(found)],
        },
        [Text("Ask the model about an image file:"), Command(demo)],
    )
    return Pack(
        document,
        record(found, named(found)),
        {
            **classifier_files(found),
            DEMO: pictures.png(pictures.plain(images[found.successes.iloc[0]["row"]])),
        },
        task.params.pack.page_limit_mb,
    )
