"""What every classifier's evidence pack says: the sections, the record, the files.

A task's pack composes these and adds what only it can show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.shared import charts
from stages.shared.cases import CAUSES
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.document import (
    Block,
    Command,
    Document,
    Facts,
    Figure,
    Gallery,
    Section,
    Table,
    Text,
    markdown,
    page,
    plain,
)
from stages.shared.files import as_csv, as_json, read_csv, read_json

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.task import Task

TEXT_COLUMNS = ("id", "group", "true", "predicted", "baseline", "bucket", "cause", "neighbours")


@dataclass(frozen=True)
class Findings:
    """All that the stages before left for one task, read once."""

    task: "Task"
    dataset: Dataset
    checks: list[dict[str, Any]]
    shapes: pd.DataFrame
    baseline: dict[str, Any]
    log: pd.DataFrame
    chosen: dict[str, Any]
    machine: dict[str, Any]
    metrics: dict[str, Any]
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame
    cases: pd.DataFrame
    successes: pd.DataFrame
    summary: dict[str, Any]
    next_step: dict[str, Any]

    @property
    def run_command(self) -> str:
        """Return the exact command that reproduces the result."""
        return f"dvc repro pack@{self.task.name}"

    @property
    def gain(self) -> dict[str, Any]:
        """Return the figures of the improvement over the baseline."""
        found: dict[str, Any] = self.metrics["current"]["improvement"]
        return found


def gather(task: "Task") -> Findings:
    """Return what the stages before left.

    Raises:
        Refusal: something is missing or damaged.
    """
    text = dict.fromkeys(TEXT_COLUMNS, str)
    check, baseline, train, evaluate, failures = (
        task.folder(stage) for stage in ("check", "baseline", "train", "evaluate", "failures")
    )
    return Findings(
        task,
        read_dataset(task.folder("prepare")),
        read_json(check / "checks.json"),
        read_csv(check / "shapes.csv"),
        read_json(baseline / "baseline.json"),
        read_csv(train / "log.csv"),
        read_json(train / "chosen.json"),
        read_json(train / "machine.json"),
        read_json(evaluate / "metrics.json"),
        read_csv(evaluate / "per_class.csv", dtype={"class": str}),
        read_csv(evaluate / "confusion.csv", dtype={"true / predicted": str}),
        read_csv(evaluate / "predictions.csv", dtype={"id": str, "group": str}),
        read_csv(
            failures / "cases.csv", dtype=text | {"neighbour_labels": str, "neighbour_rows": str}
        ),
        read_csv(failures / "successes.csv", dtype=text),
        read_json(failures / "summary.json"),
        read_json(failures / "next_step.json"),
    )


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage: 0.9772 is 97.7%."""
    return f"{100 * share:.{digits}f}%"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed."""
    return f"{100 * difference:+.1f} points"


def of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], caption: str) -> Table:
    """Return a table of `rows`, a column for each of `columns` (key: heading)."""
    cells = [[_cell(row[key]) for key in columns] for row in rows]
    numeric = [
        index
        for index, key in enumerate(columns)
        if rows and all(_is_number(row[key]) for row in rows)
    ]
    return Table(caption, list(columns.values()), cells, numeric)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows by column name."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _p(value: float) -> str:
    return f"{value:.1g}" if value >= 1e-6 else "below 0.000001"  # noqa: PLR2004


def verdict_line(found: Findings) -> str:
    """Return the result in one line: verdict, gain, interval."""
    gain = found.gain
    level = percent(found.task.params.evaluate.confidence, 0)
    return (
        f"{gain['verdict'].capitalize()}: {points(gain['gain'])} of accuracy over "
        f"{found.metrics['strongest_baseline']} ({level} interval {points(gain['gain_low'])} to "
        f"{points(gain['gain_high'])})"
    )


def summary_line(found: Findings) -> str:
    """Return what the result rests on: n, seeds, who was held out."""
    counts, note = found.metrics, found.dataset.note
    groups = f" of {note['group_counts']['test']} held-out groups" if note["grouped"] else ""
    current = counts["current"]
    return (
        f"Test accuracy {percent(current['accuracy'])} ({percent(current['accuracy_low'])} to "
        f"{percent(current['accuracy_high'])}) against {percent(counts['baseline']['accuracy'])}, on "
        f"{counts['n']} test samples{groups}; the model of seed {counts['headline_seed']}, stated "
        f"beforehand; {found.gain['seeds']} seeds gain {points(found.gain['seed_gain_min'])} to "
        f"{points(found.gain['seed_gain_max'])}."
    )


def answers(found: Findings) -> dict[str, str]:
    """Return the five questions that a finished project answers, answered from the figures."""
    counts, gain = found.metrics, found.gain
    right = found.successes
    first = found.cases.iloc[0]
    kinds = ", ".join(f"{number} {kind}" for kind, number in found.summary["kinds"].items())
    return {
        "baseline": f"{counts['strongest_baseline']}: {percent(counts['baseline']['accuracy'])} on the "
        "same test samples, the strongest simple method on validation data",
        "metric": f"{verdict_line(found)}; exact McNemar p {_p(gain['mcnemar_p'])}, n {counts['n']}",
        "sample_success": f"{len(right)} shown, evenly from the surest ({right.iloc[0]['id']}, "
        f"confidence {percent(right.iloc[0]['confidence'])}) to the least sure "
        f"({right.iloc[-1]['id']}, {percent(right.iloc[-1]['confidence'])})",
        "sample_failure": f"{len(found.cases)} cases ({kinds}); the first, {first['id']}: "
        f"true {first['true']}, predicted {first['predicted']} with confidence "
        f"{percent(first['confidence'])} ({first['cause']})",
        "debug_next": found.next_step["why"],
    }


def at_a_glance(found: Findings) -> Section:
    """Return the run command and the five answers."""
    asked = {
        "baseline": "What simple method did this beat?",
        "metric": "What number proves it?",
        "sample_success": "Which predictions look right?",
        "sample_failure": "Which still fail?",
        "debug_next": "What would you change first, and why?",
    }
    return Section(
        "glance",
        "At a glance",
        [
            Facts([(asked[key], said) for key, said in answers(found).items()]),
            Text("Run it again:"),
            Command(found.run_command),
        ],
    )


def prepare(found: Findings) -> Section:
    """Return the dataset note."""
    note = found.dataset.note
    near = note["near_duplicates"]
    facts = [
        ("Where from", note["origin"]),
        ("Licence", note["licence"]),
        ("Label rules", note["label_rules"]),
        ("Split rule", note["split_rule"]),
        ("Size", note["size_rule"]),
        ("SHA-256", f"{note['raw_sha256']} ({note['raw_sha256_of']})"),
        ("Unreadable", f"{note['unreadable']} files left out"),
        (
            "Exact duplicates",
            (
                f"{note['exact_duplicates']} left out, "
                f"{note['exact_duplicates_with_another_label']} of them with another label"
            ),
        ),
        (
            "Near duplicates",
            (
                f"pairs found: {near['pairs']} ({near['rule']}); {near['straddling_left_out']} "
                "training samples left out because they nearly repeat a held-out one"
            ),
        ),
    ]
    facts += [
        (f"Groups in {split}", ", ".join(names)) for split, names in note["groups"].items() if names
    ]
    blocks: list[Block] = [Facts(facts)]
    if note["unreadable_files"]:
        blocks.append(
            of(
                note["unreadable_files"],
                {"id": "file", "label": "class", "problem": "problem"},
                f"Unreadable files (the first {len(note['unreadable_files'])} of {note['unreadable']})",
            )
        )
    total = {"class": "all", **note["counts"]}
    columns = {"class": "class", "train": "train", "validation": "validation", "test": "test"}
    blocks.append(of([*note["class_counts"], total], columns, "Samples by class and split"))
    return Section("prepare", "Prepare", blocks)


def check(found: Findings, *more: Block) -> Section:
    """Return the checks and the shape of every layer's output."""
    checks = of(
        found.checks, {"check": "check", "held": "held", "saw": "what it saw"}, "Before training"
    )
    shapes = of(
        rows_of(found.shapes),
        {
            "layer": "layer",
            "kind": "kind",
            "output_shape": "output shape",
            "parameters": "parameters",
        },
        f"Shapes through the model, {int(found.shapes['parameters'].sum()):,} parameters in all",
    )
    return Section("check", "Check", [checks, shapes, *more])


