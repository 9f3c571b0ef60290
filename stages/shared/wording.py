"""How figures are said: percentages, points, tables, and the lines that sum a result up."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.shared.document import Table
from stages.shared.files import SMALLEST

if TYPE_CHECKING:
    from stages.shared.findings import Findings


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


def p_value(value: float) -> str:
    """Return a p value with one digit that counts."""
    return f"{value:.2g}" if value > SMALLEST else f"at most {SMALLEST:f}"


def verdict_line(found: "Findings") -> str:
    """Return the result in one line: verdict, gain, interval."""
    gain = found.gain
    level = percent(found.task.params.evaluate.confidence, 0)
    return (
        f"{gain['verdict'].capitalize()}: {points(gain['gain'])} of accuracy over "
        f"{found.metrics['strongest_baseline']} ({level} interval {points(gain['gain_low'])} to "
        f"{points(gain['gain_high'])})"
    )


def summary_line(found: "Findings") -> str:
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


def answers(found: "Findings") -> dict[str, str]:
    """Return the five questions that a finished project answers, answered from the figures."""
    counts, gain = found.metrics, found.gain
    right = found.successes
    first = found.cases.iloc[0]
    beaten = "" if gain["verdict"] == "better" else "none yet; held against "
    kinds = ", ".join(f"{number} {kind}" for kind, number in found.summary["kinds"].items())
    return {
        "baseline": f"{beaten}{counts['strongest_baseline']}: "
        f"{percent(counts['baseline']['accuracy'])} on the same test samples, the "
        "strongest simple method on validation data",
        "metric": f"{verdict_line(found)}; exact McNemar p {p_value(gain['mcnemar_p'])}, n {counts['n']}",
        "sample_success": f"{len(right)} shown, evenly from the surest ({right.iloc[0]['id']}, "
        f"confidence {percent(right.iloc[0]['confidence'])}) to the least sure "
        f"({right.iloc[-1]['id']}, {percent(right.iloc[-1]['confidence'])})",
        "sample_failure": f"{len(found.cases)} cases ({kinds}); the first, {first['id']}: "
        f"true {first['true']}, predicted {first['predicted']} with confidence "
        f"{percent(first['confidence'])} ({first['cause']})",
        "debug_next": found.next_step["why"],
    }


def method_rows(found: "Findings") -> list[dict[str, Any]]:
    """Return the scores of each baseline and of the headline model, a row a method."""
    metrics = found.metrics
    named = {f"{name} (baseline)": metrics["baselines"][name] for name in found.baseline["methods"]}
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


def metric_table(found: "Findings") -> pd.DataFrame:
    """Return the metric table: a row a method."""
    return pd.DataFrame(method_rows(found))


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
