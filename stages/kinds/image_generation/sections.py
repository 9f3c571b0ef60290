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
    Slider,
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
        "Baselines",
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
        closed=True,
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
    blocks = [loss, Text(network), *diagnostics_blocks(outputs)]
    return Section("train", "Training", blocks, closed=True)


def method_figure(outputs: "GenerationOutputs") -> Figure:
    """Return the Fréchet distance to test images of each method, the lowest last."""
    metrics, gain = outputs.metrics, outputs.gain
    rows = [
        *({"name": name, "role": "baseline", **row} for name, row in metrics["baselines"].items()),
        {"name": "model", "role": "model", **metrics["current"]},
        {"name": "real images", "role": "control", **outputs.real},
    ]
    table = pd.DataFrame(
        [
            {
                "name": row["name"],
                "role": row["role"],
                "score": row["frechet_test"],
                "low": None,
                "high": None,
            }
            for row in rows
        ]
    ).sort_values("score", ascending=False, kind="stable")
    values = "; ".join(f"{row['name']} {row['score']:.2f}" for row in table_rows(table))
    level = percent(outputs.task.params.evaluate.confidence, 0)
    return Figure(
        "methods.svg",
        charts.methods(table, "Fréchet distance (lower is better)", ""),
        f"Fréchet distance to test images: {values}.",
        f"Fréchet distance to test images, lower is better: baselines (dots), the model (diamond) and real "
        f"images (square). The model is closer than the baseline by {gain['gain']:.2f} ({level} interval "
        f"{gain['gain_low']:.2f} to {gain['gain_high']:.2f}).",
    )


def checkpoint_section(outputs: "GenerationOutputs", grids: Grids) -> Section:
    """Return how samples change over training, which checkpoint was selected, and the classes."""
    metrics, checkpoints = outputs.metrics, outputs.checkpoint_rows
    controls = outputs.review[outputs.review["method"].isin(metrics["controls"])]
    names = list(checkpoints["method"])
    frames = [
        (
            name,
            Figure(
                f"{name.replace(' ', '-')}.png",
                pictures.image_grid([list(grids[name])]),
                f"Samples of {name}.",
                f"{name}: {status}. {note}",
            ),
        )
        for name, status, note in zip(
            names, checkpoints["status"], checkpoints["note"], strict=True
        )
    ]
    blocks: list[Block] = [
        Slider(
            f"Samples from the same noise over training ({_columns(outputs)}):",
            frames,
            list(checkpoints["step"]).index(metrics["current"]["step"]),
        ),
        _review_curves(outputs, checkpoints, controls),
        _metric_table(
            [*table_rows(checkpoints), *table_rows(controls)],
            "validation",
            f"Checkpoints against the {metrics['n_validation']} validation images, {metrics['n']} samples "
            "each, from the same noise",
            status="status",
        ),
        make_table(
            table_rows(checkpoints),
            {"method": "checkpoint", "status": "status", "reason": "reason", "note": "note"},
            f"Selection rule: {metrics['selection']['rule']}. Test data select nothing.",
        ),
        _sample_sheet(
            "checkpoints.png", outputs, grids, names, "Samples from the same noise by checkpoint"
        ),
    ]
    return Section("why", "How the samples became what they are", blocks)


def _columns(outputs: "GenerationOutputs") -> str:
    classes = ", ".join(outputs.metrics["shown_classes"])
    count = outputs.metrics["samples_per_class_shown"]
    return f"classes from left to right: {classes}, {count} samples each"


def certainty_section(outputs: "GenerationOutputs") -> Section:
    """Return metrics on test images beside those of real images, and the verdict."""
    metrics = outputs.metrics
    blocks: list[Block] = [
        _verdict(outputs),
        _metric_table(
            table_rows(outputs.metric_table()),
            "test",
            f"Against the {metrics['n_test']} test images, {metrics['n']} samples each",
        ),
        Text(
            "Real against real: the metrics of training images of the same classes, none of which "
            "counts as its own nearest training image. This is what real images score. Memorisation "
            "control: the same images without that exception, which is what a generator scores that "
            "outputs its training images. Metrics of quality and diversity cannot distinguish the two; "
            "copy rate and data-copying score must."
        ),
    ]
    return Section("sure", "How sure is the result", blocks)


def _metric_table(rows: Rows, split: str, caption: str, **extra: str) -> Table:
    return make_table(rows, {"method": "method", **metric_columns(split), **extra}, caption)


def _sample_sheet(
    name: str, outputs: "GenerationOutputs", grids: Grids, methods: Sequence[str], title: str
) -> Figure:
    rows = ", ".join(methods)
    return Figure(
        name,
        pictures.image_grid([list(grids[method]) for method in methods]),
        f"{title}, a row each: {rows}.",
        f"{title}, from top to bottom: {rows}; {_columns(outputs)}. Every row has the same labels and "
        "shows the first samples drawn, without selection.",
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
    last = {row["curve"]: row["share"] for row in rows}
    values = ", ".join(f"{curve} {share:.2f}" for curve, share in last.items())
    return Figure(
        "review.svg",
        charts.shares(pd.DataFrame(rows), selected),
        f"Quality, diversity and copying by step; at the last step: {values}.",
        "Quality (the Fréchet distance of real images divided by the checkpoint's), diversity "
        "(coverage divided by that of real images) and copying (the data-copying score; one half is as "
        f"close as validation images). Dashed line: the selected step, {selected}.",
    )


def class_section(outputs: "GenerationOutputs") -> Section:
    """Return the agreement, spread and sharpness of the samples of each class."""
    table = make_table(
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
    return Section("classes", "Samples by class", [table], closed=True)


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
