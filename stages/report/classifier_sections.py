"""The sections of a classifier's evidence pack, one for each stage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.evaluation.classification_metrics import METRICS
from stages.evaluation.failure_causes import CAUSES
from stages.evaluation.folds import run_log, strongest_name
from stages.report import charts, classes, sections
from stages.report.document import (
    Block,
    Document,
    Facts,
    Figure,
    Gallery,
    Quotes,
    Section,
    Table,
    Text,
)
from stages.report.formatting import (
    answer_questions,
    make_table,
    method_rows,
    percent,
    points,
    points_range,
    significance_line,
    summary_line,
    verdict_line,
)

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs


def classification_document(
    outputs: "ClassificationOutputs",
    title: str,
    samples: tuple[Gallery | Quotes, Gallery | Quotes],
    extra: Mapping[str, Sequence[Block]],
    demo: Sequence[Block],
) -> Document:
    """Return a classifier's evidence, section by section.

    Args:
        outputs: of the stages before the pack.
        title: of the document.
        samples: the successes and the failure cases.
        extra: what the kind adds to the sections "check", "baseline", "train", "evaluate" and
            "failures", by name; "limits" is required.
        demo: how to try the model.
    """
    successes, failures = samples
    return Document(
        title,
        verdict_line(outputs),
        summary_line(outputs),
        [
            sections.overview_section(outputs, answer_questions(outputs)),
            sections.prepare_section(outputs),
            sections.check_section(outputs, *extra.get("check", ())),
            baseline_section(outputs, *extra.get("baseline", ())),
            train_section(outputs, *extra.get("train", ())),
            evaluate_section(outputs, successes, *extra.get("evaluate", ())),
            failures_section(outputs, failures, *extra.get("failures", ())),
            sections.review_section(outputs, {}),
            sections.next_step_section(outputs),
            Section("limits", "Risks and limits", extra["limits"]),
            Section("demo", "Try it", demo),
        ],
    )


def baseline_section(outputs: "ClassificationOutputs", *extra: Block) -> Section:
    """Return the validation scores of the baselines, and which one is to beat."""
    baseline = outputs.baseline
    rows = [
        {
            "method": name,
            **baseline["validation"][name],
            "fitted_on": baseline["fitted_on"][name],
            "regularisation": _chosen_c(baseline, name),
        }
        for name in baseline["methods"]
    ]
    columns = {
        "method": "method",
        **METRICS,
        "log_loss": "log loss",
        "fitted_on": "training samples",
        "regularisation": "C",
    }
    converged = "" if baseline["converged"] else " A fit stopped before it converged."
    text = Text(
        f"The baseline to beat is {strongest_name(baseline)} ({baseline['rule']}{_wins(baseline)}). "
        f"Input of the baselines: {baseline['input']}.{converged}"
    )
    folds = len(baseline.get("folds", ()))
    of_folds = f" (means over {folds} folds)" if folds else ""
    table = make_table(rows, columns, f"Baselines on validation data{of_folds}")
    return Section("baseline", "Baseline", [table, text, *extra])


def _wins(baseline: Mapping[str, Any]) -> str:
    """Return in how many folds each method is the strongest; "" without folds."""
    wins = Counter(summary["strongest"] for summary in baseline.get("folds", ()))
    return (
        f": {', '.join(f'{name} in {count}' for name, count in wins.most_common())}" if wins else ""
    )


def _chosen_c(baseline: Mapping[str, Any], method: str) -> str:
    """Return the C that validation data chose for a method, and the candidates; "" for none."""
    selections = [
        summary["regularisation"][method]
        for summary in baseline.get("folds", [baseline])
        if method in summary.get("regularisation", {})
    ]
    if not selections:
        return ""
    chosen = " or ".join(
        f"{c:g}" for c in sorted({selection["chosen"] for selection in selections})
    )
    candidates = ", ".join(f"{row['c']:g}" for row in selections[0]["candidates"])
    return f"{chosen} of {candidates}"


def train_section(outputs: "ClassificationOutputs", *extra: Block) -> Section:
    """Return the loss curves, the selected epoch of each seed, and the diagnostics."""
    blocks = [_loss_figure(outputs), _run_table(outputs), *extra]
    return Section("train", "Train", [*blocks, *sections.diagnostics_blocks(outputs)])


def _loss_figure(outputs: "ClassificationOutputs") -> Figure:
    strongest = outputs.baseline["strongest"]
    baseline_loss = outputs.baseline["validation"][strongest]["log_loss"]
    fold, seed = 0 if "fold" in outputs.log else None, outputs.metrics["primary_seed"]
    last = run_log(outputs.log, fold, seed).iloc[-1]
    name, runs = outputs.task.folds()[0].run_name(seed), len(outputs.checkpoints["epoch"])
    strong, unit = (f"The primary seed ({seed})", "seeds") if fold is None else (name, "runs")
    return Figure(
        "loss.svg",
        charts.loss_curves(outputs.log, name, baseline_loss),
        f"Loss by epoch. {name.capitalize()}: the training loss ends at {last['train_loss']:.3f}, the "
        f"validation loss at {last['validation_loss']:.3f}; the baseline's validation loss is "
        f"{baseline_loss:.3f}.",
        f"Loss by epoch for {runs} {unit}. {strong.capitalize()} is "
        f"drawn strong, the others faint; the dashed line is the validation loss of {strongest}. The "
        "training loss includes augmentation and label smoothing where the params set them; the "
        "validation loss includes neither.",
    )


def _run_table(outputs: "ClassificationOutputs") -> Table:
    """Return the selected epoch of each training run; without folds, also its model's test scores."""
    primary, rows = outputs.metrics["primary_seed"], []
    metrics = ["accuracy", *({outputs.gain["metric"]} - {"accuracy"})]
    for fold in outputs.task.folds():
        for seed in outputs.task.params.train.seeds:
            epoch = outputs.checkpoints["epoch"][fold.run_name(seed)]
            log = run_log(outputs.log, fold.fold, seed)
            selected = log[log["epoch"] == epoch].iloc[0]
            name = f"{seed} (primary)" if seed == primary else str(seed)
            rows.append(
                {
                    "fold": fold.fold,
                    "seed": name,
                    "epoch": int(epoch),
                    "train_loss": float(selected["train_loss"]),
                    "validation_loss": float(selected["validation_loss"]),
                    "validation_accuracy": float(selected["validation_accuracy"]),
                    **{key: float(outputs.metrics["seeds"][str(seed)][key]) for key in metrics},
                }
            )
    has_folds = len(outputs.task.folds()) > 1
    columns = {
        **({"fold": "fold"} if has_folds else {}),
        "seed": "seed",
        "epoch": "selected epoch",
        "train_loss": "train loss",
        "validation_loss": "validation loss",
        "validation_accuracy": "validation accuracy",
        **({} if has_folds else {key: f"test {METRICS[key]}" for key in metrics}),
    }
    caption = (
        f"Selected epoch of each {'run' if has_folds else 'seed'}: {outputs.checkpoints['rule']}. "
        "Test data select nothing."
    )
    return make_table(rows, columns, caption)


