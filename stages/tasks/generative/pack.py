"""The evidence pack of the generator: samples by checkpoint, quality, diversity, copying, failures."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared import charts, pictures, sections
from stages.shared.document import (
    Block,
    Card,
    Command,
    Document,
    Facts,
    Figure,
    Gallery,
    Section,
    Table,
    Text,
)
from stages.shared.evidence import Pack, data_files
from stages.shared.files import as_csv, read_arrays, read_csv, read_json
from stages.shared.findings import Left, left
from stages.shared.images.packed import opened
from stages.shared.wording import of, percent, rows_of

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.task import Task

COLUMNS = {
    "frechet": "Fréchet distance",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "label_agreement": "label agreement",
    "copied": "copied",
    "closer": "closer than real",
}
OF_SAMPLES = ("label_agreement", "copied", "closer")


def pack(task: "Task") -> Pack:
    """Return the evidence pack."""
    found = left(task)
    folder = task.folder("evaluate")
    review = read_csv(folder / "review.csv", dtype={"what": str, "reason": str, "note": str})
    classes = read_csv(folder / "classes.csv", dtype={"class": str})
    samples = read_csv(folder / "samples.csv", dtype={"id": str})
    pixels = read_arrays(folder / "samples.safetensors")
    between = read_arrays(task.folder("failures") / "between.safetensors")["between"]
    images = opened(task.folder("prepare") / "images.npy")
    drafted = notes(found, review)
    document = Document(
        f"Evidence: {task.name} practice",
        verdict_line(found),
        summary_line(found),
        [
            sections.at_a_glance(found, answers(found)),
            sections.prepare(found),
            sections.check(found),
            Section("baseline", "Baseline", _baselines(found, review, pixels)),
            Section(
                "train", "Train", [_loss(found), Text(_training(found)), *sections.made_on(found)]
            ),
            Section("evaluate", "Evaluate", _evaluation(found, review, pixels, classes)),
            Section("failures", "Failures", _failures(found, pixels["samples"], images)),
            sections.review(found, drafted),
            sections.next_section(found),
            Section("limits", "Risks and limits", [_limits(found)]),
            Section("demo", "Try it", _demo(found, between)),
        ],
    )
    return Pack(
        document,
        record(found, review, drafted),
        {
            **data_files(found),
            "checkpoint_review.csv": as_csv(review),
            "metric_table.csv": as_csv(metric_table(found)),
            "samples.csv": as_csv(samples),
            "classes.csv": as_csv(classes),
        },
        task.params.pack.page_limit_mb,
    )


def unseen(task: "Task", dataset: "Dataset") -> dict[Path, dict[str, tuple[int, ...]]]:
    """Return the files of pixels that `pack` draws and that are not in git, with their arrays' shapes."""
    metrics = read_json(task.folder("evaluate") / "metrics.json")
    shape, grid = dataset.note["shape"], len(metrics["shown_classes"]) * metrics["shown_of_each"]
    names = [*metrics["baselines"], *(f"step {step}" for step in task.params.train.review)]
    return {
        task.folder("evaluate") / "samples.safetensors": {
            "samples": (metrics["n"], *shape),
            **dict.fromkeys(names, (grid, *shape)),
        },
        task.folder("failures") / "between.safetensors": {"between": (1, 1, *shape)},
    }


def verdict_line(found: Left) -> str:
    """Return the result in one line: verdict, gain, interval."""
    gain, metrics = found.gain, found.metrics
    level = percent(found.task.params.evaluate.confidence, 0)
    here, there = metrics["current"]["frechet_test"], metrics["baseline"]["frechet_test"]
    return (
        f"{gain['verdict'].capitalize()}: Fréchet distance to test images {here:.2f} against "
        f"{there:.2f} of {metrics['strongest_baseline']} (gain {gain['gain']:.2f}, {level} interval "
        f"{gain['gain_low']:.2f} to {gain['gain_high']:.2f}; lower distances are better)"
    )


