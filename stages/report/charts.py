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
# Charts are about as wide as a phone, so that their letters keep their size there; cells in pixels.
_WIDTH, _CELL, _SMALLEST_CELL = 270, 60, 14
_CELL_WITH_TEXT = 22  # the smallest cell with room for a count
_LETTER = 7.5  # pixels, the width of a letter, about
# The colours of charts on a light page, and in their place on a dark one.
_DARK = {
    "#1c1e21": "#e8e6e1",
    "#e4e2dc": "#33373c",
    "#8a8f98": "#9aa1ab",
    "#0b7a63": "#5cc4a6",
    "#c4601d": "#f0a066",
    "#b3261e": "#ff8f84",
    "#5a6f9c": "#9db4e8",
}


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
    for channel in ("color", "strokeDash"):
        encoding[channel]["scale"]["domain"] = list(curves["curve"].drop_duplicates())
    selected = pd.DataFrame({"step": [selected_step]})
    return _svg(specification, {"curves": curves, "selected": selected})


def confusion(matrix: pd.DataFrame) -> bytes:
    """Return the confusion matrix, with counts where a cell has room for them; only mistakes are coloured.

    Args:
        matrix: the true class in the first column, and a column of counts for each predicted class.
    """
    true = matrix.columns[0]
    cells = matrix.melt(true, var_name="predicted", value_name="count")
    cells = cells.rename(columns={true: "true"})
    cells["share"] = cells["count"] / cells.groupby("true")["count"].transform("sum").clip(lower=1)
    names = list(matrix[true])
    side = min(_CELL, max(_SMALLEST_CELL, _WIDTH // len(names)))
    specification = _read("confusion.json")
    specification["width"]["step"] = specification["height"]["step"] = side
    for axis in ("x", "y"):
        specification["encoding"][axis]["sort"] = names
    if _LETTER * max(map(len, map(str, names))) > side:
        specification["encoding"]["x"]["axis"]["labelAngle"] = -90
    if side < _CELL_WITH_TEXT:
        specification["layer"].pop()
    return _svg(specification, {"cells": cells})


def reliability(curves: Mapping[str, pd.DataFrame]) -> bytes:
    """Return accuracy by confidence for each named reliability curve (at most two), and the diagonal."""
    specification = _read("reliability.json")
    specification["encoding"]["color"]["scale"]["domain"] = list(curves)
    dashes = specification["layer"][1]["encoding"]["strokeDash"]
    dashes["scale"]["domain"] = list(curves)
    bins = pd.concat([curve.assign(curve=name) for name, curve in curves.items()])
    return _svg(specification, {"bins": bins})


def methods(scores: pd.DataFrame, metric: str, number: str) -> bytes:
    """Return the score of each method with its interval, a row each.

    Args:
        scores: name, role (model, baseline, control), score, low, high (perhaps missing).
        metric: what the scores are, in prose.
        number: format of the scores, as d3 has it: ".0%" or "".
    """
    specification = _read("methods.json")
    specification["encoding"]["y"]["sort"] = list(scores["name"])
    axis = specification["layer"][0]["encoding"]["x"]
    axis["title"], axis["axis"]["format"] = metric, number
    return _svg(specification, {"methods": scores})


def differences(rows: pd.DataFrame, title: str) -> bytes:
    """Return differences with their intervals around a line at 0, a row each.

    Args:
        rows: name, gain, low, high (perhaps missing), verdict (better, worse, not distinguishable).
        title: what the differences are, with their unit.
    """
    specification = _read("differences.json")
    specification["encoding"]["y"]["sort"] = list(rows["name"])
    specification["layer"][1]["encoding"]["x"]["title"] = title
    return _svg(specification, {"differences": rows})


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
    return svg.replace(">", f"><style>{_dark_style()}</style>", 1).encode()


def _dark_style() -> str:
    """Return the rules that give a chart its dark colours where the reader's screen is dark."""
    rules = [
        f'[{attribute}="{light}"]{{{attribute}:{dark}}}'
        for light, dark in _DARK.items()
        for attribute in ("fill", "stroke")
    ]
    return f"@media(prefers-color-scheme:dark){{{''.join(rules)}}}"
