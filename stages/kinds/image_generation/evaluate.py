"""Evaluate the flow: select a checkpoint on validation images, then measure it on test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.errors import UserError
from stages.core.files import read_csv
from stages.core.progress import progress
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.images.packed import open_packed
from stages.evaluation.data_warnings import warning_rows
from stages.evaluation.generation_metrics import frechet_distance
from stages.evaluation.reference_set import ImageFeatures, ReferenceSet
from stages.kinds.image_generation.checkpoint_review import (
    REAL,
    CheckpointReview,
    baseline_plot_tables,
    copying_warnings,
    label_warnings,
    method_name,
    plot_tables,
    review_checkpoints,
)
from stages.kinds.image_generation.distance_verdict import compare_distances, with_intervals
from stages.kinds.image_generation.method_samples import (
    MethodSamples,
    control_metrics,
    load_methods,
)
from stages.kinds.image_generation.reference_classifier import load_reference_classifier
from stages.kinds.image_generation.sample_tables import (
    SAMPLES_PER_CLASS,
    class_table,
    real_table,
    sample_grid,
    sample_table,
)
from stages.training.diagnostics import Diagnostic

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.task import Task
    from stages.kinds.image_generation.schema import EvaluateFlow

Metrics = dict[str, float]


@dataclass(frozen=True)
class GenerationEvaluation:
    """The review of the checkpoints, and the evaluation of the selected one.

    Attributes:
        metrics: of "current", "baseline", each method and control, and the improvement.
        review: a row a checkpoint, baseline and control, against validation images.
        samples: a row a sample of the selected checkpoint, from the first sampling seed.
        classes: a row a class: spread and sharpness of samples and of real images.
        real: a row a validation image, with the columns of samples that failures are classified by.
        pixels: uint8; "samples" of the selected checkpoint, and a grid by method and checkpoint.
        plots: tables for `dvc plots`, of the current model.
        baseline_plots: the same of the baseline.
        warnings: problems that do not stop the pipeline.
    """

    metrics: dict[str, Any]
    review: pd.DataFrame
    samples: pd.DataFrame
    classes: pd.DataFrame
    real: pd.DataFrame
    pixels: dict[str, np.ndarray]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame]
    warnings: list[Diagnostic]

    def files(self) -> "dict[str, Content]":
        """Return the files that the stage writes into its folder."""
        return {
            "metrics.json": self.metrics,
            "data_warnings.json": warning_rows(self.warnings),
            "review.csv": self.review,
            "samples.csv": self.samples,
            "classes.csv": self.classes,
            "real.csv": self.real,
            "samples.safetensors": self.pixels,
            **{f"plots/{name}.csv": table for name, table in self.plots.items()},
            **{f"baseline_plots/{name}.csv": table for name, table in self.baseline_plots.items()},
        }


@dataclass(frozen=True)
class _Selection:
    """What validation images decide.

    Attributes:
        review: of the checkpoints.
        comparisons: metrics of baselines and controls, by name.
        baseline: the one to beat.
    """

    review: CheckpointReview
    comparisons: dict[str, Metrics]
    baseline: str

    def table(self) -> pd.DataFrame:
        """Return the review with a row for each baseline and control."""
        rows = [{"method": name, **metrics} for name, metrics in self.comparisons.items()]
        return pd.concat([self.review.table, pd.DataFrame(rows)], ignore_index=True)


def evaluate(task: "Task") -> GenerationEvaluation:
    """Review all checkpoints, and evaluate the selected one beside the baselines.

    Validation images select the checkpoint and the baseline to beat; test images only measure.

    Raises:
        UserError: a split has too few images, or stored weights do not give the validation loss that
            training logged for them.
    """
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    _require_neighbours(task, dataset)
    log = read_csv(task.folder("train") / "log.csv")
    log = log[log["seed"] == task.params.train.seeds[0]]
    samples = load_methods(task, dataset, images, log)
    validation, test = _reference_sets(task, dataset, images)
    selection = _select(
        task, validation, samples, control_metrics(validation, dataset, images, samples)
    )
    review, labels = selection.review, samples.labels
    pixels = samples.draw(review.method)
    described = test.describe(pixels)
    plots = plot_tables(log, review.table)
    return GenerationEvaluation(
        {
            **_test_metrics(test, samples, selection, task.params.evaluate),
            "controls": control_metrics(test, dataset, images, samples),
            "n_validation": len(validation.labels),
            "shown_classes": [dataset.classes[label] for label in np.unique(labels)],
            "primary_seed": task.params.train.seeds[0],
            "selection": _selection_metrics(validation, samples, review, task.params.evaluate),
        },
        selection.table(),
        sample_table(described, pixels, labels, samples.seeds[0]),
        class_table(test, described, pixels, labels, dataset.classes),
        real_table(validation),
        {"samples": pixels}
        | {name: sample_grid(samples.draw(name), labels) for name in samples.methods},
        plots,
        baseline_plot_tables(plots, selection.comparisons[selection.baseline]),
        [
            *copying_warnings(review.table, review.step),
            *label_warnings(
                validation.describe(pixels), labels, validation.real, validation.labels
            ),
        ],
    )


def _require_neighbours(task: "Task", dataset: Dataset) -> None:
    """Check that each split has more images than a neighbourhood needs.

    Raises:
        UserError: a split has too few images.
    """
    neighbours = task.params.evaluate.neighbours
    for split in ("validation", "test"):
        count = len(dataset.labels(split))
        if count <= neighbours:
            raise UserError(
                f"{count} {split} images have no {neighbours} neighbours each; add images, or lower "
                f"{task.key('evaluate.neighbours')}"
            )


def _reference_sets(
    task: "Task", dataset: Dataset, images: np.ndarray
) -> tuple[ReferenceSet, ReferenceSet]:
    """Return the real images of the validation split and of the test split."""
    classifier, params = load_reference_classifier(task, dataset), task.params.evaluate
    validation, test = (
        ReferenceSet(
            classifier,
            dataset,
            images,
            split,
            neighbours=params.neighbours,
            copy_quantile=params.copy_quantile,
        )
        for split in ("validation", "test")
    )
    return validation, test


def _select(
    task: "Task",
    validation: ReferenceSet,
    samples: MethodSamples,
    controls: Mapping[str, Metrics],
) -> _Selection:
    """Return the checkpoint to take and the baseline to beat."""
    results = {
        method: validation.metrics(validation.describe(samples.draw(method)), samples.labels)
        for method in progress(samples.methods, "comparing checkpoints")
    }
    review = review_checkpoints(
        {step: results[method_name(step)] for step in task.params.train.checkpoint_steps},
        controls[REAL],
        len(validation.labels),
        task.params.evaluate,
    )
    baselines = {name: results[name] for name in samples.baselines}
    strongest = min(baselines, key=lambda name: baselines[name]["frechet_validation"])
    return _Selection(review, {**baselines, **controls}, strongest)


def _selection_metrics(
    validation: ReferenceSet,
    samples: MethodSamples,
    review: CheckpointReview,
    params: "EvaluateFlow",
) -> dict[str, Any]:
    """Return the rule, and the selected checkpoint's distances by sampling seed."""
    return {
        "rule": "lowest Fréchet distance to the validation split among the checkpoints with at least "
        f"{params.min_diversity:g} of real images' coverage and recall that do not clearly copy more "
        "than held-out images do",
        "step": review.step,
        "rule_satisfied": review.rule_satisfied,
        "frechet_validation": {
            str(seed): frechet_distance(
                validation.describe(samples.draw(review.method, seed)).features,
                validation.real.features,
            )
            for seed in samples.seeds
        },
    }


