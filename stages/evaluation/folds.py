"""What a task with folds reports: the results of its folds, pooled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from stages.core.files import Content
    from stages.evaluation.baselines import FittedBaselines


def pool_baselines(fits: "Sequence[FittedBaselines]") -> "dict[str, Content]":
    """Return the files of all folds together: the summary, and the extra tables with a column `fold`."""
    import pandas as pd

    tables: dict[str, list[pd.DataFrame]] = {}
    for fold, fitted in enumerate(fits):
        for name, content in fitted.extra_files.items():
            if isinstance(content, pd.DataFrame):
                tables.setdefault(name, []).append(with_fold(content, fold))
    summary = pool_summaries([fitted.summary for fitted in fits])
    return {"baseline.json": summary, **{name: pd.concat(parts) for name, parts in tables.items()}}


def pool_summaries(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the summary of the baselines of all folds.

    Scores and counts are means over the folds; "strongest" is the method that is the strongest one in
    most folds, the simpler one of equals. `folds` has the summary of each.

    Args:
        summaries: by fold, as `baselines.compare_baselines` makes them.
    """
    first = summaries[0]
    wins = Counter(summary["strongest"] for summary in summaries)
    return {
        **first,
        **{key: _mean([summary[key] for summary in summaries]) for key in _means(first)},
        "strongest": max(first["methods"], key=lambda name: wins[name]),
        "rule": f"{first['rule']}, in each fold on its own",
        "converged": all(summary["converged"] for summary in summaries),
        "folds": list(summaries),
    }


def strongest_name(baseline: Mapping[str, Any]) -> str:
    """Return the name of the baseline to beat: one method's, or "strongest baseline of each fold"."""
    strongest = {summary["strongest"] for summary in baseline.get("folds", [baseline])}
    return strongest.pop() if len(strongest) == 1 else "the strongest baseline of each fold"


def with_fold(table: "pd.DataFrame", fold: int | None) -> "pd.DataFrame":
    """Return a table with a first column `fold`; without folds, the table as it is."""
    if fold is None:
        return table
    table = table.copy()
    table.insert(0, "fold", fold)
    return table


def run_log(log: "pd.DataFrame", fold: int | None, seed: int) -> "pd.DataFrame":
    """Return the rows of the training log that are of one run."""
    of_seed = log[log["seed"] == seed]
    return of_seed if fold is None else of_seed[of_seed["fold"] == fold]


def fold_numbers(predictions: "pd.DataFrame") -> "np.ndarray":
    """Return the fold of each row of a table of predictions, (n,); 0 without folds."""
    import numpy as np

    if "fold" in predictions:
        return predictions["fold"].to_numpy()
    return np.zeros(len(predictions), dtype=np.int64)


def features_key(split: str, fold: int | None) -> str:
    """Return the name under which the features of a split are stored: "train", or "train of fold 2"."""
    return split if fold is None else f"{split} of fold {fold}"


def _means(summary: Mapping[str, Any]) -> list[str]:
    """Return the keys of a summary whose values are numbers, or numbers by name."""
    return [key for key in summary if key not in _NO_MEANS and _mean([summary[key]]) is not None]


_NO_MEANS = ("converged", "regularisation")


def _mean(values: Sequence[Any]) -> Any:
    """Return the mean of equally nested numbers, rounded where all are whole; None for other values."""
    first = values[0]
    if isinstance(first, Mapping):
        means = {key: _mean([value[key] for value in values]) for key in first}
        return None if None in means.values() or not means else means
    if isinstance(first, bool) or not isinstance(first, int | float):
        return None
    integers = all(isinstance(value, int) for value in values)
    return round(mean(values)) if integers else mean(values)
