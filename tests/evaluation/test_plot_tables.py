"""The tables that `dvc plots` draws: a name of a class is text, whatever it says."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc_render import VegaRenderer
from dvc_render.html import render_html

from stages.evaluation.classification_metrics import Predictions
from stages.evaluation.comparison import plot_tables

NAMES = ["</script><script>alert(1)</script>", "<!--<script>", "</SCRIPT >", "a<b, a</b"]


class Scripts(HTMLParser):
    """The scripts of a page, and its text outside them."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: list[str] = []
        self.text = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self._inside = tag == "script"
        if self._inside:
            self.contents.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.contents[-1] += data
        else:
            self.text += data


def confusion(names: list[str]) -> pd.DataFrame:
    labels = np.arange(len(names))
    probabilities = np.eye(len(names))
    predictions = Predictions(labels, probabilities.max(axis=1), np.zeros(len(names)))
    return plot_tables(predictions, labels, names, 5, pd.DataFrame())["confusion"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_within_the_script_of_the_plot_page(tmp_path: Path, name: str) -> None:
    rows = confusion([name, "other"]).to_dict("records")
    renderer = VegaRenderer(
        rows, "confusion", template="confusion", x="actual", y="predicted", revs=["workspace"]
    )
    page = Scripts()
    page.feed(Path(render_html([renderer], tmp_path / "index.html")).read_text(encoding="utf-8"))
    (plot,) = [content for content in page.contents if "vegaEmbed" in content]
    assert "other" in plot
    assert "<!--" not in plot
    assert "<script" not in plot.lower()
    assert "other" not in page.text


@pytest.mark.parametrize("name", NAMES)
def test_a_name_reads_as_before(name: str) -> None:
    shown = confusion([name, "other"])["actual"][0]
    assert shown.replace("\N{ZERO WIDTH SPACE}", "") == name


def test_other_names_are_not_changed() -> None:
    names = ["a<b", "<i>", "x </b>", "café"]
    assert list(confusion(names)["actual"]) == names
