"""The evidence pack of an image classifier: the shared sections, with pictures."""

from typing import TYPE_CHECKING, Any

from stages.core.files import read_arrays
from stages.datasets.images.packed import open_packed
from stages.evaluation.folds import fold_numbers
from stages.kinds.image_classification.artifacts import AUGMENTATION, artifacts
from stages.kinds.image_classification.schema import PRETRAINED
from stages.report import pictures
from stages.report.classifier_sections import SampleBlocks, classification_document
from stages.report.document import Block, Command, Facts, Figure, Text
from stages.report.formatting import percent
from stages.report.pack import EvidencePack, classification_files, classification_record
from stages.report.stage_outputs import ClassificationOutputs, load_outputs

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.image_classification.schema import TrainImages

DEMO = "demo.png"
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD with Nesterov's momentum"}
CHECKLIST = [
    (
        "Shapes do not match",
        "print the shape of one batch and of its logits; compare them with the table of shapes above",
    ),
    (
        "The loss does not fall",
        "learning rate, labels, scale of the inputs; then overfit one tiny batch (the check above)",
    ),
    (
        "Training improves while validation does not",
        "overfitting: more or more varied data, fewer epochs, a smaller model",
    ),
    (
        "Results differ from run to run",
        "seeds and shuffling (stages/core/runtime.py, seed_for), then threads and machine",
    ),
    ("Memory runs out", "smaller batches or images first, then a smaller model"),
]


def pack(task: "Task") -> EvidencePack:
    """Return the evidence pack."""
    files = artifacts(task)
    outputs = load_outputs(
        task, ClassificationOutputs, [a for a in files if a.name != "baseline_log"]
    )
    images = open_packed(task.folder("prepare") / "images.npy")
    demo = f"evidence predict {task.name} {task.evidence / 'data' / DEMO}"
    document = classification_document(
        outputs,
        f"Evidence: {task.name}, image classification",
        SampleBlocks(
            pictures.failure_strip(outputs, images),
            pictures.success_strip(outputs, images),
            pictures.image_cases(outputs, images),
        ),
        {
            "check": [*_augmentation(outputs), *_debugging(outputs)],
            "train": [Text(_network(outputs))],
            "limits": [_risks(outputs)],
        },
        [Command(demo)],
    )
    example = images[_demo_row(outputs)]
    return EvidencePack(
        document,
        classification_record(outputs, _record(outputs)),
        {
            **classification_files(outputs, files),
            DEMO: pictures.to_png(pictures.to_image(example)),
        },
        task.params.pack.page_limit_mb,
    )


def _demo_row(outputs: ClassificationOutputs) -> int:
    """Return the row of the test image, of the fold whose model predicts, that it is most confident of."""
    table, seed = outputs.predictions, outputs.metrics["primary_seed"]
    correct = table[f"seed_{seed}"] == table["label"]
    candidates = table[correct & (fold_numbers(table) == 0)]
    best = candidates.sort_values(["confidence", "id"], ascending=[False, True]).iloc[0]
    return int(best["row"])


def _record(outputs: ClassificationOutputs) -> dict[str, Any]:
    """Return the keys of the record that only an image classifier has."""
    note, first = outputs.dataset.note, outputs.cases.iloc[0]
    return {
        "split_rule": note["split_rule"],
        "class_counts": note["class_counts"],
        "metric": {
            "accuracy": outputs.metrics["current"]["accuracy"],
            "confusion_matrix": "data/confusion_matrix.csv",
        },
        "error_case": {
            "id": first["id"],
            "true": first["true"],
            "predicted": first["predicted"],
            "likely_cause": first["cause"],
        },
    }


def _augmentation(outputs: ClassificationOutputs) -> list[Block]:
    params: TrainImages = outputs.task.params.train
    if params.augment is None:
        return []
    arrays = read_arrays(outputs.task.folder("check") / AUGMENTATION)
    before, after = arrays["before"], arrays["after"]
    settings = ", ".join(f"{name} {value}" for name, value in params.augment)
    return [
        Figure(
            "augmentation.png",
            pictures.image_grid([list(before), list(after)]),
            f"{len(before)} training images above, the same after augmentation below.",
            f"Training images before (above) and after (below) augmentation: {settings}.",
        )
    ]


def _debugging(outputs: ClassificationOutputs) -> list[Block]:
    images = outputs.shapes.iloc[0]["output_shape"]
    logits = outputs.shapes.iloc[-1]["output_shape"]
    count = images.strip("()").split(",")[0]
    return [
        Text(
            f"Images {images}, labels ({count},) of whole numbers, logits {logits}: one number for each "
            "image and class. docs/workshop.md follows one batch through the loop, with every value."
        ),
        Text("When something is wrong, look here first:"),
        Facts(CHECKLIST),
    ]


def _network(outputs: ClassificationOutputs) -> str:
    params: TrainImages = outputs.task.params.train
    model: str = params.model
    if model not in PRETRAINED:
        model += f", channels {', '.join(map(str, params.channels))}"
    if params.blocks:
        model += f", blocks {', '.join(map(str, params.blocks))}"
    low, optimizer = params.low_resolution, OPTIMIZERS[params.optimizer]
    reduced = f" (the first {low.share:.0%} on images of {low.size} pixels a side)" if low else ""
    return (
        f"Model: {model}; {params.epochs} epochs{reduced} of batches of {params.batch_size}, "
        f"{optimizer}, peak learning rate {params.learning_rate:g}, weight decay "
        f"{params.weight_decay:g}, label smoothing {params.label_smoothing:g}."
    )


def _risks(outputs: ClassificationOutputs) -> Facts:
    note, baseline = outputs.dataset.note, outputs.baseline
    counts = [row["train"] for row in note["class_counts"]]
    near = note["near_duplicates"]
    return Facts(
        [
            *note["limits"].items(),
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
                    f"{outputs.summary['confidently_wrong']} cases are confidently wrong in every run, "
                    f"{note['exact_duplicates_with_another_label']} exact duplicates with another label"
                ),
            ),
            (
                "Similar images across splits",
                (
                    f"{near['pairs']} near-duplicate pairs, {near['cross_split_excluded']} images excluded "
                    "so that no pair is in two splits"
                ),
            ),
        ]
    )
