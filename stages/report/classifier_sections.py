"""The sections of a classifier's evidence pack, one for each stage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.evaluation.classification_metrics import METRICS
from stages.evaluation.failure_causes import cause_definitions
from stages.evaluation.folds import strongest_name
from stages.evaluation.verdict import groups_needed
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
    calibration_line,
    interval_method,
    make_table,
    method_rows,
    percent,
    points,
    points_range,
    significance_line,
    summary_line,
    verdict_line,
    verdict_reason,
)
from stages.report.training_section import train_section

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier
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
    strengths = sorted({selection["chosen"] for selection in selections})
    candidates = ", ".join(f"{row['c']:g}" for row in selections[0]["candidates"])
    return f"{' or '.join(f'{c:g}' for c in strengths)} of {candidates}"


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
        verdict_facts(outputs),
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
        "calibration_error_chance": "by chance",
    }
    rule = "Wilson" if metric == "accuracy" else "bootstrap"
    if "groups" in outputs.gain:
        rule = f"{rule} intervals over {outputs.gain['groups']} groups"
    else:
        rule = f"{rule} intervals"
    caption = (
        f"Scores on the same {outputs.metrics['n']} test samples ({rule}). By chance: a calibration error "
        f"that perfectly calibrated predictions stay below in "
        f"{percent(outputs.task.params.evaluate.confidence, 0)} of draws"
    )
    return make_table(method_rows(outputs), columns, caption)


def verdict_facts(outputs: "ClassificationOutputs") -> Facts:
    """Return the verdict with its figures, its test, and what it holds for."""
    gain, params = outputs.gain, outputs.task.params.evaluate
    level = f"{percent(params.confidence, 0)} interval"
    facts = {
        "Verdict": verdict_reason(outputs),
        "Gain": f"{points(gain['gain'])}, {level} {points_range(gain['gain_low'], gain['gain_high'])} "
        f"({interval_method(gain, params)})",
        "Test": f"{gain['fixed']} samples fixed, {gain['broken']} broken; {significance_line(gain)}",
    }
    if "groups" in gain:
        facts |= _group_facts(gain, params, outputs.metrics["n"])
    if gain["seeds"] > 1:
        facts[f"Over {gain['seeds']} seeds"] = (
            f"mean gain {points(gain['seed_gain_mean'])}, "
            f"{points_range(gain['seed_gain_min'], gain['seed_gain_max'])}, standard deviation "
            f"{100 * gain['seed_gain_sd']:.2f} points"
        )
    detectable = points(gain["smallest_detectable_gain"])
    if gain["smallest_detectable_gain"] >= 1:
        detectable = "none"
    facts |= {
        "Smallest detectable gain": f"{detectable} with {percent(gain['power'], 0)} power, if "
        f"{percent(params.assumed_regressions)} of samples are broken; the params call "
        f"{points(params.worthwhile_gain)} worthwhile",
        "Log loss": f"lower than the baseline's by {gain['log_loss_gain']:.3f} nats, {level} "
        f"{gain['log_loss_gain_low']:.3f} to {gain['log_loss_gain_high']:.3f} (like that of the gain)",
        "Scope": _scope(outputs),
    }
    return Facts(list(facts.items()))


def _group_facts(
    gain: Mapping[str, Any], params: "EvaluateClassifier", count: int
) -> dict[str, str]:
    """Return what the groups do to the gain, of which `count` samples tell."""
    groups = gain["groups"]
    if groups == 1:
        return {"Design effect": "unknown: one group does not show how much groups differ"}
    facts = {
        "Design effect": f"{gain['design_effect']:.2f}: about the gain, {count} samples of {groups} groups "
        f"say as much as {gain['effective_n']:.0f} independent ones",
    }
    if groups >= groups_needed(1 - params.confidence):
        facts["Gain by standard error"] = (
            f"{percent(params.confidence, 0)} interval "
            f"{points_range(gain['gain_t_low'], gain['gain_t_high'])} (cluster-robust standard error, "
            f"Student's t with {gain['degrees_of_freedom']:.1f} degrees of freedom)"
        )
    return facts


def _scope(outputs: "ClassificationOutputs") -> str:
    gain, count = outputs.gain, outputs.metrics["n"]
    if "groups" not in gain:
        return f"the intervals hold for samples like these {count}"
    return (
        f"the intervals hold for new groups, as far as they are like these {gain['groups']} (evidence "
        f"bench {outputs.task.name} measures other splits)"
    )


def _reliability_figure(outputs: "ClassificationOutputs") -> Figure:
    model, baseline = (calibration_line(outputs.metrics[name]) for name in ("current", "baseline"))
    errors = f"Expected calibration error {model}; baseline {baseline}."
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
            for cause, definition in cause_definitions(outputs.gain["seeds"]).items()
        ],
        {"cause": "likely cause", "cases": "cases", "rule": "rule"},
        f"Likely causes of the {summary['failure_case_count']} failure cases: the first rule that applies",
    )
    buckets = classes.bucket_table(summary["buckets"])
    return Section("failures", "Failures", [counts, failures, causes, buckets, *extra])