def summary_line(found: Left) -> str:
    """Return what the result rests on: n, seeds, and how samples stand beside real images."""
    metrics = found.metrics
    current, real = metrics["current"], _ceiling(found)
    return (
        f"{metrics['n']} samples of the checkpoint at step {current['step']} against "
        f"{metrics['n_test']} test images; real against real {real['frechet_test']:.2f}. They cover "
        f"{percent(current['coverage_test'])} of the test images (real ones "
        f"{percent(real['coverage_test'])}), show the class asked for in "
        f"{percent(current['label_agreement'])}, and {percent(current['copied'])} lie as close to a "
        f"training image as the closest {percent(found.task.params.evaluate.close_share, 0)} of test "
        f"images do. One model (seed {metrics['headline_seed']}), {found.gain['seeds']} sampling seeds: "
        f"gain {found.gain['seed_gain_min']:.2f} to {found.gain['seed_gain_max']:.2f}."
        + ("" if metrics["selection"]["held"] else " No checkpoint keeps the rule of choice.")
    )


def answers(found: Left) -> dict[str, str]:
    """Return the five questions that a finished project answers, answered from the figures."""
    metrics, summary = found.metrics, found.summary
    first = found.cases.iloc[0]
    counts = ", ".join(f"{number} {name}" for name, number in summary["buckets"].items())
    beaten = "" if found.gain["verdict"] == "better" else "none yet; held against "
    return {
        "baseline": f"{beaten}{metrics['strongest_baseline']}, the nearest to validation images of "
        f"{' and '.join(found.baseline['methods'])}",
        "metric": f"{verdict_line(found)}; n {metrics['n']} samples, {metrics['n_test']} test images",
        "sample_success": f"{summary['samples'] - summary['failure_case_count']} of "
        f"{summary['samples']} samples fail in no way that is looked for; "
        f"{len(found.successes)} are shown",
        "sample_failure": f"{summary['failure_case_count']} samples ({counts}); the first shown, "
        f"{first['id']}: {first['true']} asked for, judged {first['predicted']} ({first['bucket']}, "
        f"{first['kind']})",
        "debug_next": found.next_step["why"],
    }


def notes(found: Left, review: pd.DataFrame) -> dict[str, str]:
    """Return the notes that the figures alone can write, by the headings of the reviewer's."""
    metrics = found.metrics
    current, real = metrics["current"], _ceiling(found)
    steps = _checkpoints(review)
    first, best = steps.iloc[0], steps["frechet_validation"].min()
    classes = found.summary["collapsed_classes"]
    turned = [
        f"{row['what']}: {row['note']}"
        for row in rows_of(steps)
        if "falls back" in row["note"] or "collapses" in row["note"]
    ]
    return {
        "Quality": f"the Fréchet distance to validation images goes from "
        f"{first['frechet_validation']:.2f} at {first['what']} to {best:.2f} at its best; on test "
        f"images it is {current['frechet_test']:.2f}, "
        f"{current['frechet_test'] / real['frechet_test']:.1f} times real against real. "
        + (f"Not steady: {'; '.join(turned)}." if turned else "No checkpoint falls back."),
        "Diversity": f"coverage {current['coverage_test']:.3f} (real {real['coverage_test']:.3f}), "
        f"recall {current['recall_test']:.3f} (real {real['recall_test']:.3f}); "
        + (f"collapsed classes: {', '.join(classes)}" if classes else "no class has collapsed"),
        "Failures": f"{found.summary['failure_case_count']} of {found.summary['samples']} samples: "
        + ", ".join(f"{number} {name}" for name, number in found.summary["buckets"].items()),
        "Choice": f"step {current['step']}, by the rule: {metrics['selection']['rule']}"
        + (
            ""
            if metrics["selection"]["held"]
            else "; no checkpoint keeps it, so this is the nearest"
        ),
    }


