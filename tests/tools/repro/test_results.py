"""What `evidence repro` says of a stage and of the results, against the files that stages have written."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.project import TASKS, evidence

from stages.core.task import Task
from stages.kinds.params import load_params, load_tasks
from stages.kinds.results import Results
from stages.tools.gain import gain_text, metric_text
from stages.tools.repro.results import table_lines
from stages.tools.repro.summaries import Summaries

pytestmark = pytest.mark.xdist_group("chain")


@pytest.fixture
def tasks(chain: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Task]:
    monkeypatch.chdir(chain)
    return load_tasks(load_params())


def test_each_stage_says_what_it_came_to(tasks: dict[str, Task]) -> None:
    summaries = Summaries(tasks)
    checks = json.loads(Path("data/check/sentiment/checks.json").read_text())
    assert summaries("check@sentiment") == f"{len(checks)} of {len(checks)} passed"
    assert re.fullmatch(r"1,797 samples in 3 folds", summaries("prepare@image"))
    assert re.fullmatch(
        r"[\d,]+ samples \([\d,]+ train, \d+ validation, \d+ test\)", summaries("prepare@workshop")
    )
    baseline = json.loads(Path("data/baseline/image/baseline.json").read_text())
    expected = f"{baseline['strongest']} is the strongest of 3 methods on validation data"
    assert summaries("baseline@image") == expected
    assert summaries("pack@image") == "evidence/image/index.html"
    for stage in ("params", "compare", "check@nowhere", "no-stage@image"):
        assert summaries(stage) == ""


def test_training_is_summarised_over_its_runs(tasks: dict[str, Task]) -> None:
    log = pd.read_csv("data/train/image/log.csv")
    best = log.loc[log.groupby(["fold", "seed"])["validation_loss"].idxmin()]
    low, high = best["validation_loss"].min(), best["validation_loss"].max()
    epochs = sorted({int(epoch) + 1 for epoch in best["epoch"]})
    text = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    assert Summaries(tasks)("train@image") == (
        f"6 runs, best epoch {text} of 3, validation loss {low:.3f} to {high:.3f}"
    )
    last = pd.read_csv("data/train/generative/log.csv")["validation_loss"].iloc[-1]
    assert Summaries(tasks)("train@generative") == f"validation loss {last:.3f}"


@pytest.mark.parametrize("name", TASKS)
def test_the_verdict_and_the_failures_are_those_of_the_pack(
    name: str, tasks: dict[str, Task]
) -> None:
    results = Results.of_pack(tasks[name])
    current = results.current()
    line = Summaries(tasks)(f"evaluate@{name}")
    assert line == f"{current['verdict']}, {gain_text(results.metric, current)}"
    assert Summaries(tasks)(f"failures@{name}").startswith(f"{current['failures']:,} of ")


def test_files_that_are_damaged_are_no_error(
    tasks: dict[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("check/image", "train/image", "evaluate/image"):
        shutil.copytree(f"data/{folder}", tmp_path / f"data/{folder}")
    monkeypatch.chdir(tmp_path)
    assert Summaries(tasks)("check@image") != ""
    Path("data/check/image/checks.json").write_text("[1]")
    Path("data/train/image/log.csv").write_text("epoch\n0\n")
    Path("data/evaluate/image/metrics.json").write_text("{")
    for stage in ("prepare", "check", "train", "evaluate"):
        assert Summaries(tasks)(f"{stage}@image") == ""


def test_gains_have_units_and_intervals() -> None:
    gain = {"gain": 0.0491, "gain_low": 0.028, "gain_high": 0.07}
    assert gain_text("accuracy", gain) == "+4.9 points (+2.8 to +7.0)"
    assert gain_text("frechet_test", gain) == "+0.05 (+0.03 to +0.07)"
    assert (metric_text("macro_f1", 0.9661), metric_text("frechet_test", 0.5)) == ("96.6%", "0.500")


def test_the_table_has_a_row_for_each_task(tasks: dict[str, Task]) -> None:
    header, *rows = table_lines([Results.of_pack(task) for task in tasks.values()])
    assert [row.split()[0] for row in rows] == list(tasks)
    metric = header.index("metric")
    for row in rows:
        name = row.split()[0]
        title = "Fréchet distance" if name == "generative" else "accuracy"
        assert row[metric:].startswith(f"{title} ")
        assert row.endswith(f"  evidence/{name}/index.html")
    assert table_lines([]) == []


def test_a_run_ends_in_the_table_and_says_whether_results_are_the_committed_ones(
    chain: Path,
) -> None:
    lines = evidence(chain, "repro").rstrip("\n").split("\n")
    assert lines[0].endswith(" stages are up to date")
    start = next(number for number, line in enumerate(lines) if line.startswith("task "))
    assert [line.split()[0] for line in lines[start + 1 : start + 1 + len(TASKS)]] == list(TASKS)
    assert re.fullmatch(r"all \d+ results reproduced bit for bit", lines[-2])