def _method_rows(found: Findings) -> list[dict[str, Any]]:
    metrics = found.metrics
    named = {f"{name} (baseline)": scores for name, scores in metrics["baselines"].items()}
    named[f"model, seed {metrics['headline_seed']} (headline)"] = metrics["current"]
    return [
        {
            "method": name,
            "accuracy": scores["accuracy"],
            "interval": f"{scores['accuracy_low']:.3f} to {scores['accuracy_high']:.3f}",
            "macro_f1": scores["macro_f1"],
            "log_loss": scores["log_loss"],
            "calibration_error": scores["calibration_error"],
        }
        for name, scores in named.items()
    ]


def metric_table(found: Findings) -> pd.DataFrame:
    """Return the metric table: a row a method."""
    return pd.DataFrame(_method_rows(found))


def baseline(found: Findings, *more: Block) -> Section:
    """Return the baselines, and how the one to beat was chosen."""
    chosen = found.baseline
    rows = [
        {"method": name, **scores, "fitted_on": chosen["fitted_on"][name]}
        for name, scores in chosen["validation"].items()
    ]
    table = of(
        rows,
        {
            "method": "method",
            "accuracy": "accuracy",
            "macro_f1": "macro F1",
            "log_loss": "log loss",
            "fitted_on": "fitted on",
        },
        "Baselines on validation data",
    )
    line = Text(f"The one to beat is {chosen['strongest']} ({chosen['rule']}).")
    return Section("baseline", "Baseline", [table, line, *more])


