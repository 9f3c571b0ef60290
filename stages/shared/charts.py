"""Charts as SVG, from Vega-Lite specifications; the same bytes for the same data, no browser."""

from typing import Any

import pandas as pd
import vl_convert

_GREEN, _GREY, _ORANGE = "#0b7a63", "#8a8f98", "#c4601d"
_FEW = 4  # classes whose names need wider cells than their counts
_CONFIG = {
    "font": "sans-serif",
    "background": "white",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "gridColor": "#ececec"},
    "legend": {"labelFontSize": 12, "title": None, "orient": "top"},
}


def _svg(spec: dict[str, Any]) -> bytes:
    svg: str = vl_convert.vegalite_to_svg({**spec, "config": _CONFIG})
    return svg.encode()


def _field(name: str, kind: str, title: str, **more: Any) -> dict[str, Any]:
    return {"field": name, "type": kind, "title": title, **more}


def _ticks(epochs: pd.Series) -> list[int]:
    """Return at most about ten whole numbers from the first epoch to the last."""
    first, last = int(epochs.min()), int(epochs.max())
    return list(range(first, last + 1, max(1, (last - first + 9) // 10)))


def loss_curves(
    log: pd.DataFrame, headline: int, baseline: float | None, unit: str = "nats"
) -> bytes:
    """Return training and validation loss by epoch for every seed, the headline's drawn strong.

    Args:
        log: seed, epoch, train_loss, validation_loss.
        headline: the seed drawn strong.
        baseline: the baseline's validation loss, a dashed line; None where it has none.
        unit: of the loss.
    """
    long = log.melt(["seed", "epoch"], ["train_loss", "validation_loss"], "which", "loss")
    long["which"] = long["which"].str.removesuffix("_loss")
    return _svg(
        {
            "width": 520,
            "height": 260,
            "layer": [
                {
                    "data": {"values": long.to_dict("records")},
                    "mark": {"type": "line", "interpolate": "linear"},
                    "encoding": {
                        "x": _field(
                            "epoch",
                            "quantitative",
                            "epoch",
                            axis={"format": "d", "values": _ticks(log["epoch"])},
                        ),
                        "y": _field("loss", "quantitative", f"loss ({unit})", scale={"zero": True}),
                        "color": _field(
                            "which",
                            "nominal",
                            "",
                            scale={"domain": ["train", "validation"], "range": [_GREY, _GREEN]},
                        ),
                        "detail": {"field": "seed", "type": "nominal"},
                        "opacity": {
                            "condition": {"test": f"datum.seed == {headline}", "value": 1},
                            "value": 0.35,
                        },
                    },
                },
                {
                    "data": {"values": [] if baseline is None else [{"loss": baseline}]},
                    "mark": {"type": "rule", "strokeDash": [5, 4], "color": _ORANGE},
                    "encoding": {"y": {"field": "loss", "type": "quantitative"}},
                },
            ],
        }
    )


def shares(curves: pd.DataFrame, chosen: int) -> bytes:
    """Return shares by step, a line for each name, and a dashed line at the step that was chosen.

    Args:
        curves: step, which, share.
        chosen: a step.
    """
    names = list(curves["which"].drop_duplicates())
    x = _field(
        "step", "quantitative", "step", axis={"format": "d", "values": sorted(set(curves["step"]))}
    )
    colours = {"domain": names, "range": [_GREEN, _GREY, _ORANGE][: len(names)]}
    encoding = {
        "x": x,
        "y": _field("share", "quantitative", "share", scale={"zero": True}),
        "color": _field("which", "nominal", "", scale=colours),
    }
    return _svg(
        {
            "width": 520,
            "height": 260,
            "layer": [
                {
                    "data": {"values": curves.to_dict("records")},
                    "mark": {"type": "line", "point": True},
                    "encoding": encoding,
                },
                {
                    "data": {"values": [{"step": chosen}]},
                    "mark": {"type": "rule", "strokeDash": [5, 4], "color": _GREY},
                    "encoding": {"x": {"field": "step", "type": "quantitative"}},
                },
            ],
        }
    )


def confusion(matrix: pd.DataFrame) -> bytes:
    """Return the confusion matrix with counts in its cells.

    Args:
        matrix: the first column names the true class, each further one a predicted class.
    """
    first = matrix.columns[0]
    long = matrix.melt(first, var_name="predicted", value_name="count")
    long = long.rename(columns={first: "true"})
    total = long.groupby("true")["count"].transform("sum").clip(lower=1)
    long["share"] = long["count"] / total
    order = list(matrix[first])
    side = min(44 if len(order) > _FEW else 88, max(14, 520 // len(order)))
    axes = {
        "x": _field("predicted", "nominal", "predicted", sort=order, axis={"labelAngle": 0}),
        "y": _field("true", "nominal", "true", sort=order),
    }
    layers: list[dict[str, Any]] = [
        {
            "mark": "rect",
            "encoding": {
                **axes,
                "color": _field(
                    "share",
                    "quantitative",
                    "",
                    scale={"range": ["#ffffff", _GREEN], "domain": [0, 1]},
                    legend=None,
                ),
            },
        }
    ]
    if side >= 24:  # noqa: PLR2004 (room for a number)
        layers.append(
            {
                "transform": [{"filter": "datum.count > 0"}],
                "mark": {"type": "text", "fontSize": 12},
                "encoding": {
                    **axes,
                    "text": {"field": "count", "type": "quantitative"},
                    "color": {
                        "condition": {"test": "datum.share > 0.5", "value": "white"},
                        "value": "black",
                    },
                },
            }
        )
    return _svg(
        {
            "data": {"values": long.to_dict("records")},
            "width": {"step": side},
            "height": {"step": side},
            "layer": layers,
        }
    )


def reliability(curves: dict[str, pd.DataFrame]) -> bytes:
    """Return accuracy over confidence for each named reliability curve, and the ideal line."""
    rows = [
        {**row, "which": name} for name, curve in curves.items() for row in curve.to_dict("records")
    ]
    x = _field("confidence", "quantitative", "mean confidence", scale={"domain": [0, 1]})
    y = _field("accuracy", "quantitative", "accuracy", scale={"domain": [0, 1]})
    colour = _field(
        "which",
        "nominal",
        "",
        scale={"domain": list(curves), "range": [_GREEN, _ORANGE][: len(curves)]},
    )
    return _svg(
        {
            "width": 320,
            "height": 320,
            "layer": [
                {
                    "data": {
                        "values": [
                            {"confidence": 0, "accuracy": 0},
                            {"confidence": 1, "accuracy": 1},
                        ]
                    },
                    "mark": {"type": "line", "strokeDash": [4, 4], "color": _GREY},
                    "encoding": {"x": x, "y": y},
                },
                {
                    "data": {"values": rows},
                    "mark": {"type": "line", "strokeWidth": 1.5},
                    "encoding": {"x": x, "y": y, "color": colour},
                },
                {
                    "data": {"values": rows},
                    "mark": {"type": "circle", "opacity": 1},
                    "encoding": {
                        "x": x,
                        "y": y,
                        "color": colour,
                        "size": _field(
                            "count", "quantitative", "", scale={"range": [15, 250]}, legend=None
                        ),
                    },
                },
            ],
        }
    )
