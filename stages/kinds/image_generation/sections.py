"""The sections of the generator's evidence pack that other kinds do not have in this form."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.task import run_name
from stages.kinds.image_generation.outputs import metric_columns
from stages.report import charts, pictures
from stages.report.document import (
    Block,
    Command,
    Facts,
    Figure,
    Section,
    Table,
    Text,
)
from stages.report.formatting import make_table, percent, table_rows
from stages.report.sections import diagnostics_blocks

if TYPE_CHECKING:
    from stages.kinds.image_generation.outputs import GenerationOutputs

Grids = Mapping[str, np.ndarray]  # uint8 (n, channel, height, width) by method
Rows = Sequence[Mapping[str, Any]]


def baseline_section(outputs: "GenerationOutputs", grids: Grids) -> Section:
    """Return the baselines against validation images, and the reference classifier."""
    methods, accuracy = outputs.baseline["methods"], outputs.baseline["reference_accuracy"]
    rows = outputs.review[outputs.review["method"].isin(methods)]
    return Section(
        "baseline",
        "Baseline",
        [
            _metric_table(table_rows(rows), "validation", "Baselines against validation images"),
            Text(
                f"The baseline to beat is {outputs.metrics['strongest_baseline']}, which has the lowest "
                "Fréchet distance to the validation split. All are fitted to "
                f"{outputs.baseline['fitted_on']} training images. Features come from the reference "
                "classifier, which is trained on the training split alone. Its accuracy is "
                f"{percent(accuracy['validation'])} on validation images and "
                f"{percent(outputs.metrics['reference_accuracy_test'])} on test images."
            ),
            _sample_sheet("baselines.png", outputs, grids, methods, "Samples of each baseline"),
        ],
    )


def train_section(outputs: "GenerationOutputs") -> Section:
    """Return the loss curves, the network and its training."""
    seed, train = outputs.metrics["primary_seed"], outputs.task.params.train
    params = outputs.task.params.evaluate
    last = outputs.log[outputs.log["seed"] == seed].iloc[-1]
    loss = Figure(
        "loss.svg",
        charts.loss_curves(outputs.log, run_name(seed, None), None, "mean square"),
        f"Loss by epoch of {train.log_every} steps. The training loss ends at "
        f"{last['train_loss']:.3f}, the validation loss at {last['validation_loss']:.3f}.",
        f"Loss by epoch of {train.log_every} steps: mean square error of the velocity. The validation "
        "loss is that of the averaged weights, on fixed noise and times. It does not select the "
        "checkpoint, as it measures neither diversity nor copying.",
    )
    network = (
        f"Model: a U-Net with {' and '.join(map(str, train.channels))} channels by level, "
        f"class-conditional flow matching; {train.steps} steps of {train.batch_size} images, AdamW, "
        f"peak learning rate {train.learning_rate:g}, weight decay {train.weight_decay:g}, moving "
        f"average of the weights {train.ema_decay:g}, label dropped for "
        f"{percent(train.label_dropout, 0)} of images. Samples: guidance {params.guidance:g}, "
        f"{params.solver_steps} steps of Heun's method."
    )
    return Section("train", "Train", [loss, Text(network), *diagnostics_blocks(outputs)])


def evaluate_section(outputs: "GenerationOutputs", grids: Grids) -> Section:
    """Return metrics on test images, the verdict, the review of the checkpoints, and the classes."""
    metrics, checkpoints = outputs.metrics, outputs.checkpoint_rows
    controls = outputs.review[outputs.review["method"].isin(metrics["controls"])]
    count = f"{metrics['n']} samples each"
    blocks: list[Block] = [
        _metric_table(
            table_rows(outputs.metric_table()),
            "test",
            f"Against the {metrics['n_test']} test images, {count}",
        ),
        _verdict(outputs),
        Text(
            "Real against real: the metrics of training images of the same classes, none of which "
            "counts as its own nearest training image. This is what real images score. Memorisation "
            "control: the same images without that exception, which is what a generator scores that "
            "outputs its training images. Metrics of quality and diversity cannot distinguish the two; "
            "copy rate and data-copying score must."
        ),
        _metric_table(
            [*table_rows(checkpoints), *table_rows(controls)],
            "validation",
            f"Checkpoints against the {metrics['n_validation']} validation images, {count}, from the "
            "same noise",
            status="status",
        ),
        make_table(
            table_rows(checkpoints),
            {"method": "checkpoint", "status": "status", "reason": "reason", "note": "note"},
            f"Selection rule: {metrics['selection']['rule']}. Test data select nothing.",
        ),
        _review_curves(outputs, checkpoints, controls),
        _sample_sheet(
            "checkpoints.png",
            outputs,
            grids,
            list(checkpoints["method"]),
            "Samples from the same noise by checkpoint",
        ),
        _class_table(outputs),
    ]
    return Section("evaluate", "Evaluate", blocks)


def _metric_table(rows: Rows, split: str, caption: str, **extra: str) -> Table:
    return make_table(rows, {"method": "method", **metric_columns(split), **extra}, caption)


def _sample_sheet(
    name: str, outputs: "GenerationOutputs", grids: Grids, methods: Sequence[str], title: str
) -> Figure:
    classes = ", ".join(outputs.metrics["shown_classes"])
    count = outputs.metrics["samples_per_class_shown"]
    rows = ", ".join(methods)
    return Figure(
        name,
        pictures.image_grid([list(grids[method]) for method in methods]),
        f"{title}, a row each: {rows}. Classes from left to right: {classes}, {count} samples each.",
        f"{title}, from top to bottom: {rows}. Classes from left to right: {classes}, {count} samples "
        "each. Every row has the same labels and shows the first samples drawn, without selection.",
    )


def _verdict(outputs: "GenerationOutputs") -> Facts:
    gain, params, current = outputs.gain, outputs.task.params.evaluate, outputs.metrics["current"]
    level = percent(params.confidence, 0)

    def share(name: str) -> str:
        low, high = (percent(current[f"{name}_{end}"]) for end in ("low", "high"))
        return f"{percent(current[name])} ({level} interval {low} to {high})"

    seeds = {}
    if gain["seeds"] > 1:
        seeds[f"Over {gain['seeds']} sampling seeds"] = (
            f"gain {gain['seed_gain_min']:.3f} to {gain['seed_gain_max']:.3f}, standard deviation "
            f"{gain['seed_gain_sd']:.3f}; all of one training seed (`evidence bench` trains others)"
        )
    facts = {
        "Verdict": gain["verdict"],
        "Gain": f"{gain['gain']:.3f} of Fréchet distance, {level} interval {gain['gain_low']:.3f} to "
        f"{gain['gain_high']:.3f} (standard bootstrap interval over samples and test images, "
        f"{params.resamples:,} resamples); the model's distance is "
        f"{percent(gain['share_of_baseline'])} of the baseline's",
        **seeds,
        "Coverage": f"{share('coverage_test')} of test images",
        "Label agreement": f"{share('label_agreement')} of samples",
        "Copy rate": f"{share('copy_rate')} of samples are closer to a training image than "
        f"{percent(1 - params.copy_quantile, 0)} of test images are",
        "Data-copying score": f"{current['data_copying_score']:.2f}, the chance that a sample is closer "
        "to the training images than a test image is (one half: as close as test images)",
        "Smallest detectable gain": f"{gain['smallest_detectable_gain']:.3f} with "
        f"{percent(gain['power'], 0)} power",
    }
    return Facts(list(facts.items()))


def _review_curves(
    outputs: "GenerationOutputs", checkpoints: pd.DataFrame, controls: pd.DataFrame
) -> Figure:
    real = controls[controls["method"] == outputs.metrics["ceiling"]].iloc[0]
    curves = pd.DataFrame(
        {
            "quality": real["frechet_validation"] / checkpoints["frechet_validation"],
            "diversity": checkpoints["coverage_validation"] / real["coverage_validation"],
            "copying": checkpoints["data_copying_score"],
        }
    ).astype(float)
    rows = [
        {"step": step, "curve": curve, "share": share}
        for step, shares in zip(checkpoints["step"], table_rows(curves), strict=True)
        for curve, share in shares.items()
    ]
    selected = outputs.metrics["current"]["step"]
    values = "; ".join(f"step {r['step']}, {r['curve']} {r['share']:.2f}" for r in rows)
    return Figure(
        "review.svg",
        charts.shares(pd.DataFrame(rows), selected),
        f"Quality, diversity and copying by step: {values}",
        "Quality (the Fréchet distance of real images divided by the checkpoint's), diversity "
        "(coverage divided by that of real images) and copying (the data-copying score; one half is as "
        f"close as validation images). Dashed line: the selected step, {selected}.",
    )


def _class_table(outputs: "GenerationOutputs") -> Table:
    return make_table(
        table_rows(outputs.classes),
        {
            "class": "class",
            "samples": "samples",
            "label_agreement": "label agreement",
            "spread": "spread",
            "real_spread": "real spread",
            "sharpness": "sharpness",
            "real_sharpness": "real sharpness",
        },
        "By class, with test images for comparison: spread of features, median sharpness",
    )


def limits_section(outputs: "GenerationOutputs") -> Section:
    """Return what the evidence does not show."""
    counts, seed = outputs.dataset.note["counts"], outputs.metrics["primary_seed"]
    return Section(
        "limits",
        "Risks and limits",
        [
            Facts(
                [
                    *outputs.dataset.note["limits"].items(),
                    (
                        "The features are those of one classifier",
                        (
                            "no metric measures what the reference classifier, a small network trained on "
                            "the same data, ignores"
                        ),
                    ),
                    (
                        "Distances depend on n",
                        (
                            f"{counts['train']} training and {counts['test']} test images; a Fréchet "
                            "distance falls as n grows, so these distances compare with each other only"
                        ),
                    ),
                    (
                        "Copies are detected in pixels",
                        (
                            "a shifted or scaled copy passes; blurred samples are close to many images "
                            "without being copies"
                        ),
                    ),
                    (
                        "One model",
                        f"all results are of the model of seed {seed}; `evidence bench` trains others",
                    ),
                ]
            )
        ],
    )


def demo_section(outputs: "GenerationOutputs", interpolation: np.ndarray) -> Section:
    """Return the command that draws samples, and the interpolations.

    Args:
        outputs: of the stages before the pack.
        interpolation: (classes, steps, channel, height, width), uint8.
    """
    label = shlex.quote(f"--label={outputs.dataset.classes[-1]}")
    command = f"evidence sample {outputs.task.name} {label} --count 16 --out samples.png"
    return Section(
        "demo",
        "Try it",
        [
            Text("Draw samples; the same seed gives the same samples:"),
            Command(command),
            Figure(
                "between.png",
                pictures.image_grid([list(row) for row in interpolation]),
                "Interpolation between two noises: each row goes from one sample to another of its class.",
                "Interpolation between two noises, a class a row: the samples of noises along the great "
                "circle between the two. No step is a blend of two pictures.",
            ),
        ],
    )