def train(found: Findings, *more: Block) -> Section:
    """Return the loss curves, the chosen epochs, the machine."""
    headline = found.metrics["headline_seed"]
    strongest = found.baseline["strongest"]
    floor = found.baseline["validation"][strongest]["log_loss"]
    epochs = found.chosen["epoch"]
    rows = []
    for seed, epoch in epochs.items():
        at = found.log[(found.log["seed"] == int(seed)) & (found.log["epoch"] == epoch)].iloc[0]
        rows.append(
            {
                "seed": f"{seed}{' (headline)' if int(seed) == headline else ''}",
                "epoch": int(epoch),
                "train_loss": float(at["train_loss"]),
                "validation_loss": float(at["validation_loss"]),
                "validation_accuracy": float(at["validation_accuracy"]),
                "test": float(found.metrics["seeds"][seed]["accuracy"]),
            }
        )
    last = found.log[found.log["seed"] == headline].iloc[-1]
    figure = Figure(
        "loss.svg",
        charts.loss_curves(found.log, headline, floor),
        f"Loss by epoch. Seed {headline}: training loss ends at {last['train_loss']:.3f}, validation "
        f"loss at {last['validation_loss']:.3f}; the baseline's validation loss is {floor:.3f}.",
        f"Loss by epoch, {len(epochs)} seeds; the headline (seed {headline}) strong, the others faint; "
        f"dashed: the validation loss of {strongest}. Training loss is on augmented samples and "
        "smoothed labels where params ask for them, validation loss on neither.",
    )
    table = of(
        rows,
        {
            "seed": "seed",
            "epoch": "chosen epoch",
            "train_loss": "train loss",
            "validation_loss": "validation loss",
            "validation_accuracy": "validation accuracy",
            "test": "test accuracy",
        },
        f"The epoch taken from each seed: {found.chosen['rule']}. Test data choose nothing.",
    )
    machine = Facts([(name, str(value)) for name, value in found.machine.items()])
    return Section("train", "Train", [figure, table, *more, Text("Made on:"), machine])


