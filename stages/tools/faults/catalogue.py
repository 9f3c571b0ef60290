"""The fault catalogue: known mistakes, and the check that must detect each.

A fault of the code is a patch in `patches/`, which `git apply` must accept as it is. It is named
`<fault>.<scope>.patch`; the scope is a kind, a modality (`images`, `texts`) or `all`, and the most specific
patch for a task's kind is the one that is applied. To write a patch that no longer applies again:

1. change the code so that it has the fault;
2. `git diff -U1 -- FILES > stages/tools/faults/patches/<fault>.<scope>.patch` (one line of context, so
   that edits nearby do not matter);
3. undo the change: `git apply -R stages/tools/faults/patches/<fault>.<scope>.patch`;
4. `evidence faults run --fault <fault> --clean 0`, once both are committed: the check must detect it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PATCHES = Path(__file__).resolve().parent / "patches"
VERIFY = "verify"  # in place of stages: the fault is detected by `evidence verify`
ALL = "all"

IMAGE_CLASSIFICATION = "image_classification"
TEXT_CLASSIFICATION = "text_classification"
IMAGE_GENERATION = "image_generation"
CLASSIFICATION = (IMAGE_CLASSIFICATION, TEXT_CLASSIFICATION)
IMAGES = (IMAGE_CLASSIFICATION, IMAGE_GENERATION)
EVERY_KIND = (*CLASSIFICATION, IMAGE_GENERATION)

_LOOP_CHECK = "loop steps match the hand calculation"
_LOSS_CHECK = "the chosen weights give the logged validation loss"
_EVALUATED = ("baseline", "train", "evaluate")


@dataclass(frozen=True)
class Fault:
    """A known mistake, and which check must detect it.

    Attributes:
        name: on the command line, and of its patches.
        description: what is wrong once it is injected.
        stages: that must run for it to be detected, after prepare has run without the fault.
        pattern: a regular expression that a line of a check's output must match.
        check: that must detect it, for readers.
        kinds: that it can be injected into.
        needs_groups: whether it shows only where samples have groups (a writer, a contrast pair).
        own_params: the kinds whose small params do not show it; their tasks run with their own params.
        forgery: the files in git that are forged; "" for a fault of the code, which has a patch.
    """

    name: str
    description: str
    stages: tuple[str, ...]
    pattern: str
    check: str
    kinds: tuple[str, ...] = EVERY_KIND
    needs_groups: bool = False
    own_params: tuple[str, ...] = ()
    forgery: Literal["", "metric", "metric and lock"] = ""

    def patch(self, kind: str, modality: str) -> Path | None:
        """Return the patch for tasks of a kind; None where there is none."""
        names = (f"{self.name}.{scope}.patch" for scope in (kind, modality, ALL))
        return next((PATCHES / name for name in names if (PATCHES / name).is_file()), None)


FAULTS = (
    Fault(
        "shape-mismatch",
        "the last layer expects more features than the layer before it gives",
        ("check",),
        "shapes through every layer: head .* cannot take",
        "check: shapes through every layer",
    ),
    Fault(
        "learning-rate-0",
        "the loop sets the optimizer's learning rate to 0",
        ("check",),
        _LOOP_CHECK,
        f"check: {_LOOP_CHECK}",
    ),
    Fault(
        "shuffled-labels",
        "in training batches, each sample has the label of another",
        _EVALUATED,
        "no loss decrease|overfitting|labels are ignored",
        "train: no loss decrease, or overfitting; evaluate: labels are ignored",
        own_params=(IMAGE_GENERATION,),
    ),
    Fault(
        "detached-graph",
        "no gradient passes below the last layer (or the middle of the U-Net)",
        ("check",),
        "a gradient reaches every parameter",
        "check: a gradient reaches every parameter",
    ),
    Fault(
        "missing-zero-grad",
        "gradients of earlier steps are never cleared",
        ("check",),
        _LOOP_CHECK,
        f"check: {_LOOP_CHECK}",
    ),
    Fault(
        "unscaled-inputs",
        "the network is given pixels from 0 to 255 as they are",
        ("check",),
        "inputs are scaled",
        "check: inputs are scaled",
        kinds=IMAGES,
    ),
    Fault(
        "overfitting",
        "the model is trained on a few samples, for many epochs, without augmentation",
        ("train",),
        "overfitting",
        "train: overfitting",
        own_params=(IMAGE_GENERATION,),
    ),
    Fault(
        "group-leak",
        "samples are split one by one instead of by group (writer, contrast pair)",
        ("prepare", "check"),
        "no group across splits",
        "check: no group across splits",
        kinds=CLASSIFICATION,
        needs_groups=True,
    ),
    Fault(
        "duplicate-leak",
        "samples that nearly repeat each other are in different splits",
        ("prepare", "check"),
        "no duplicate across splits",
        "check: no duplicate across splits",
    ),
    Fault(
        "test-set-selection",
        "the checkpoint is selected by its loss on test data",
        _EVALUATED,
        _LOSS_CHECK,
        f"evaluate: {_LOSS_CHECK}",
        kinds=CLASSIFICATION,
    ),
    Fault(
        "swapped-weights",
        "the files of weights hold other tensors, of the same shapes, than training selected",
        _EVALUATED,
        _LOSS_CHECK,
        f"evaluate: {_LOSS_CHECK}",
    ),
    Fault(
        "hash-seed",
        "seeds are computed with Python's hash, which differs from process to process",
        ("check",),
        "seeds are the same in another process",
        "check: seeds are the same in another process",
    ),
    Fault(
        "label-noise",
        "a tenth of all labels are replaced by those of the next class",
        ("prepare", *_EVALUATED),
        "label noise",
        "evaluate: label noise",
        kinds=CLASSIFICATION,
        own_params=(TEXT_CLASSIFICATION,),
    ),
    Fault(
        "memorisation",
        "the generator returns training images",
        _EVALUATED,
        "copies training images",
        "evaluate: copies training images",
        kinds=(IMAGE_GENERATION,),
    ),
    Fault(
        "forged-metric",
        "a metric in git is better than the one that was computed",
        (VERIFY,),
        r"hashes, compare: metrics/metrics\.json: dvc\.lock has",
        "verify, tier hashes: the file in git is not the one in dvc.lock",
        forgery="metric",
    ),
    Fault(
        "forged-lock",
        "a metric in git is better than the one that was computed, and dvc.lock has its hash",
        (VERIFY,),
        r"metrics, compare: metrics/metrics\.json: .* computed again",
        "verify, tier metrics: the predictions in git give another metric",
        forgery="metric and lock",
    ),
)


def patches() -> Iterator[Path]:
    """Yield all patches of the catalogue."""
    yield from sorted(PATCHES.glob("*.patch"))