def record(found: Left, review: pd.DataFrame, drafted: dict[str, str]) -> dict[str, Any]:
    """Return the record, under the names that every pack uses."""
    metrics, note = found.metrics, found.dataset.note
    columns = ["id", "true", "predicted", "confidence", "bucket", "kind", "cause"]
    cases = found.cases[columns].to_dict("records")
    return {
        "task": found.task.name,
        "improvement": round(found.gain["gain"], 3),
        "improvement_of": "Fréchet distance to the test split, the baseline's minus the model's",
        "failure_case_count": found.summary["failure_case_count"],
        "run_command": found.run_command,
        "dataset_note": f"{note['origin']}; {note['split_rule']}",
        "baseline": {"method": metrics["strongest_baseline"], **metrics["baseline"]},
        "current_result": {
            **metrics["current"],
            "n": metrics["n"],
            "seed": metrics["headline_seed"],
            "success_samples": found.successes[["id", "true", "predicted", "confidence"]].to_dict(
                "records"
            ),
        },
        "failure_cases": cases,
        "next_step": found.next_step,
        "questions": answers(found),
        "checkpoint_samples": "pictures/checkpoints.png",
        "checkpoint_review": _checkpoints(review)[["step", "status", "reason", "note"]].to_dict(
            "records"
        ),
        "quality_note": drafted["Quality"],
        "diversity_note": drafted["Diversity"],
        "failure_sample": cases[0],
        "selection_rule": metrics["selection"]["rule"],
        "next_action": found.next_step["command"],
        "label_rules": note["label_rules"],
        "split_rule": note["split_rule"],
    }


def metric_table(found: Left) -> pd.DataFrame:
    """Return the figures against the test split: a row a method, control and sampling seed."""
    metrics = found.metrics
    rows = [
        *((f"{name} (baseline)", row) for name, row in metrics["baselines"].items()),
        *((f"model, sampling seed {seed}", row) for seed, row in metrics["sampling_seeds"].items()),
        *metrics["controls"].items(),
    ]
    names = [_measure(name, "test") for name in COLUMNS]
    return pd.DataFrame(
        [{"method": name, **{key: row[key] for key in names}} for name, row in rows]
    )


def _measure(name: str, split: str) -> str:
    return name if name in OF_SAMPLES else f"{name}_{split}"


def _ceiling(found: Left) -> dict[str, Any]:
    figures: dict[str, Any] = found.metrics["controls"][found.metrics["ceiling"]]
    return figures


def _table(rows: list[dict[str, Any]], split: str, caption: str, **more: str) -> Table:
    columns = {"what": "what", **{_measure(n, split): said for n, said in COLUMNS.items()}, **more}
    return of(rows, columns, caption)


def _checkpoints(review: pd.DataFrame) -> pd.DataFrame:
    steps = review[review["status"] != ""].copy()
    steps["step"] = steps["step"].astype(float).astype(int)
    return steps


def _baselines(found: Left, review: pd.DataFrame, pixels: dict[str, np.ndarray]) -> list[Block]:
    names = found.baseline["methods"]
    rows = rows_of(review[review["what"].isin(names)])
    strongest = found.metrics["strongest_baseline"]
    judge = found.baseline["judge_accuracy"]
    return [
        _table(rows, "validation", "Baselines against validation images"),
        Text(
            f"The one to beat is {strongest}: the lowest Fréchet distance to the validation split. "
            f"Both are fitted to {found.baseline['fitted_on']} training images. Features come from the "
            f"judge, a classifier trained on the training split alone, which names "
            f"{percent(judge['validation'])} of validation and "
            f"{percent(found.metrics['judge_accuracy_test'])} of test images rightly."
        ),
        _sheet("baselines.png", found, pixels, names, "Samples of each baseline, a row each"),
    ]


def _sheet(
    name: str, found: Left, pixels: dict[str, np.ndarray], names: Sequence[str], said: str
) -> Figure:
    asked = found.metrics["shown_classes"]
    classes = f"{', '.join(asked)}, {found.metrics['shown_of_each']} samples each,"
    return Figure(
        name,
        pictures.rows([list(pixels[one]) for one in names]),
        f"{said}: {', '.join(names)}; classes {classes} from left to right.",
        f"{said}, from the top: {', '.join(names)}. Classes {classes} from left to right; the same "
        "labels in every row, the first samples as they come.",
    )


def _loss(found: Left) -> Figure:
    headline = found.metrics["headline_seed"]
    own = found.log[found.log["seed"] == headline]
    last, every = own.iloc[-1], found.task.params.train.log_every
    return Figure(
        "loss.svg",
        charts.loss_curves(found.log, headline, None, "mean square"),
        f"Loss by epoch of {every} steps. Training loss ends at {last['train_loss']:.3f}, validation "
        f"loss at {last['validation_loss']:.3f}.",
        f"Loss by epoch of {every} steps: mean square difference to the path's velocity. Validation loss "
        "is that of the averaged weights, on fixed noise and times. It does not choose: a loss that "
        "still falls says nothing of diversity or copying.",
    )


