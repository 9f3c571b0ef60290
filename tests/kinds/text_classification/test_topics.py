"""Tasks of 6 and of 100 topics run through all stages, and their pages suit so many classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.pages import page_table, page_text
from support.stages import run_stages
from support.text_networks import one_thread
from support.texts import text_task, write_topics

from stages.core.files import read_json
from stages.core.task import Task

pytestmark = pytest.mark.long

MAX_TOKENS = 24
CHANGES: dict[str, dict[str, Any]] = {
    "prepare": {"classes": None, "near_duplicate": 1.0, "min_per_class": 3},
    "check": {"first_loss_tolerance": 1.0, "overfit_loss": 6.0},
    "baseline": {"keywords": None},
    "train": {
        "model": "scratch",
        "scratch": {"layers": 1, "width": 8, "heads": 1},
        "epochs": 1,
        "seeds": [0],
        "max_tokens": MAX_TOKENS,
    },
    "failures": {"explain": 5},
}


def run_topics(folder: Path, classes: int, per_class: int) -> Task:
    write_topics(folder, classes, per_class)
    task = text_task(Path("topics.csv"), CHANGES, "topics")
    with one_thread():
        run_stages(folder, task)
    return task


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which a task of 6 topics has run. Not to be changed."""
    folder = tmp_path_factory.mktemp("six")
    run_topics(folder, 6, 20)
    return folder


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which a task of 100 topics has run. Not to be changed."""
    folder = tmp_path_factory.mktemp("hundred")
    run_topics(folder, 100, 6)
    return folder


def test_the_classes_are_those_of_the_file(six: Path, hundred: Path) -> None:
    for folder, count in ((six, 6), (hundred, 100)):
        note = read_json(folder / "data/prepare/topics/dataset.json")
        assert note["classes"] == [f"topic {number:03}" for number in range(count)]


def test_failures_are_in_buckets_of_two_classes_and_errors_are_counted_by_true_class(
    six: Path, hundred: Path
) -> None:
    for folder, count in ((six, 6), (hundred, 100)):
        data = folder / "evidence/topics/data"
        cases = pd.read_csv(data / "failure_cases.csv")
        wrong = cases[cases["kind"] == "wrong"]
        assert len(wrong)
        assert (wrong["bucket"] == wrong["true"] + " → " + wrong["predicted"]).all()
        buckets = pd.read_csv(data / "error_buckets.csv").set_index("bucket")
        assert {*buckets.index} == {f"topic {number:03}" for number in range(count)}
        assert buckets["model"].to_dict() == {
            name: int((wrong["true"] == name).sum()) for name in buckets.index
        }
        failure = read_json(data / "failure_summary.json")["known_failure"]
        assert buckets.loc[failure["bucket"], "model"] == failure["errors"]


def test_a_page_of_topics_says_nothing_of_negation_or_cue_words(six: Path) -> None:
    page = page_text(six / "evidence/topics").lower()
    for word in ("negation", "cue words", "fix attempt", "contrast pairs", "holiday", "positive"):
        assert word not in page
    assert "(buckets by the true class)" in page
    assert "evidence predict topics 'a text of your own'" in page


def test_six_classes_are_shown_whole(six: Path) -> None:
    assert (six / "evidence/topics/pictures/confusion.svg").exists()
    assert len(page_table(six, "topics", "Test scores by class")) == 6
    assert len(page_table(six, "topics", "Samples by class and split")) == 7


def test_of_a_hundred_classes_the_page_shows_the_worst_and_the_files_have_all(
    hundred: Path,
) -> None:
    folder = hundred / "evidence/topics"
    assert not (folder / "pictures/confusion.svg").exists()
    assert (folder / "index.html").stat().st_size < 500_000
    per_class = pd.read_csv(folder / "data/per_class.csv").set_index("class")
    shown = page_table(hundred, "topics", "Test scores by class, the 20 of 100 with the lowest F1")
    worst = sorted(per_class["f1"])[:20]
    assert [float(row[5][:-1]) for row in shown] == pytest.approx(
        [100 * f1 for f1 in worst], abs=0.05
    )
    assert len(page_table(hundred, "topics", "Samples by class and split")) == 21
    assert len(page_table(hundred, "topics", "Failure cases by bucket, the 20 largest of")) == 20

    matrix = pd.read_csv(folder / "data/confusion_matrix.csv", index_col=0).to_numpy()
    assert matrix.shape == (100, 100)
    pairs = page_table(hundred, "topics", "Confused pairs of classes on test data")
    off_diagonal = matrix[~np.eye(100, dtype=bool)]
    assert [int(row[2]) for row in pairs] == sorted(off_diagonal, reverse=True)[:20]
    for true, predicted, count, share in pairs:
        row, column = int(true[-3:]), int(predicted[-3:])
        assert matrix[row, column] == int(count)
        assert share == f"{100 * int(count) / matrix[row].sum():.1f}%"


def test_what_is_cut_off_is_counted_and_is_a_slice(six: Path) -> None:
    from stages.kinds.text_classification.tokens import load_tokenizer

    data = six / "evidence/topics/data"
    texts = pd.read_csv(six / "topics.csv")["text"]
    samples = pd.read_csv(six / "data/prepare/topics/samples.csv")
    cut_off = read_json(data / "metrics.json")["cut_off"]
    lengths = np.array([len(load_tokenizer(None).encode(text).ids) for text in texts])
    for split, figures in cut_off.items():
        rows = samples.loc[samples["split"] == split, "row"]
        longer = np.maximum(lengths[rows] - MAX_TOKENS, 0)
        assert figures["texts"] == (longer > 0).sum() > 0
        assert figures["share_of_texts"] == pytest.approx((longer > 0).mean(), abs=1e-6)
        assert figures["share_of_tokens"] == pytest.approx(
            longer.sum() / lengths[rows].sum(), abs=1e-6
        )
    slices = pd.read_csv(data / "slices.csv")
    counts = slices[slices["slice"] == "cut_off"].set_index("value")["count"]
    assert counts["cut off after 24 tokens"] == cut_off["test"]["texts"]
    assert counts.sum() == read_json(data / "metrics.json")["n"]
    page = page_text(six / "evidence/topics")
    assert f"Cut off after 24 tokens: {cut_off['train']['texts']} train texts" in page
