"""The sections of a classifier's evidence pack, one a stage; a task adds what only it can show."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from stages.shared import charts
from stages.shared.cases import CAUSES
from stages.shared.document import (
    Block,
    Command,
    Document,
    Facts,
    Figure,
    Gallery,
    Quotes,
    Section,
    Table,
    Text,
)
from stages.shared.review import FOLDER, notes
from stages.shared.wording import (
    answers,
    method_rows,
    of,
    p_value,
    percent,
    points,
    rows_of,
    summary_line,
    verdict_line,
)

if TYPE_CHECKING:
    from stages.shared.findings import Findings, Left


def at_a_glance(found: "Left", said: Mapping[str, str]) -> Section:
    """Return the run command and the five questions, answered by `said`."""
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
            Facts([(asked[key], answer) for key, answer in said.items()]),
            Text("Run it again:"),
            Command(found.run_command),
        ],
    )


def prepare(found: "Left") -> Section:
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


def check(found: "Left", *more: Block) -> Section:
    """Return the checks and the shape of every layer's output."""
    checks = of(
        found.checks, {"check": "check", "held": "held", "saw": "what it saw"}, "Before training"
    )
    shapes = layers(found.shapes, "Shapes through the model")
    return Section("check", "Check", [checks, shapes, *more])


def layers(shapes: pd.DataFrame, caption: str) -> Table:
    """Return the table of every layer's output shape, and how many parameters there are."""
    columns = {
        "layer": "layer",
        "kind": "kind",
        "output_shape": "output shape",
        "parameters": "parameters",
    }
    total = int(shapes["parameters"].sum())
    return of(rows_of(shapes), columns, f"{caption}, {total:,} parameters in all")


def baseline(found: "Findings", *more: Block) -> Section:
    """Return the baselines, and how the one to beat was chosen."""
    chosen = found.baseline
    rows = [
        {"method": name, **chosen["validation"][name], "fitted_on": chosen["fitted_on"][name]}
        for name in chosen["methods"]
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
    stopped = "" if chosen["converged"] else " A fit was stopped before it had converged."
    line = Text(
        f"The one to beat is {chosen['strongest']} ({chosen['rule']}). They see {chosen['sees']}.{stopped}"
    )
    return Section("baseline", "Baseline", [table, line, *more])


def train(found: "Findings", *more: Block) -> Section:
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
    return Section("train", "Train", [figure, table, *more, *made_on(found)])


def made_on(found: "Left") -> list[Block]:
    """Return what was named as wrong, and the machine."""
    named = [
        (f"{one['name']}, seed {one['seed']}", f"{one['saw']}; try first: {one['try_first']}")
        for one in found.troubles
    ]
    named += [(one["name"], f"{one['saw']}; try first: {one['try_first']}") for one in found.alarms]
    quiet = Text(
        "No trouble named: no loss decrease, overfitting and plateau are looked for in every seed's log, "
        "label noise or copying in what the model says of training samples; a loss that is not finite "
        "stops training."
    )
    machine = Facts([(name, str(value)) for name, value in found.machine.items()])
    return [Facts(named) if named else quiet, Text("Made on:"), machine]


def _verdict_facts(found: "Findings") -> Facts:
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
                f"{gain['fixed']} samples fixed, {gain['broken']} broken; p {p_value(gain['mcnemar_p'])}",
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
                    f"{points(gain['smallest_detectable_gain'])} with {percent(gain['power'], 0)} "
                    f"power, were {percent(params.assumed_regressions)} of samples "
                    f"broken; a worthwhile one is {points(params.worthwhile_gain)}"
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


def evaluate(
    found: "Findings", right: Gallery | Quotes, curves: dict[str, pd.DataFrame], *more: Block
) -> Section:
    """Return scores, the verdict, confusion, calibration, and right samples."""
    methods = of(
        method_rows(found),
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
            "Failure cases by bucket: "
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
        f"is right more often than it says. Expected calibration error {current['calibration_error']:.3f}, "
        f"baseline {simple['calibration_error']:.3f}.",
    )
    blocks: list[Block] = [methods, _verdict_facts(found), classes, confusion, calibration]
    blocks += [*more, right]
    return Section("evaluate", "Evaluate", blocks)


def failures(found: "Findings", wrong: Gallery | Quotes, *more: Block) -> Section:
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
        {"bucket": "bucket", "cases": "cases"},
        "Failure cases by bucket",
    )
    return Section("failures", "Failures", [changes, wrong, causes, buckets, *more])


def document(
    found: "Findings",
    title: str,
    curves: dict[str, pd.DataFrame],
    samples: Mapping[str, Gallery | Quotes],
    more: Mapping[str, Sequence[Block]],
    demo: Sequence[Block],
) -> Document:
    """Return a classifier's evidence, section by section.

    Args:
        found: what the stages before have left.
        title: of the document.
        curves: reliability curves by method, the headline model first.
        samples: the "right" and the "wrong" ones.
        more: by section ("check", "baseline", "train", "evaluate", "failures", "limits"), what the
            task adds to it.
        demo: how to try the model.
    """
    return Document(
        title,
        verdict_line(found),
        summary_line(found),
        [
            at_a_glance(found, answers(found)),
            prepare(found),
            check(found, *more.get("check", ())),
            baseline(found, *more.get("baseline", ())),
            train(found, *more.get("train", ())),
            evaluate(found, samples["right"], curves, *more.get("evaluate", ())),
            failures(found, samples["wrong"], *more.get("failures", ())),
            review(found, {}),
            next_section(found),
            Section("limits", "Risks and limits", more["limits"]),
            Section("demo", "Try it", demo),
        ],
    )


def review(found: "Left", drafted: Mapping[str, str]) -> Section:
    """Return the notes that a person has written, each beside what is drafted from the figures."""
    file = f"{FOLDER}/{found.task.name}.md"
    rows = []
    written = notes(found.task.name)
    for heading, said in {**dict.fromkeys(drafted, ""), **written}.items():
        if heading in drafted:
            rows.append((f"{heading}, drafted from the figures", drafted[heading]))
        rows.append(
            (f"{heading}, by a reviewer", said or f"missing: nobody has written it in {file}")
        )
    return Section("review", "Review notes", [Facts(rows)])


def next_section(found: "Left") -> Section:
    """Return the one change to try next, and its command."""
    name = found.task.name
    return Section(
        "next",
        "Next step",
        [
            Text(found.next_step["why"]),
            Command(found.next_step["command"]),
            Text(
                f"Or so, with a verdict and a line in evidence/{name}/experiments.csv, where each change "
                "that was tried stands, failed ones too:"
            ),
            Command(f"python -m stages.experiment {name} --next"),
        ],
    )