def _verdict_facts(found: Findings) -> Facts:
    gain, params = found.gain, found.task.params.evaluate
    level = percent(params.confidence, 0)
    return Facts(
        [
            ("Verdict", gain["verdict"]),
            (
                "Gain",
                (
                    f"{points(gain['gain'])}, {level} interval {points(gain['gain_low'])} to "
                    f"{points(gain['gain_high'])} (paired bootstrap, {params.resamples:,} resamples)"
                ),
            ),
            (
                "Exact McNemar test",
                f"{gain['fixed']} samples fixed, {gain['broken']} broken; p {_p(gain['mcnemar_p'])}",
            ),
            (
                f"Over {gain['seeds']} seeds",
                (
                    f"mean gain {points(gain['seed_gain_mean'])}, {points(gain['seed_gain_min'])} to "
                    f"{points(gain['seed_gain_max'])}, standard deviation "
                    f"{100 * gain['seed_gain_sd']:.2f} points"
                ),
            ),
            (
                "Smallest detectable gain",
                (
                    f"{points(gain['smallest_detectable_gain'])} with 80% power, were "
                    f"{percent(params.assumed_regressions)} of samples broken; a worthwhile one is "
                    f"{points(params.worthwhile_gain)}"
                ),
            ),
            (
                "What it does not say",
                f"the intervals are over these {found.metrics['n']} samples and these held-out groups; "
                "other groups may be easier or harder (make bench draws others)"
                if found.dataset.note["grouped"]
                else f"the intervals are over samples like these {found.metrics['n']}",
            ),
        ]
    )


def evaluate(found: Findings, right: Gallery, curves: dict[str, pd.DataFrame]) -> Section:
    """Return scores, the verdict, confusion, calibration, and right samples."""
    methods = of(
        _method_rows(found),
        {
            "method": "method",
            "accuracy": "accuracy",
            "interval": f"{percent(found.task.params.evaluate.confidence, 0)} interval",
            "macro_f1": "macro F1",
            "log_loss": "log loss",
            "calibration_error": "calibration error",
        },
        f"On the same {found.metrics['n']} test samples (Wilson intervals)",
    )
    classes = of(
        rows_of(found.per_class),
        {
            "class": "class",
            "count": "count",
            "right": "right",
            "precision": "precision",
            "recall": "recall",
            "f1": "F1",
            "baseline_f1": "baseline F1",
        },
        "By class",
    )
    confusion = Figure(
        "confusion.svg",
        charts.confusion(found.confusion),
        "Confusion matrix, true class by predicted class. "
        + (
            "Failure cases by pair: "
            + ", ".join(f"{k}: {v}" for k, v in found.summary["buckets"].items())
        ),
        "Confusion matrix of the headline model, counts; colour is the share of the true class.",
    )
    current, simple = found.metrics["current"], found.metrics["baseline"]
    calibration = Figure(
        "reliability.svg",
        charts.reliability(curves),
        "Reliability curve. Expected calibration error "
        f"{current['calibration_error']:.3f}, baseline {simple['calibration_error']:.3f}.",
        "Calibration: accuracy in bins of confidence, dots by count; above the dashed line the model "
        f"is surer than it says. Expected calibration error {current['calibration_error']:.3f}, "
        f"baseline {simple['calibration_error']:.3f}.",
    )
    blocks: list[Block] = [methods, _verdict_facts(found), classes, confusion, calibration, right]
    return Section("evaluate", "Evaluate", blocks)


