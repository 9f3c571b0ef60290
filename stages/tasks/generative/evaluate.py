"""Evaluate the flow: its checkpoints on validation data, the chosen one on test data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm

from stages.shared.alarms import hold_to_log, rows
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.files import read_csv
from stages.shared.images.packed import opened
from stages.shared.runtime import device, seed_for
from stages.shared.statistics import POWER, proportion_interval
from stages.shared.troubles import Trouble
from stages.tasks.generative.baseline import load_judge, load_samplers
from stages.tasks.generative.inputs import held_out
from stages.tasks.generative.measure import (
    LOW,
    Seen,
    Yardstick,
    among_others,
    asked_labels,
    distances,
    frechet,
    sharpness,
)
from stages.tasks.generative.model import drawn, held_loss, load

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.schema import EvaluateFlow, TrainFlow
    from stages.shared.task import Task

REAL, COPIER = "real against real", "photocopier"
SHOWN = 2  # samples of each class in a grid
_SAID = ("status", "reason", "note")  # what the review says of a checkpoint
_ROUNDED = 1e-6  # by which a figure may differ for the digits with which tables are written
_HALF = 0.5  # of `closer`: as held-out real images
_FELL = 1.25  # a Fréchet distance over the best before it that is called falling back
_COLLAPSED = 0.1  # a loss of coverage from one checkpoint to the next that is called a collapse
_HEEDED = 0.9  # of the share of real images that the judge gives their label: samples below it are no such


@dataclass(frozen=True)
class Evaluation:
    """The checkpoints' review, and what the chosen one's samples are worth.

    Attributes:
        metrics: figures of "current", "baseline", every method and control, and the improvement.
        review: a row a checkpoint, baseline and control, against the validation split.
        samples: a row a sample of the headline: id, asked, judged, confidence, neighbour, gap, ...
        classes: a row a class: how diverse and how sharp its samples are, beside real ones.
        real: a row a validation image, with the columns of samples by which failures are told.
        pixels: uint8; all "samples" of the headline, and for each method and checkpoint a grid.
        plots: what `dvc plots` draws, of the current model; and of the baseline.
        alarms: what is amiss, though the result stands.
    """

    metrics: dict[str, Any]
    review: pd.DataFrame
    samples: pd.DataFrame
    classes: pd.DataFrame
    real: pd.DataFrame
    pixels: dict[str, np.ndarray]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame]
    alarms: list[Trouble]

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes into its folder."""
        return {
            "metrics.json": self.metrics,
            "alarms.json": rows(self.alarms),
            "review.csv": self.review,
            "samples.csv": self.samples,
            "classes.csv": self.classes,
            "real.csv": self.real,
            "samples.safetensors": self.pixels,
            **{f"baseline/{name}.csv": table for name, table in self.baseline_plots.items()},
        }


Draw = Callable[[np.ndarray, int], np.ndarray]
Figures = dict[str, float]