def _fold_table(outputs: "ClassificationOutputs") -> list[Block]:
    """Return the test accuracy in each fold; nothing without folds."""
    folds = outputs.metrics.get("folds", {})
    rows = [{"fold": int(fold), **figures} for fold, figures in folds.items()]
    columns = {
        "fold": "fold",
        "n": "test samples",
        "accuracy": "accuracy",
        "baseline_accuracy": "baseline",
        "strongest_baseline": "strongest baseline on the fold's validation data",
    }
    caption = "Test accuracy by fold; the verdict rests on all folds together"
    return [make_table(rows, columns, caption)] if rows else []


def evaluate_section(
    outputs: "ClassificationOutputs", successes: Gallery | Quotes, *extra: Block
) -> Section:
    """Return scores, the verdict, confusion, calibration, and correctly predicted samples."""
    blocks: list[Block] = [
        _method_table(outputs),
        _verdict_facts(outputs),
        *_fold_table(outputs),
        classes.class_table(outputs),
        *classes.confusion_blocks(outputs),
        _reliability_figure(outputs),
    ]
    return Section("evaluate", "Evaluate", [*blocks, *extra, successes])


def _method_table(outputs: "ClassificationOutputs") -> Table:
    metric = outputs.gain["metric"]
    columns = {
        "method": "method",
        **METRICS,
        "interval": f"{percent(outputs.task.params.evaluate.confidence, 0)} interval of {METRICS[metric]}",
        "log_loss": "log loss",
        "calibration_error": "calibration error",
    }
    rule = "Wilson" if metric == "accuracy" else "bootstrap"
    caption = f"Scores on the same {outputs.metrics['n']} test samples ({rule} intervals)"
    return make_table(method_rows(outputs), columns, caption)