def _training(found: Left) -> str:
    trained, asked = found.task.params.train, found.task.params.evaluate
    levels = " and ".join(map(str, trained.channels))
    return (
        f"Model: a U-Net with {levels} channels by level, class-conditional flow matching; "
        f"{trained.steps} steps of {trained.batch_size} images, AdamW, peak learning rate "
        f"{trained.learning_rate:g}, weight decay {trained.weight_decay:g}, moving average of the "
        f"weights {trained.average:g}, label left out for {percent(trained.label_dropout, 0)} of "
        f"images. Samples: guidance {asked.guidance:g}, {asked.solver_steps} steps of Heun's method."
    )


def _evaluation(
    found: Left, review: pd.DataFrame, pixels: dict[str, np.ndarray], classes: pd.DataFrame
) -> list[Block]:
    metrics = found.metrics
    steps = _checkpoints(review)
    controls = review[review["what"].isin(metrics["controls"])]
    status = rows_of(steps)
    table = metric_table(found).rename(columns={"method": "what"})
    share = f"{metrics['n']} samples each"
    return [
        _table(rows_of(table), "test", f"Against the {metrics['n_test']} test images, {share}"),
        _verdict(found),
        Text(
            "Real against real is what training images of the same classes give, not held against "
            "themselves where copying is asked. The photocopier hands training images out as samples: "
            "measures of quality and diversity cannot tell it from real images, copied and closer must."
        ),
        _table(
            [*status, *rows_of(controls)],
            "validation",
            f"Checkpoints against the {metrics['n_validation']} validation images, {share}, from the "
            "same noise",
            status="status",
        ),
        of(
            status,
            {"what": "checkpoint", "status": "status", "reason": "reason", "note": "note"},
            f"Choice: {metrics['selection']['rule']}. Test data choose nothing.",
        ),
        _curves(found, steps, controls),
        _sheet(
            "checkpoints.png",
            found,
            pixels,
            [f"step {step}" for step in steps["step"]],
            "Samples from the same noise by checkpoint",
        ),
        of(
            rows_of(classes),
            {
                "class": "class",
                "samples": "samples",
                "label_agreement": "label agreement",
                "spread": "spread",
                "real_spread": "real spread",
                "sharpness": "sharpness",
                "real_sharpness": "real sharpness",
            },
            "By class, beside the test images: spread of features, median sharpness",
        ),
    ]


def _verdict(found: Left) -> Facts:
    gain, params, current = found.gain, found.task.params.evaluate, found.metrics["current"]
    level = percent(params.confidence, 0)

    def share(name: str) -> str:
        low, high = (percent(current[f"{name}_{end}"]) for end in ("low", "high"))
        return f"{percent(current[name])} ({level} interval {low} to {high})"

    low, high = f"{gain['gain_low']:.3f}", f"{gain['gain_high']:.3f}"
    least, most = f"{gain['seed_gain_min']:.3f}", f"{gain['seed_gain_max']:.3f}"
    close = percent(params.close_share, 0)
    facts = {
        "Verdict": gain["verdict"],
        "Gain": f"{gain['gain']:.3f} of Fréchet distance, {level} interval {low} to {high} (standard "
        f"bootstrap interval over samples and test images, {params.resamples:,} resamples); the model's "
        f"distance is {percent(gain['share_of_baseline'])} of the baseline's",
        f"Over {gain['seeds']} sampling seeds": f"gain {least} to {most}, standard deviation "
        f"{gain['seed_gain_sd']:.3f}; of one training seed (make bench trains others)",
        "Coverage": f"{share('coverage_test')} of test images",
        "Label agreement": share("label_agreement"),
        "Copied": f"{share('copied')} of samples lie closer to a training image than all but {close} of "
        f"test images do; a sample is closer than a test image with chance {current['closer']:.2f} (one "
        "half: as test images are)",
        "Smallest detectable gain": f"{gain['smallest_detectable_gain']:.3f} with "
        f"{percent(gain['power'], 0)} power",
    }
    return Facts(list(facts.items()))


