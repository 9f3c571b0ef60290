"""Charts as SVG, from the Vega-Lite specifications in `specifications/`.

The same data give the same bytes; no browser is needed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert

from stages.core.task import run_name

_SPECIFICATIONS = Path(__file__).parent / "specifications"
_WIDTH = 520  # of a confusion matrix with many classes, in pixels
_CELL, _WIDE_CELL, _SMALLEST_CELL = 44, 88, 14
_FEW_CLASSES = 4  # up to here cells are wide: class names are often longer than counts
_CELL_WITH_TEXT = 24  # the smallest cell with room for a count


def loss_curves(
    log: pd.DataFrame, primary: str, baseline: float | None, unit: str = "nats"
) -> bytes:
    """Return training and validation loss by epoch for every run, the primary one drawn strong.

    Args:
        log: perhaps fold, seed, epoch, train_loss, validation_loss.
        primary: the name of one of its runs.
        baseline: the baseline's validation loss, drawn as a dashed line; None for no line.
        unit: of the loss.
    """
    folds = log["fold"] if "fold" in log else [None] * len(log)
    runs = [run_name(seed, fold) for seed, fold in zip(log["seed"], folds, strict=True)]
    curves = log.assign(run=runs)
    curves = curves.melt(["run", "epoch"], ["train_loss", "validation_loss"], "curve", "loss")
    curves["curve"] = curves["curve"].str.removesuffix("_loss")
    curves["primary"] = curves["run"] == primary
    specification = _read("loss.json")
    encoding = specification["layer"][0]["encoding"]
    encoding["x"]["axis"]["values"] = _ticks(log["epoch"])
    encoding["y"]["title"] = f"loss ({unit})"
    lines = pd.DataFrame({"loss": [] if baseline is None else [baseline]})
    return _svg(specification, {"curves": curves, "baseline": lines})


def shares(curves: pd.DataFrame, selected_step: int) -> bytes:
    """Return shares by step, a line for each curve, and a dashed line at the selected step.

    Args:
        curves: step, curve (its name; at most three), share.
        selected_step: one of the steps.
    """
    specification = _read("shares.json")
    encoding = specification["layer"][0]["encoding"]
    encoding["x"]["axis"]["values"] = sorted(set(curves["step"]))
    encoding["color"]["scale"]["domain"] = list(curves["curve"].drop_duplicates())
    selected = pd.DataFrame({"step": [selected_step]})
    return _svg(specification, {"curves": curves, "selected": selected})


def confusion(matrix: pd.DataFrame) -> bytes:
    """Return the confusion matrix, with counts where a cell has room for them.

    Args:
        matrix: the true class in the first column, and a column of counts for each predicted class.
    """
    true = matrix.columns[0]
    cells = matrix.melt(true, var_name="predicted", value_name="count")
    cells = cells.rename(columns={true: "true"})
    cells["share"] = cells["count"] / cells.groupby("true")["count"].transform("sum").clip(lower=1)
    names = list(matrix[true])
    largest = _WIDE_CELL if len(names) <= _FEW_CLASSES else _CELL
    side = min(largest, max(_SMALLEST_CELL, _WIDTH // len(names)))
    specification = _read("confusion.json")
    specification["width"]["step"] = specification["height"]["step"] = side
    for axis in ("x", "y"):
        specification["encoding"][axis]["sort"] = names
    if side < _CELL_WITH_TEXT:
        del specification["layer"][1]
    return _svg(specification, {"cells": cells})


def reliability(curves: Mapping[str, pd.DataFrame]) -> bytes:
    """Return accuracy by confidence for each named reliability curve (at most two), and the diagonal."""
    specification = _read("reliability.json")
    specification["encoding"]["color"]["scale"]["domain"] = list(curves)
    bins = pd.concat([curve.assign(curve=name) for name, curve in curves.items()])
    return _svg(specification, {"bins": bins})


def gains(scores: pd.DataFrame, changes: pd.DataFrame, metric: str) -> bytes:
    """Return the scores of two methods and the gain of the second, with their intervals.

    Args:
        scores: name (of the row), method (one of two), score, low, high, as shares.
        changes: name (of the row), gain, low, high, in points; margin, within plus or minus which the
            methods are equivalent, 0 for none.
        metric: what the scores are, in prose.
    """
    specification = _read("gains.json")
    for panel, table in zip(specification["vconcat"], (scores, changes), strict=True):
        panel["encoding"]["y"]["sort"] = list(table["name"])
    panel = specification["vconcat"][0]
    panel["encoding"]["color"]["scale"]["domain"] = list(scores["method"].drop_duplicates())
    panel["layer"][0]["encoding"]["x"]["title"] = metric
    bands = changes.assign(negative_margin=-changes["margin"])
    return _svg(specification, {"scores": scores, "gains": bands})


def _ticks(epochs: pd.Series) -> list[int]:
    """Return about ten whole numbers, at most, from the first epoch to the last."""
    first, last = int(epochs.min()), int(epochs.max())
    return list(range(first, last + 1, max(1, (last - first + 9) // 10)))


def _read(name: str) -> dict[str, Any]:
    specification: dict[str, Any] = json.loads((_SPECIFICATIONS / name).read_text(encoding="utf-8"))
    return specification


def _svg(specification: Mapping[str, Any], datasets: Mapping[str, pd.DataFrame]) -> bytes:
    """Return the chart of a specification, whose `data` name tables of `datasets`."""
    rows = {name: table.to_dict("records") for name, table in datasets.items()}
    complete = {**specification, "config": _read("config.json"), "datasets": rows}
    svg: str = vl_convert.vegalite_to_svg(complete)
    return svg.encode()