def _verdict_facts(outputs: "ClassificationOutputs") -> Facts:
    gain, params, count = outputs.gain, outputs.task.params.evaluate, outputs.metrics["n"]
    interval = f"{percent(params.confidence, 0)} interval"
    scope = f"the intervals hold for samples like these {count}"
    if outputs.dataset.note["grouped"]:
        scope = (
            f"the intervals hold for these {count} samples from these held-out groups; other groups may "
            f"be easier or harder (evidence bench {outputs.task.name} measures other splits)"
        )
    facts = {
        "Verdict": f"{gain['verdict']}, by {METRICS[gain['metric']]}",
        "Gain": f"{points(gain['gain'])}, {interval} {points_range(gain['gain_low'], gain['gain_high'])} "
        f"(paired bootstrap, {params.resamples:,} resamples)",
        "Test": f"{gain['fixed']} samples fixed, {gain['broken']} broken; {significance_line(gain)}",
        f"Over {gain['seeds']} seeds": f"mean gain {points(gain['seed_gain_mean'])}, "
        f"{points_range(gain['seed_gain_min'], gain['seed_gain_max'])}, standard deviation "
        f"{100 * gain['seed_gain_sd']:.2f} points",
        "Smallest detectable gain": f"{points(gain['smallest_detectable_gain'])} with "
        f"{percent(gain['power'], 0)} power, if {percent(params.assumed_regressions)} of samples are "
        f"broken; the params call {points(params.worthwhile_gain)} worthwhile",
        "Scope": scope,
    }
    return Facts(list(facts.items()))


def _reliability_figure(outputs: "ClassificationOutputs") -> Figure:
    model, baseline = (
        f"{outputs.metrics[name]['calibration_error']:.3f}" for name in ("current", "baseline")
    )
    errors = f"Expected calibration error {model}, baseline {baseline}."
    return Figure(
        "reliability.svg",
        charts.reliability(outputs.reliability_curves()),
        f"Reliability curve. {errors}",
        "Calibration: accuracy in bins of confidence; larger dots hold more samples. Above the dashed "
        f"line the accuracy exceeds the confidence. {errors}",
    )


def failures_section(
    outputs: "ClassificationOutputs", failures: Gallery | Quotes, *extra: Block
) -> Section:
    """Return the failure cases, and their counts by change, cause and bucket."""
    summary = outputs.summary
    changes = summary["changes"]
    counts = Facts(
        [
            ("Fixed", f"{changes['fixed']} samples that only the baseline gets wrong"),
            ("Broken", f"{changes['broken']} samples that only the model gets wrong"),
            ("Persistent", f"{changes['persistent']} samples that both get wrong"),
            (
                "Suspect labels",
                f"{summary['suspect_labels']} among the cases, to be checked by eye",
            ),
        ]
    )
    causes = make_table(
        [
            {"cause": cause, "cases": summary["causes"].get(cause, 0), "rule": definition}
            for cause, definition in CAUSES.items()
        ],
        {"cause": "likely cause", "cases": "cases", "rule": "rule"},
        f"Likely causes of the {summary['failure_case_count']} failure cases: the first rule that applies",
    )
    buckets = classes.bucket_table(summary["buckets"])
    return Section("failures", "Failures", [counts, failures, causes, buckets, *extra])