def failures(found: Findings, wrong: Gallery, *more: Block) -> Section:
    """Return the failure cases and their counts."""
    summary = found.summary
    changes = Facts(
        [
            ("Fixed", f"{summary['changes']['fixed']} that the baseline gets wrong"),
            ("Broken", f"{summary['changes']['broken']} that the baseline gets right"),
            ("Persistent", f"{summary['changes']['persistent']} that both get wrong"),
            ("Suspect labels", f"{summary['suspect_labels']} (a list to look at, not a finding)"),
        ]
    )
    causes = of(
        [
            {"cause": name, "cases": summary["causes"].get(name, 0), "means": means}
            for name, means in CAUSES.items()
        ],
        {"cause": "likely cause", "cases": "cases", "means": "when it is said"},
        f"Likely causes of the {summary['failure_case_count']} failure cases, by rule",
    )
    buckets = of(
        [
            {"bucket": name, "cases": number}
            for name, number in sorted(
                summary["buckets"].items(), key=lambda item: (-item[1], item[0])
            )
        ],
        {"bucket": "true → predicted", "cases": "cases"},
        "By confused pair",
    )
    return Section("failures", "Failures", [changes, wrong, causes, buckets, *more])


def next_section(found: Findings) -> Section:
    """Return the one change to try next, and its command."""
    return Section(
        "next", "Next step", [Text(found.next_step["why"]), Command(found.next_step["command"])]
    )


def case_lines(case: Mapping[str, Any]) -> list[str]:
    """Return what is said of a failure case."""
    lines = [
        f"confidence {percent(case['confidence'])}, true class {percent(case['probability_of_true'])}",
        f"{case['cause']}; {case['change']} (baseline says {case['baseline']})",
        f"wrong for {percent(case['failure_rate'], 0)} of seeds",
        f"nearest training samples: {case['neighbour_labels'].replace(' | ', ', ')}",
    ]
    if str(case["suspect_label"]) == "True":
        lines.append("look at its label")
    return lines


@dataclass(frozen=True)
class Pack:
    """The evidence pack: what goes into git, and the pages' content as data for the cache."""

    document: Document
    record: dict[str, Any]
    data: "dict[str, Content]"
    page_limit_mb: float

    def files(self) -> "dict[str, Content]":
        """Return the pack's files by their path in the evidence folder."""
        return {
            "README.md": markdown(self.document),
            "index.html": page(self.document, self.page_limit_mb),
            "record.json": as_json(self.record),
            **{f"data/{name}": content for name, content in self.data.items()},
            **{f"pictures/{name}": data for name, data in self.document.pictures().items()},
        }

    def content(self) -> "dict[str, Content]":
        """Return what the pages say, as data."""
        return {"document.json": plain(self.document)}


def record(found: Findings, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record, under the names that every pack uses."""
    metrics, note = found.metrics, found.dataset.note
    columns = ["id", "true", "predicted", "confidence", "change", "cause", "bucket"]
    return {
        "task": found.task.name,
        "improvement": round(found.gain["gain"], 3),
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
        "failure_cases": found.cases[columns].to_dict("records"),
        "next_step": found.next_step,
        "questions": answers(found),
        **more,
    }


def data_files(found: Findings) -> "dict[str, Content]":
    """Return the files from which the pages' figures come, as they go into git."""
    return {
        "run_command.txt": f"{found.run_command}\n",
        "dataset_note.json": as_json(found.dataset.note),
        "checks.json": as_json(found.checks),
        "model_summary.csv": as_csv(found.shapes),
        "training_log.csv": as_csv(found.log),
        "machine.json": as_json(found.machine),
        "metrics.json": as_json(found.metrics),
        "metric_table.csv": as_csv(metric_table(found)),
        "per_class.csv": as_csv(found.per_class),
        "confusion_matrix.csv": as_csv(found.confusion),
        "predictions.csv": as_csv(found.predictions),
        "prediction_samples.csv": as_csv(found.successes),
        "failure_cases.csv": as_csv(found.cases),
        "next_step.json": as_json(found.next_step),
    }