def evaluate(task: "Task") -> Evaluation:
    """Return the review of all checkpoints, and the chosen one's figures beside the baselines'.

    Validation images choose the checkpoint and the baseline to beat; test images come after.

    Raises:
        Refusal: stored weights do not give the validation loss that training logged for them.
    """
    params: EvaluateFlow = task.params.evaluate
    trained: TrainFlow = task.params.train
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    judge = load_judge(task, dataset)
    headline, first = trained.seeds[0], params.sampling_seeds[0]
    asked = asked_labels(dataset, params.samples)
    shape = dataset.note["shape"]

    log = read_csv(task.folder("train") / "log.csv")
    log = log[log["seed"] == headline]
    held, where = held_out(dataset, images), device(task.runtime)

    def flow(step: int) -> Draw:
        model = load(task, dataset, headline, step)
        with torch.inference_mode():
            loss = held_loss(model, held, trained.batch_size, where)
        hold_to_log(loss, log, step // trained.log_every - 1, task.runtime.precision)
        return lambda labels, seed: drawn(model, labels, shape, seed, params)

    simple: dict[str, Draw] = load_samplers(task, dataset)
    flows = {f"step {step}": flow(step) for step in trained.review}
    pixels = {name: draw(asked, first) for name, draw in {**simple, **flows}.items()}

    validation = Yardstick(judge, dataset, images, "validation", params)
    found = {
        name: validation.figures(validation.seen(some), asked) for name, some in pixels.items()
    }
    controls = _controls(validation, dataset, images, asked, first)
    strongest = min(simple, key=lambda name: found[name]["frechet_validation"])
    steps = {step: found[f"step {step}"] for step in trained.review}
    review = _reviewed(steps, controls[REAL], len(validation.labels), params)
    chosen, kept = choose(review)
    review["status"] = np.where(review["step"] == chosen, "chosen", review["status"])
    others = {**{name: found[name] for name in simple}, **controls}
    rest = pd.DataFrame([{"what": name, **row} for name, row in others.items()])

    test = Yardstick(judge, dataset, images, "test", params)
    name = f"step {chosen}"
    seen = {kind: test.seen(pixels[kind]) for kind in (*simple, name)}
    again = {seed: flows[name](asked, seed) for seed in params.sampling_seeds[1:]}
    seeds = {first: (seen[name], seen[strongest])} | {
        seed: (test.seen(some), test.seen(simple[strongest](asked, seed)))
        for seed, some in again.items()
    }
    drawn_again = {
        str(seed): frechet(validation.seen(some).features, validation.real.features)
        for seed, some in {first: pixels[name], **again}.items()
    }
    metrics = {
        **_measured(test, seeds, {kind: seen[kind] for kind in simple}, strongest, asked),
        "controls": _controls(test, dataset, images, asked, first),
        "n_validation": len(validation.labels),
        "ceiling": REAL,
        "shown_of_each": SHOWN,
        "shown_classes": [dataset.classes[label] for label in np.unique(asked)],
        "headline_seed": headline,
        "strongest_baseline": strongest,
        "selection": {
            "rule": "lowest Fréchet distance to the validation split among the checkpoints with at least "
            f"{params.hold_diversity:g} of real images' coverage and recall that do not clearly copy more "
            "than held-out images do",
            "step": chosen,
            "held": kept,
            "frechet_validation": drawn_again,
        },
    }
    metrics["current"]["step"] = chosen
    plots = plotted(log, review)
    return Evaluation(
        metrics,
        pd.concat([review, rest], ignore_index=True),
        _samples(seen[name], pixels[name], asked, first),
        _classes(test, seen[name], pixels[name], asked, dataset.classes),
        _real(validation),
        {"samples": pixels[name], **{key: _grid(some, asked) for key, some in pixels.items()}},
        plots,
        {
            kind: table.assign(**{key: found[strongest].get(key, 0.0) for key in table.columns[1:]})
            for kind, table in plots.items()
            if kind != "loss"  # the baselines have none that compares
        },
        [
            *copying(review, chosen),
            *unheeded(
                found[name]["label_agreement"], len(asked), validation.real, validation.labels
            ),
        ],
    )


def unheeded(agreement: float, count: int, real: Seen, labels: np.ndarray) -> list[Trouble]:
    """Return the alarm that samples are not of the classes that were asked for.

    Args:
        agreement: the share of samples that the judge takes for what was asked.
        count: how many samples.
        real: what the judge says of real images.
        labels: of these.
    """
    judged = float((real.probabilities.argmax(axis=1) == labels).mean())
    _, high = proportion_interval(round(agreement * count), count, 0.95)
    if high >= _HEEDED * judged:
        return []
    saw = (
        f"the judge agrees with {agreement:.1%} of {count} labels that were asked for, with {judged:.1%} "
        "of real images'"
    )
    return [Trouble("labels are not heeded", saw, "look at the labels that training batches hold")]


def copying(review: pd.DataFrame, chosen: int) -> list[Trouble]:
    """Return the alarm that the chosen checkpoint clearly hands out training images.

    Args:
        review: as `choose` takes it, with the reason why a checkpoint is no candidate.
        chosen: the step taken.
    """
    reason = str(review.loc[review["step"] == chosen, "reason"].item())
    found = [part for part in reason.split("; ") if part.startswith(("copied", "closer"))]
    if not found:
        return []
    saw = f"step {chosen}, the nearest to real images: {'; '.join(found)}"
    return [Trouble("copies training images", saw, "look at the samples beside their neighbours")]


def _measured(
    test: Yardstick,
    seeds: dict[int, tuple[Seen, Seen]],
    simple: dict[str, Seen],
    strongest: str,
    asked: np.ndarray,
) -> dict[str, Any]:
    """Return the figures against the test split.

    Args:
        test: the yardstick.
        seeds: by sampling seed, the headline's first: the model's samples, the strongest baseline's.
        simple: by baseline, its samples from the headline's seed.
        strongest: the baseline to beat.
        asked: (n,), the labels that were asked for.
    """
    params, real = test.params, test.real
    figures = {kind: test.figures(some, asked) for kind, some in simple.items()}
    spread = {str(seed): test.figures(mine, asked) for seed, (mine, _) in seeds.items()}
    (model, base), *_ = seeds.values()
    gains = np.array(
        [
            frechet(theirs.features, real.features) - frechet(mine.features, real.features)
            for mine, theirs in seeds.values()
        ]
    )

    def told(found: Figures) -> dict[str, Any]:
        return _with_intervals(found, len(asked), len(test.labels), params.confidence)

    better = improvement(model, base, real, gains, params)
    return {
        "current": {**told(next(iter(spread.values()))), "improvement": better},
        "baseline": told(figures[strongest]),
        "baselines": figures,
        "sampling_seeds": spread,
        "n": len(asked),
        "n_test": len(test.labels),
        "judge_accuracy_test": float((real.probabilities.argmax(axis=1) == test.labels).mean()),
        "close_gap_test": test.close,
    }


def _controls(
    yardstick: Yardstick, dataset: Dataset, images: np.ndarray, asked: np.ndarray, seed: int
) -> dict[str, dict[str, float]]:
    """Return what training images of the asked classes score: as real images, and as samples.

    As real images they are not held against themselves when copying is asked (the ceiling); handed
    out as samples they are (the photocopier, which must fail there and nowhere else). Each is drawn
    once, where its class has as many as are asked for.
    """
    labels, training = dataset.labels("train"), dataset.rows("train")
    random = np.random.default_rng(seed_for(seed, "controls"))
    place = np.zeros(len(asked), dtype=np.int64)
    for label in np.unique(asked):
        own, due = np.flatnonzero(labels == label), np.flatnonzero(asked == label)
        place[due] = np.resize(random.permutation(own), len(due))
    copies = yardstick.seen(images, training[place])
    others = among_others(copies, images, training, place)
    return {REAL: yardstick.figures(others, asked), COPIER: yardstick.figures(copies, asked)}


def _reviewed(
    found: dict[int, Figures],
    real: dict[str, float],
    held: int,
    params: "EvaluateFlow",
) -> pd.DataFrame:
    """Return a row a checkpoint: its figures, its status, and a note drafted from them.

    Args:
        found: by step, rising.
        real: what real images give.
        held: how many validation images there are.
        params: close_share, hold_diversity, samples, and the confidence with which a checkpoint has to
            copy more than held-out real images do, which themselves lie about the limits.
    """
    count = params.samples
    error = np.sqrt((count + held + 1) / (12 * count * held))  # of Mann and Whitney's statistic
    closer_reach = float(norm.isf((1 - params.confidence) / 2) * error)
    rows, best, before = [], np.inf, None
    for step, figures in found.items():
        distance, covered = figures["frechet_validation"], figures["coverage_validation"]
        broken = []
        for name in ("coverage", "recall"):
            value, ceiling = figures[f"{name}_validation"], real[f"{name}_validation"]
            if value < params.hold_diversity * ceiling:
                broken.append(
                    f"{name} {value:.3f} is below {params.hold_diversity:g} of {ceiling:.3f}"
                )
        copied, closer = figures["copied"], figures["closer"]
        low, _ = proportion_interval(
            round(copied * params.samples), params.samples, params.confidence
        )
        if low > params.close_share:
            broken.append(f"copied {copied:.3f} is clearly above {params.close_share:g}")
        if closer - closer_reach > _HALF:
            broken.append(f"closer {closer:.3f} is clearly above {_HALF:g}")
        notes = [f"{distance / real['frechet_validation']:.1f} times real against real"]
        if before is not None:
            if distance > _FELL * best:
                notes.append("quality falls back")
            if covered < before["coverage_validation"] - _COLLAPSED:
                notes.append("diversity collapses")
            if figures["closer"] > before["closer"]:
                notes.append("closer to training images than before")
        best, before = min(best, distance), figures
        rows.append(
            {
                "what": f"step {step}",
                "step": step,
                **figures,
                "status": "review" if broken else "candidate",
                "reason": "; ".join(broken),
                "note": "; ".join(notes),
            }
        )
    return pd.DataFrame(rows)


def choose(review: pd.DataFrame) -> tuple[int, bool]:
    """Return the step to take, and whether it keeps the rule: of the candidates the nearest to real.

    Where no checkpoint is a candidate, the nearest of all, which then does not keep it.

    Args:
        review: step, status, frechet_validation.
    """
    candidates = review[review["status"] == "candidate"]
    held = not candidates.empty
    among = candidates if held else review
    best = int(among["frechet_validation"].to_numpy().argmin())
    return int(among["step"].to_numpy()[best]), held


def improvement(
    model: Seen, base: Seen, real: Seen, gains: np.ndarray, params: "EvaluateFlow"
) -> dict[str, Any]:
    """Return the verdict on the model's Fréchet distance against the baseline's, and its figures.

    Better: the bootstrap interval of the gain (the baseline's distance minus the model's) lies
    above 0, and samples from every seed gain. Worse: the same below 0. Otherwise not
    distinguishable; or, where even a worthwhile gain would be shown with less than 80% power, test
    set too small. Samples and test images are resampled, the same test images for both, for the
    standard interval (Efron and Tibshirani, 1993, section 13.2): resampling adds as much bias to a
    Fréchet distance as small sets do, so that percentiles would not lie around the distance.

    Args:
        model: the headline samples.
        base: the baseline's.
        real: the test images.
        gains: (seeds,), of each sampling seed, the headline's first.
        params: confidence, resamples, seed, worthwhile_gain (a share of the baseline's distance).
    """
    random = np.random.default_rng(params.seed)

    def again(seen: Seen) -> np.ndarray:
        resampled: np.ndarray = seen.features[random.integers(len(seen.gaps), size=len(seen.gaps))]
        return resampled

    found = np.empty((params.resamples, 2))
    for index in range(params.resamples):
        held = again(real)
        found[index] = frechet(again(model), held), frechet(again(base), held)
    z = norm.isf((1 - params.confidence) / 2)
    here, there = frechet(model.features, real.features), frechet(base.features, real.features)
    error = float((found[:, 1] - found[:, 0]).std(ddof=1))
    gain = there - here
    low, high = gain - z * error, gain + z * error
    detectable = float((z + norm.isf(1 - POWER)) * error)
    verdict = _verdict(
        (float(low), float(high)),
        (float(gains.min()), float(gains.max())),
        worthwhile=detectable <= params.worthwhile_gain * there,
    )
    return {
        "verdict": verdict,
        "gain": gain,
        "gain_low": float(low),
        "gain_high": float(high),
        "share_of_baseline": here / max(there, 1e-12),
        "smallest_detectable_gain": detectable,
        "power": POWER,
        "seeds": len(gains),
        "seed_gain_mean": float(gains.mean()),
        "seed_gain_min": float(gains.min()),
        "seed_gain_max": float(gains.max()),
        "seed_gain_sd": float(gains.std(ddof=1)) if len(gains) > 1 else 0.0,
    }


def from_tables(
    metrics: dict[str, Any], samples: pd.DataFrame, review: pd.DataFrame, params: "EvaluateFlow"
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return metrics and review with all that follows from the tables computed again from them.

    Distances between features, and what their resamples gave, stay as they are given: these need
    the samples themselves.

    Args:
        metrics: as written.
        samples: as written.
        review: as written.
        params: of the stage evaluate.
    """
    methods = review[review["what"].isin(metrics["baselines"])]
    strongest = str(methods["what"].to_numpy()[methods["frechet_validation"].to_numpy().argmin()])
    real = review[review["what"] == metrics["ceiling"]].iloc[0]
    rows = review[review["status"] != ""]
    names = [name for name in review.columns if name not in {"what", "step", *_SAID}]
    found = {
        int(float(row["step"])): {name: float(row[name]) for name in names}
        for _, row in rows.iterrows()
    }
    again = _reviewed(found, real[names].astype(float), metrics["n_validation"], params)
    chosen, held = choose(again)
    again["status"] = np.where(again["step"] == chosen, "chosen", again["status"])
    told = review.copy()
    told.loc[rows.index, list(_SAID)] = again[list(_SAID)].to_numpy()

    gaps, close = samples["gap"].to_numpy(), metrics["close_gap_test"]
    plain = {
        name: value
        for name, value in metrics["current"].items()
        if name not in {"step", "improvement"} and not name.endswith(("_low", "_high"))
    }
    plain["label_agreement"] = float((samples["asked"] == samples["judged"]).mean())
    if not (gaps < close - _ROUNDED).mean() <= plain["copied"] <= (gaps < close + _ROUNDED).mean():
        plain["copied"] = float((gaps < close).mean())
    first = str(params.sampling_seeds[0])
    baseline = metrics["baselines"][strongest]
    there, here = baseline["frechet_test"], plain["frechet_test"]
    gain = metrics["current"]["improvement"]
    z = norm.isf((1 - params.confidence) / 2)
    error = (gain["gain_high"] - gain["gain_low"]) / (2 * z)
    detectable = float((z + norm.isf(1 - POWER)) * error)
    figures = {
        "gain": there - here,
        "gain_low": there - here - z * error,
        "gain_high": there - here + z * error,
        "share_of_baseline": here / max(there, 1e-12),
        "smallest_detectable_gain": detectable,
        "seeds": len(params.sampling_seeds),
        "power": POWER,
    }
    verdict = _verdict(
        (figures["gain_low"], figures["gain_high"]),
        (gain["seed_gain_min"], gain["seed_gain_max"]),
        worthwhile=detectable <= params.worthwhile_gain * there,
    )

    def shown(one: dict[str, float]) -> dict[str, Any]:
        return _with_intervals(one, metrics["n"], metrics["n_test"], params.confidence)

    return {
        **metrics,
        "current": {
            **shown(plain),
            "step": chosen,
            "improvement": {**gain, **figures, "verdict": verdict},
        },
        "baseline": shown(baseline),
        "sampling_seeds": {**metrics["sampling_seeds"], first: plain},
        "strongest_baseline": strongest,
        "selection": {
            **metrics["selection"],
            "step": chosen,
            "held": held,
            "frechet_validation": {
                **metrics["selection"]["frechet_validation"],
                first: found[chosen]["frechet_validation"],
            },
        },
    }, told


def _verdict(interval: tuple[float, float], seeds: tuple[float, float], *, worthwhile: bool) -> str:
    """Return the word for an interval of the gain and its least and most over seeds.

    Args:
        interval: of the gain.
        seeds: the least and the most gain of a sampling seed.
        worthwhile: whether this test set would show a worthwhile gain.
    """
    (low, high), (least, most) = interval, seeds
    if low > 0 and least > 0:
        return "better"
    if high < 0 and most < 0:
        return "worse"
    return "test set too small" if low <= 0 <= high and not worthwhile else "not distinguishable"


def _with_intervals(
    figures: dict[str, float], samples: int, real: int, confidence: float
) -> dict[str, Any]:
    """Return figures with the Wilson interval of each that is a share, of samples or of real images."""
    found: dict[str, Any] = dict(figures)
    counts = {"coverage_test": real, "label_agreement": samples, "copied": samples}
    for name, count in counts.items():
        low, high = proportion_interval(round(figures[name] * count), count, confidence)
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def _samples(seen: Seen, pixels: np.ndarray, asked: np.ndarray, seed: int) -> pd.DataFrame:
    """Return a row a sample; `twin` is the nearest other sample of its class in the judge's features."""
    twin, gap = np.full(len(asked), -1), np.full(len(asked), np.inf)
    for label in np.unique(asked):
        own = np.flatnonzero(asked == label)
        if len(own) > 1:
            table = distances(seen.features[own], seen.features[own])
            np.fill_diagonal(table, np.inf)
            twin[own], gap[own] = own[table.argmin(axis=1)], table.min(axis=1)
    return pd.DataFrame(
        {
            "id": [f"seed-{seed}-sample-{index:04}" for index in range(len(asked))],
            "asked": asked,
            "judged": seen.probabilities.argmax(axis=1),
            "confidence": seen.probabilities.max(axis=1).astype(float),
            "of_asked": seen.probabilities[np.arange(len(asked)), asked].astype(float),
            "neighbour_row": seen.neighbours,
            "gap": seen.gaps,
            "sharpness": sharpness(pixels).astype(float),
            "twin": twin,
            "twin_gap": gap,
        }
    )


def _real(held: Yardstick) -> pd.DataFrame:
    seen = held.real
    return pd.DataFrame(
        {
            "asked": held.labels,
            "of_asked": seen.probabilities[np.arange(len(held.labels)), held.labels].astype(float),
            "gap": seen.gaps,
            "sharpness": held.sharpness.astype(float),
            "twin_gap": 0.0,
        }
    )


def _classes(
    test: Yardstick, seen: Seen, pixels: np.ndarray, asked: np.ndarray, names: list[str]
) -> pd.DataFrame:
    """Return a row a class: spread and sharpness of its samples, beside the test images'.

    Spread is the root mean square distance of features from their mean.
    """
    rows = []
    for label, name in enumerate(names):
        mine, real = asked == label, test.labels == label
        rows.append(
            {
                "class": name,
                "samples": int(mine.sum()),
                "real": int(real.sum()),
                "label_agreement": float(
                    (seen.probabilities[mine].argmax(axis=1) == label).mean() if mine.any() else 0
                ),
                "spread": _spread(seen.features[mine]),
                "real_spread": _spread(test.real.features[real]),
                "sharpness": float(np.median(sharpness(pixels[mine]))) if mine.any() else 0.0,
                "real_sharpness": float(np.median(test.sharpness[real])) if real.any() else 0.0,
                "real_sharpness_low": float(np.quantile(test.sharpness[real], LOW))
                if real.any()
                else 0.0,
            }
        )
    return pd.DataFrame(rows)


def _spread(features: np.ndarray) -> float:
    if len(features) < 2:  # noqa: PLR2004
        return 0.0
    return float(np.sqrt(((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _grid(pixels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the first samples of each class, (classes x shown, channel, height, width)."""
    # A class that is asked for less often is shown again.
    chosen = [np.resize(np.flatnonzero(asked == label), SHOWN) for label in np.unique(asked)]
    grid: np.ndarray = pixels[np.concatenate(chosen)]
    return grid


def plotted(log: pd.DataFrame, review: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return what `dvc plots` draws.

    Args:
        log: of the headline's seed.
        review: of the checkpoints alone.
    """
    shown = ["coverage_validation", "label_agreement", "copied", "closer"]
    return {
        "loss": log[["epoch", "train_loss", "validation_loss"]].reset_index(drop=True),
        "review": review[["step", *shown]].reset_index(drop=True),
        "quality": review[["step", "frechet_validation"]].reset_index(drop=True),
    }
