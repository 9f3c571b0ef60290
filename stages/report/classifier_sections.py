"""The sections of a classifier's evidence, in a reader's order: what fails, why, how sure, what next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.evaluation.failure_causes import cause_definitions
from stages.evaluation.folds import strongest_name
from stages.evaluation.metric_names import METRICS
from stages.report import classes, sections
from stages.report.classifier_charts import difference_figure, method_figure, reliability_figure
from stages.report.document import (
    Block,
    Cases,
    Columns,
    Document,
    Facts,
    Headline,
    Quotes,
    Section,
    Strip,
    Table,
    Text,
)
from stages.report.formatting import (
    answer_questions,
    gain_line,
    make_table,
    method_rows,
    percent,
    summary_line,
    worst_slice_line,
)
from stages.report.training_section import train_section
from stages.report.verdict_facts import verdict_facts

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs


@dataclass(frozen=True)
class SampleBlocks:
    """The samples that the pack shows.

    Attributes:
        failures: the first failure cases, for the first screen.
        successes: correct predictions, for the first screen.
        cases: all failure cases.
    """

    failures: Strip | Quotes
    successes: Strip | Quotes
    cases: Cases


def classification_document(
    outputs: "ClassificationOutputs",
    title: str,
    samples: SampleBlocks,
    extra: Mapping[str, Sequence[Block]],
    demo: Sequence[Block],
) -> Document:
    """Return a classifier's evidence.

    Args:
        outputs: of the stages before the pack.
        title: of the document.
        samples: the successes and the failure cases.
        extra: what the kind adds to the sections "fails", "why", "sure", "classes", "check", "baseline"
            and "train", by name; "limits" is required.
        demo: how to try the model.
    """
    return Document(
        title,
        Headline(gain_line(outputs), outputs.gain["verdict"]),
        summary_line(outputs),
        [
            failures_section(outputs, samples.cases, *extra.get("fails", ())),
            causes_section(outputs, *extra.get("why", ())),
            certainty_section(outputs, *extra.get("sure", ())),
            sections.next_step_section(outputs),
            sections.review_section(outputs, {}),
            Section("limits", "Risks and limits", extra["limits"]),
            Section("demo", "Try it", demo),
            sections.overview_section(outputs, answer_questions(outputs)),
            Section(
                "classes",
                "Scores by class and slice",
                [
                    *_fold_table(outputs),
                    classes.slice_table(outputs),
                    classes.class_table(outputs),
                    classes.bucket_table(outputs.summary["buckets"]),
                    *extra.get("classes", ()),
                ],
                closed=True,
            ),
            sections.prepare_section(outputs),
            sections.check_section(outputs, *extra.get("check", ())),
            baseline_section(outputs, *extra.get("baseline", ())),
            train_section(outputs, *extra.get("train", ())),
        ],
        [
            Columns(
                [
                    method_figure(outputs),
                    *sections.first_facts(outputs, worst_slice_line(outputs)),
                ],
                [difference_figure(outputs)],
            ),
            samples.failures,
            samples.successes,
        ],
    )


def failures_section(outputs: "ClassificationOutputs", cases: Cases, *extra: Block) -> Section:
    """Return the failure cases, and their counts beside the baseline."""
    changes = outputs.summary["changes"]
    counts = Facts(
        [
            ("Fixed", f"{changes['fixed']} samples that only the baseline gets wrong"),
            ("Broken", f"{changes['broken']} samples that only the model gets wrong"),
            ("Persistent", f"{changes['persistent']} samples that both get wrong"),
        ]
    )
    return Section("fails", "What fails", [counts, *extra, cases])


def causes_section(outputs: "ClassificationOutputs", *extra: Block) -> Section:
    """Return the likely causes and the confused classes."""
    summary = outputs.summary
    causes = make_table(
        [
            {"cause": cause, "cases": summary["causes"][cause], "rule": definition}
            for cause, definition in cause_definitions(outputs.gain["seeds"]).items()
            if cause in summary["causes"]
        ],
        {"cause": "likely cause", "cases": "cases", "rule": "rule"},
        f"Likely causes of the {summary['failure_case_count']} failure cases: the first rule that applies",
    )
    return Section(
        "why",
        "Why it fails",
        [
            causes,
            *classes.confusion_blocks(outputs),
            *extra,
        ],
    )


def certainty_section(outputs: "ClassificationOutputs", *extra: Block) -> Section:
    """Return the verdict with its test, all methods' scores, and calibration."""
    return Section(
        "sure",
        "How sure is the result",
        [
            verdict_facts(outputs),
            _method_table(outputs),
            reliability_figure(outputs),
            *extra,
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
    return Section("baseline", "Baselines", [table, text, *extra], closed=True)


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


def _method_table(outputs: "ClassificationOutputs") -> Table:
    metrics, metric = outputs.metrics, outputs.gain["metric"]
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
    scores = (metrics["baselines"][name] for name in outputs.baseline["methods"])
    rows = [
        {
            **row,
            "interval": f"{percent(method[f'{metric}_low'])} to {percent(method[f'{metric}_high'])}",
        }
        for row, method in zip(method_rows(outputs), [*scores, metrics["current"]], strict=True)
    ]
    return make_table(rows, columns, caption)
