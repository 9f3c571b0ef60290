"""The charts: the same bytes for the same data, labels as text, and counts only where they fit."""

import html
import re

import numpy as np
import pandas as pd
import pytest

from stages.report import charts


def texts(svg: bytes) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())]


def confusion_matrix(classes: list[str]) -> pd.DataFrame:
    matrix = pd.DataFrame(np.eye(len(classes), dtype=int) * 7, columns=pd.Index(classes))
    matrix.insert(0, "true / predicted", classes)
    return matrix


def test_class_names_are_text_in_the_confusion_matrix_in_their_order() -> None:
    classes = ["<b>b & c</b>", "a", '"quoted"']
    svg = charts.confusion(confusion_matrix(classes))
    assert svg == charts.confusion(confusion_matrix(classes))
    labels = texts(svg)
    assert [label for label in labels if label in classes] == classes * 2
    assert labels.count("7") == 3


@pytest.mark.parametrize(("count", "has_counts"), [(12, True), (13, False)])
def test_cells_have_counts_where_there_is_room(count: int, *, has_counts: bool) -> None:
    classes = [f"class {index:02}" for index in range(count)]
    assert ("7" in texts(charts.confusion(confusion_matrix(classes)))) == has_counts


def test_the_primary_run_is_drawn_strong() -> None:
    log = pd.DataFrame(
        {
            "seed": [3, 3, 5, 5],
            "epoch": [0, 1, 0, 1],
            "train_loss": [2.0, 1.0, 2.0, 1.0],
            "validation_loss": [2.0, 1.5, 2.0, 1.5],
        }
    )
    svg = charts.loss_curves(log, "seed 5", 1.25).decode()
    opacity = dict(re.findall(r'curve: train; run: seed (\d)".*?opacity="([\d.]+)"', svg))
    assert opacity == {"3": "0.35", "5": "1"}
    assert "loss: 1.25" in svg
    assert "loss: 1.25" not in charts.loss_curves(log, "seed 5", None).decode()


def test_shares_and_reliability_have_a_legend_of_their_curves() -> None:
    curves = pd.DataFrame({"step": [1, 2] * 2, "curve": ["a"] * 2 + ["b"] * 2, "share": 0.5})
    assert {"a", "b"} <= set(texts(charts.shares(curves, 2)))
    curve = pd.DataFrame({"confidence": [0.5], "accuracy": [0.4], "count": [3]})
    assert {"model", "base"} <= set(texts(charts.reliability({"model": curve, "base": curve})))


def test_gains_have_a_row_for_each_comparison_in_their_order() -> None:
    scores = pd.DataFrame(
        {
            "name": ["b: old", "b: <new>", "a: old", "a: <new>"],
            "method": ["old", "<new>"] * 2,
            "score": [0.5, 0.75, 0.5, 0.5],
            "low": 0.25,
            "high": 0.875,
        }
    )
    changes = pd.DataFrame(
        {
            "name": ["b: better", "a: equivalent"],
            "gain": [25.0, 0.0],
            "low": -2.0,
            "high": [30.0, 2.0],
            "margin": [0.0, 3.0],
        }
    )
    svg = charts.gains(scores, changes, "macro F1")
    assert svg == charts.gains(scores, changes, "macro F1")
    rows = [*scores["name"], *changes["name"]]
    assert [text for text in texts(svg) if text in rows] == rows
    assert {"old", "<new>", "macro F1", "gain in points"} <= set(texts(svg))
    assert svg.decode().count("negative_margin: ") == 1