def _curves(found: Left, steps: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    real = controls[controls["what"] == found.metrics["ceiling"]].iloc[0]
    rows = []
    for row in rows_of(steps):
        shares = {
            "quality": real["frechet_validation"] / row["frechet_validation"],
            "diversity": row["coverage_validation"] / real["coverage_validation"],
            "copying": row["closer"],
        }
        rows += [{"step": row["step"], "which": k, "share": float(v)} for k, v in shares.items()]
    chosen = found.metrics["current"]["step"]
    return Figure(
        "review.svg",
        charts.shares(pd.DataFrame(rows), chosen),
        "Quality, diversity and copying by step: "
        + "; ".join(f"step {r['step']}, {r['which']} {r['share']:.2f}" for r in rows),
        "Quality (the Fréchet distance of real against real over the checkpoint's), diversity (coverage "
        "over that of real images) and copying (the chance that a sample lies closer to a training "
        f"image than a validation image does; one half is right). Dashed: the chosen step, {chosen}.",
    )


def _failures(found: Left, samples: np.ndarray, images: np.ndarray) -> list[Block]:
    summary = found.summary
    blocks: list[Block] = [
        of(
            [
                {
                    "kind": name,
                    "samples": number,
                    "share": number / summary["samples"],
                    "real": summary["shares_of_real"][name],
                }
                for name, number in summary["buckets"].items()
            ],
            {"kind": "kind of failure", "samples": "samples", "share": "share", "real": "of real"},
            f"{summary['failure_case_count']} of {summary['samples']} samples fail in some way; beside "
            "them, the share of validation images of which the same would be said",
        )
    ]
    number = 0
    for bucket, some in found.cases.groupby("bucket", sort=False):
        cards = []
        for row in rows_of(some):
            number += 1
            twin = row["beside"] == "sample"
            beside = samples[row["twin"]] if twin else images[row["neighbour_row"]]
            what = "the sample most like it" if twin else "its nearest training image"
            cards.append(
                Card(
                    f"case-{number:02}.png",
                    pictures.strip(samples[row["place"]], [beside]),
                    f"Sample {row['id']}, class {row['true']} asked for; beside it {what}.",
                    f"{row['true']} → {row['predicted']} ({row['kind']})",
                    [
                        f"the judge gives the class asked for {percent(row['of_asked'])}",
                        (
                            f"difference to the nearest training image ({row['neighbour']}) "
                            f"{percent(row['gap'])} of the range"
                        ),
                        f"sharpness {row['sharpness']:.3f}",
                        row["id"],
                    ],
                )
            )
        blocks.append(Gallery(f"{str(bucket).capitalize()}: {some.iloc[0]['cause']}.", cards))
    good = [samples[place] for place in found.successes["place"]]
    if good:
        blocks.append(
            Figure(
                "successes.png",
                pictures.rows([good]),
                f"{len(good)} samples that fail in no way that is looked for.",
                f"{len(good)} samples that fail in no way that is looked for, evenly from the surest to "
                "the least sure.",
            )
        )
    return blocks


def _limits(found: Left) -> Facts:
    counts, headline = found.dataset.note["counts"], found.metrics["headline_seed"]
    return Facts(
        [
            (
                "The judge is a judge",
                (
                    "features come from a small classifier of this data: what it does not look at, no "
                    "measure here sees"
                ),
            ),
            (
                "Distances hold for this n",
                (
                    f"{counts['train']} training and {counts['test']} test images; a Fréchet distance "
                    "falls with n, so these compare with one another and with nothing else"
                ),
            ),
            (
                "Copying is looked for in pixels",
                (
                    "a shifted or scaled copy would pass; blurred samples lie close to many images "
                    "without being copies of any"
                ),
            ),
            (
                "One model",
                f"what is said here is said of the model of seed {headline}; `make bench` trains others",
            ),
        ]
    )


def _demo(found: Left, between: np.ndarray) -> list[Block]:
    label = shlex.quote(f"--label={found.dataset.classes[-1]}")
    return [
        Text("Draw samples of your own, the same for the same seed:"),
        Command(f"python -m stages.sample {label} --count 16 --out samples.png"),
        Figure(
            "between.png",
            pictures.rows([list(row) for row in between]),
            "Between two noises: each row goes from one sample to another of the same class.",
            "Between two noises, a class a row: the flow along the great circle from one noise to "
            "another. No step is a blend of two pictures.",
        ),
    ]
