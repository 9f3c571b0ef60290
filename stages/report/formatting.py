"""Figures as text: percentages, points, tables, and the lines that sum up a classifier's result."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.core.files import SMALLEST_FIGURE
from stages.evaluation.metric_names import METRICS
from stages.evaluation.verdict import (
    GROUP_PERMUTATION,
    MCNEMAR,
    PERMUTATION,
    SIGN_FLIP,
    groups_needed,
)
from stages.report.document import Table

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.schema import EvaluateClassifier
    from stages.report.stage_outputs import ClassificationOutputs

# The tests by their name in metrics.json, in prose.
TESTS = {
    MCNEMAR: "exact McNemar test",
    SIGN_FLIP: "exact sign-flip test over {groups} groups",
    PERMUTATION: "permutation test",
    GROUP_PERMUTATION: "permutation test over {groups} groups",
}


# The columns of tables that pages show as percentages, by their keys.
_SHARES = {
    *METRICS,
    *("baseline_accuracy", "validation_accuracy", "train_accuracy"),
    *("precision", "recall", "f1", "baseline_f1", "share", "real"),
    *("label_agreement", "copy_rate", "coverage_test", "coverage_validation"),
    *(f"{name}_{split}" for name in ("precision", "recall") for split in ("test", "validation")),
}


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage: 0.9772 as 97.7%."""
    return f"{100 * share:.{digits}f}%"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points: 0.051 as +5.1 points."""
    return f"{100 * difference:+.1f} points"


def points_range(low: float, high: float) -> str:
    """Return a range of differences in percentage points: +3.0 to +7.2 points."""
    return f"{100 * low:+.1f} to {points(high)}"


def p_value(value: float) -> str:
    """Return a p value with two significant digits; "at most 0.000001" for the smallest."""
    return f"{value:.2g}" if value > SMALLEST_FIGURE else f"at most {SMALLEST_FIGURE:f}"


def markdown_table(
    header: Sequence[object], rows: Iterable[Sequence[object]], numeric: Sequence[int] = ()
) -> str:
    """Return a table in GitHub-flavoured Markdown.

    Args:
        header: a heading for each column.
        rows: cells, which may hold Markdown; `rendering.escape_markdown` makes plain text literal.
            A vertical bar never ends a cell, escaped or not.
        numeric: indices of the columns to align right.
    """
    alignment = ["---:" if index in numeric else "---" for index in range(len(header))]
    lines = [[re.sub(r"(?<!\\)\|", r"\\|", str(cell)) for cell in row] for row in [header, *rows]]
    lines.insert(1, alignment)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def make_table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], caption: str
) -> Table:
    """Return a table of `rows` with a column for each of `columns`, {key: heading}."""
    cells = [[_cell(key, row[key]) for key in columns] for row in rows]
    numeric = [
        index
        for index, key in enumerate(columns)
        if rows and all(_is_number(row[key]) for row in rows)
    ]
    return Table(caption, list(columns.values()), cells, numeric)


def table_rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a table as dicts, by column name."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    return percent(value) if key in _SHARES else f"{value:.3f}"


def model_name(outputs: "ClassificationOutputs") -> str:
    """Return what to call the reported model."""
    return "the primary seed's model" if outputs.gain["seeds"] > 1 else "the model"


def verdict_line(outputs: "ClassificationOutputs") -> str:
    """Return the result in one line: verdict, gain and its interval."""
    return f"{outputs.gain['verdict'].capitalize()}: {gain_line(outputs)}"


def gain_line(outputs: "ClassificationOutputs") -> str:
    """Return the gain and its interval in one line."""
    gain = outputs.gain
    level = percent(outputs.task.params.evaluate.confidence, 0)
    return (
        f"{points(gain['gain'])} of {METRICS[gain['metric']]} over "
        f"{outputs.metrics['strongest_baseline']} ({level} interval "
        f"{points_range(gain['gain_low'], gain['gain_high'])}){_limit(outputs)}"
    )


def _limit(outputs: "ClassificationOutputs") -> str:
    """Return the number in params that a verdict refers to; "" for most verdicts."""
    gain, params = outputs.gain, outputs.task.params.evaluate
    if gain["verdict"] == "equivalent":
        return f", within {100 * params.equivalence_margin:.1f} points"
    if gain["verdict"] == "too few groups":
        return f"; {gain['groups']} groups, {groups_needed(1 - params.confidence)} needed"
    return ""


def verdict_reason(outputs: "ClassificationOutputs") -> str:
    """Return the verdict, and what it means where its name does not say so."""
    gain = outputs.gain
    text = f"{gain['verdict']}, by {METRICS[gain['metric']]}"
    meaning = verdict_meaning(gain, outputs.task.params.evaluate)
    return f"{text} ({meaning})" if meaning else text


def verdict_meaning(gain: Mapping[str, Any], params: "EvaluateClassifier") -> str:
    """Return what a verdict means where its name does not say so, "" otherwise.

    Args:
        gain: verdict, and groups where the samples come in groups.
        params: confidence, equivalence_margin.
    """
    alpha, margin = 1 - params.confidence, params.equivalence_margin
    if gain["verdict"] == "equivalent" and margin is not None:
        return (
            f"the interval lies within plus or minus {100 * margin:.1f} points: two one-sided tests, each "
            f"at level {alpha / 2:.2g}"
        )
    if gain["verdict"] == "too few groups":
        count = gain["groups"]
        return (
            f"{count} {'group' if count == 1 else 'groups'}: no test over groups can reach p "
            f"below {alpha:.2g}; at least {groups_needed(alpha)} are needed"
        )
    return ""


def summary_line(outputs: "ClassificationOutputs") -> str:
    """Return the scores behind the verdict, and on how many samples, groups and seeds they rest."""
    metrics, note, gain = outputs.metrics, outputs.dataset.note, outputs.gain
    groups = f" of {note['group_counts']['test']} held-out groups" if note["grouped"] else ""
    current, metric = metrics["current"], gain["metric"]
    accuracy = "" if metric == "accuracy" else f" (accuracy {percent(current['accuracy'])})"
    seeds = (
        f" This is the model of the primary seed ({metrics['primary_seed']}), fixed in the params before "
        f"training; over {gain['seeds']} seeds the gain is "
        f"{points_range(gain['seed_gain_min'], gain['seed_gain_max'])}."
    )
    return (
        f"Test {METRICS[metric]} {percent(current[metric])} ({percent(current[f'{metric}_low'])} to "
        f"{percent(current[f'{metric}_high'])}), baseline {percent(metrics['baseline'][metric])}"
        f"{accuracy}, on {metrics['n']} test samples{groups}.{_fold_sentence(metrics)}"
        f"{seeds if gain['seeds'] > 1 else ''}"
    )


def _fold_sentence(metrics: Mapping[str, Any]) -> str:
    """Return who predicts a test sample, where there are folds."""
    count = len(metrics.get("folds", ()))
    return f" {count} folds: no sample is predicted by a model that saw its group." if count else ""


def significance_line(gain: Mapping[str, Any]) -> str:
    """Return the test behind the verdict, and its p value."""
    return f"{TESTS[gain['test']].format(groups=gain.get('groups'))}: p {p_value(gain['p'])}"


def interval_method(gain: Mapping[str, Any], params: "EvaluateClassifier") -> str:
    """Return how the interval of the gain was computed."""
    if "groups" not in gain:
        return f"paired bootstrap, {params.resamples:,} resamples"
    if gain["groups"] == 1:
        return "one group has no interval"
    if gain["groups"] < groups_needed(1 - params.confidence):
        return (
            f"cluster-robust standard error, Student's t with {gain['degrees_of_freedom']:.1f} degrees of "
            f"freedom; a bootstrap of {gain['groups']} groups cannot hold the level"
        )
    return f"bootstrap over {gain['groups']} groups, {params.resamples:,} resamples"


def calibration_line(scores: Mapping[str, Any]) -> str:
    """Return the expected calibration error of a method, beside what chance alone gives."""
    error, chance = scores["calibration_error"], scores["calibration_error_chance"]
    comparison = "above" if error > chance else "not above"
    return f"{error:.3f} ({comparison} the {chance:.3f} that chance alone gives)"


def answer_questions(outputs: "ClassificationOutputs") -> dict[str, str]:
    """Return the answers to the five questions in `sections.QUESTIONS`, by key."""
    metrics, gain, cases = outputs.metrics, outputs.gain, outputs.cases
    successes = outputs.successes
    highest, lowest, first = successes.iloc[0], successes.iloc[-1], cases.iloc[0]
    better = "" if gain["verdict"] == "better" else "None yet. The strongest is "
    kinds = ", ".join(f"{count} {kind}" for kind, count in outputs.summary["kinds"].items())
    return {
        "baseline": f"{better}{metrics['strongest_baseline']}, with "
        f"{percent(metrics['baseline'][gain['metric']])} on the same test samples; on validation data it "
        "is the strongest of the simple methods",
        "metric": f"{verdict_line(outputs)}; {significance_line(gain)}, n {metrics['n']}",
        "sample_success": f"{len(successes)} are in data/prediction_samples.csv, "
        f"from the most confident ({highest['id']}, "
        f"{percent(highest['confidence'])}) to the least confident ({lowest['id']}, "
        f"{percent(lowest['confidence'])})",
        "sample_failure": f"{worst_slice_line(outputs)} {len(cases)} cases ({kinds}). The first is "
        f"{first['id']}: true class {first['true']}, predicted {first['predicted']} with confidence "
        f"{percent(first['confidence'])}; likely cause: {first['cause']}",
        "debug_next": outputs.next_step["why"],
    }


def worst_slice_line(outputs: "ClassificationOutputs") -> str:
    """Return where the model does worse than the baseline, in a sentence."""
    row = outputs.summary["worst_slice"]
    if row is None:
        return f"In none of {len(outputs.slices)} slices is it worse than the baseline."
    level = percent(outputs.task.params.evaluate.confidence, 0)
    sure = (
        "worse" if row["verdict"] == "worse" else "below the baseline, not distinguishable from it"
    )
    return (
        f"Worst in {slice_name(row)}: {percent(row['accuracy'])} where the baseline has "
        f"{percent(row['baseline_accuracy'])} (n {row['count']}; {points(row['gain'])}, {level} interval "
        f"{points_range(row['gain_low'], row['gain_high'])}, corrected for {len(outputs.slices)} slices: "
        f"{sure})."
    )


def slice_name(row: Mapping[str, Any]) -> str:
    """Return what to call a slice: its column and its value."""
    return f"{row['slice']} {row['value']}" if row["value"] else f"no {row['slice']}"


def method_rows(outputs: "ClassificationOutputs") -> list[dict[str, Any]]:
    """Return the test scores of each baseline and of the primary seed's model, a row for each."""
    metrics, metric = outputs.metrics, outputs.gain["metric"]
    scores_by_method = {
        f"{name} (baseline)": metrics["baselines"][name] for name in outputs.baseline["methods"]
    }
    seed = f", seed {metrics['primary_seed']} (primary)" if len(metrics["seeds"]) > 1 else ""
    scores_by_method[f"model{seed}"] = metrics["current"]
    return [
        {
            "method": method,
            "accuracy": scores["accuracy"],
            "balanced_accuracy": scores["balanced_accuracy"],
            "macro_f1": scores["macro_f1"],
            "interval": f"{scores[f'{metric}_low']:.3f} to {scores[f'{metric}_high']:.3f}",
            "log_loss": scores["log_loss"],
            "calibration_error": scores["calibration_error"],
            "calibration_error_chance": scores["calibration_error_chance"],
        }
        for method, scores in scores_by_method.items()
    ]


def metric_table(outputs: "ClassificationOutputs") -> "pd.DataFrame":
    """Return `method_rows` as a table."""
    import pandas as pd

    return pd.DataFrame(method_rows(outputs))