def _test_metrics(
    test: ReferenceSet, samples: MethodSamples, selection: _Selection, params: "EvaluateFlow"
) -> dict[str, Any]:
    """Return the metrics against the test split: of the model, the baselines, and the improvement."""
    labels, real = samples.labels, test.real.features

    @cache
    def describe(method: str, seed: int) -> ImageFeatures:
        return test.describe(samples.draw(method, seed))

    def distance(method: str, seed: int) -> float:
        return frechet_distance(describe(method, seed).features, real)

    def extended(metrics: Metrics) -> dict[str, Any]:
        return with_intervals(metrics, len(labels), len(test.labels), params.confidence)

    review, baseline = selection.review, selection.baseline
    first, model = samples.seeds[0], review.method
    baselines = {name: test.metrics(describe(name, first), labels) for name in samples.baselines}
    seeds = {str(seed): test.metrics(describe(model, seed), labels) for seed in samples.seeds}
    gains = np.array([distance(baseline, seed) - distance(model, seed) for seed in samples.seeds])
    improvement = compare_distances(
        describe(model, first).features, describe(baseline, first).features, real, gains, params
    )
    return {
        "current": {
            **extended(seeds[str(first)]),
            "step": review.step,
            "improvement": improvement,
        },
        "baseline": extended(baselines[baseline]),
        "baselines": baselines,
        "strongest_baseline": baseline,
        "sampling_seeds": seeds,
        "n": len(labels),
        "n_test": len(test.labels),
        "ceiling": REAL,
        "samples_per_class_shown": SAMPLES_PER_CLASS,
        "reference_accuracy_test": test.real.label_agreement(test.labels),
        "copy_distance_test": test.copy_distance,
    }
