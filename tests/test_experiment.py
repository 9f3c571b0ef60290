"""Change one thing: what is refused, how it is compared, and what is written down."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, commit, refused, run

from stages.experiment import (
    Change,
    Line,
    add,
    asked,
    lines,
    look_at,
    of_classifiers,
    of_generators,
    proposed,
)
from stages.params import load
from stages.shared.refusal import Refusal
from stages.shared.task import Task, tasks

pytestmark = pytest.mark.xdist_group("chain")


def task(name: str) -> Task:
    return tasks(load(ROOT / "params.yaml"))[name]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("train.epoch=3", "workshop.train.epoch: unknown key; the nearest known key is 'epochs'"),
        ("train.epochs=many", "workshop.train.epochs: given 'many'; must be a valid integer"),
        ("train.epochs=12", "workshop.train.epochs: is 12 already; give another value"),
        ("workshop.train.epochs=12", "is 12 already"),
        ("train.seeds=[1]", "before and after would not be comparable"),
        ("prepare.difficulty=0.1", "before and after would not be comparable"),
        ("evaluate.confidence=0.5", "before and after would not be comparable"),
        ("train.learning_rate=0.00001", "which YAML reads as text"),
        ("train.epochs=[", "must be a value as in YAML"),
        ("train.epochs.more=1", "no such key"),
    ],
)
def test_a_change_that_says_nothing_is_refused(
    change: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(Refusal) as told:
        look_at(asked(task("workshop"), [change]), task("workshop"))
    assert line in str(told.value)


@pytest.mark.parametrize(
    "changes", [[], ["train.epochs=3", "train.batch_size=8"], ["train.epochs"]]
)
def test_exactly_one_thing_is_changed(changes: list[str]) -> None:
    with pytest.raises(Refusal, match=r"change one thing|must be KEY=VALUE"):
        asked(task("workshop"), changes)


@pytest.mark.parametrize("name", ["image", "sentiment", "generative", "workshop"])
def test_the_packs_own_next_step_can_be_tried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    change, why = proposed(task(name))
    assert change.key.startswith(f"{name}.")
    assert why
    look_at(change, task(name))


def said(*seeds: list[int]) -> pd.DataFrame:
    table = pd.DataFrame({"id": [f"s{i}" for i in range(len(seeds[0]))], "label": 1})
    return table.assign(**{f"seed_{k}": seed for k, seed in enumerate(seeds)})


def test_the_verdict_is_the_paired_one() -> None:
    params = task("workshop").params.evaluate
    none, ones = [0] * 100, [1] * 100
    before, after, verdict = of_classifiers(said(none, none), said(ones, ones), params)
    assert (before, after) == ("accuracy 0.0000 (n 100)", "accuracy 1.0000 (n 100)")
    assert verdict == "better"
    assert of_classifiers(said(ones), said(none), params)[2] == "worse"
    assert of_classifiers(said(ones), said(ones), params)[2] != "better"
    # A seed that does not gain takes the verdict back, also where only the headline was unlucky.
    assert of_classifiers(said(none), said(ones, none), params)[2] == "not distinguishable"
    assert of_classifiers(said(none, ones), said(ones, ones), params)[2] == "not distinguishable"
    with pytest.raises(Refusal, match="validation samples of before and after differ"):
        of_classifiers(said(none), said(ones).assign(label=0), params)


@pytest.mark.parametrize(
    ("after", "verdict"), [(0.5, "better"), (0.95, "not distinguishable"), (1.5, "worse")]
)
def test_samples_are_compared_by_their_spread_over_seeds(after: float, verdict: str) -> None:
    def around(middle: float, *seeds: float) -> dict[str, float]:
        return {str(seed): middle + apart for seed, apart in enumerate(seeds)}

    before = around(1.0, -0.1, 0.0, 0.1)
    *shown, found = of_generators(before, around(after, 0.1, -0.1, 0.0), 0.95)
    assert found == verdict
    assert shown[0] == "Fréchet distance 1.000 (0.900 to 1.100 over 3 seeds)"
    assert of_generators(before, around(after, 0.0), 0.95)[2] == "not distinguishable"


def test_lines_are_added_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evidence/workshop").mkdir(parents=True)
    written = Line("2026-01-01", "a=1", "=1+1", "", "", 'failed: it, "broke"', "no")
    for _ in range(3):
        add(task("workshop"), written)
    table = lines(task("workshop"))
    assert len(table) == 3
    assert table["verdict"].tolist() == [written.verdict] * 3
    assert table["why"].tolist() == ["=1+1"] * 3
    on_disk = (tmp_path / "evidence/workshop/experiments.csv").read_text()
    assert on_disk.count(",'=1+1,") == 3  # no spreadsheet takes it for a formula
    (tmp_path / "evidence/workshop/experiments.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Refusal, match="must have the columns date, change, why"):
        lines(task("workshop"))


def test_a_better_change_is_kept_and_a_failed_one_leaves_all_as_it_was(prepared: Path) -> None:
    log = "evidence/workshop/experiments.csv"
    (prepared / log).unlink(missing_ok=True)  # the project's own experiments
    commit(prepared, "none so far")
    held = pd.read_csv(prepared / "evidence/workshop/data/validation_predictions.csv")
    right = float(np.mean(held["seed_0"] == held["label"]))
    why = "four epochs are too few"
    command = ("python", "-m", "stages.experiment", "workshop")
    told = run(prepared, *command, "train.epochs=16", "--why", why, "--keep").stdout
    assert "change: workshop.train.epochs=16" in told
    assert "verdict: better\nkept: yes" in told
    params = yaml.safe_load((prepared / "params.yaml").read_text())
    assert params["workshop"]["train"]["epochs"] == 16
    made = json.loads((prepared / "evidence/workshop/data/params.json").read_text())
    assert made["train"]["epochs"] == 16
    assert run(prepared, "dvc", "exp", "list", "--name-only").stdout.startswith("workshop-train-ep")
    commit(prepared, "kept")
    broken = ["train.learning_rate=1000.0", "--why", "to see it break"]
    told = run(prepared, *command, *broken).stdout
    assert "verdict: failed: check@workshop: one small batch can be overfitted" in told
    table = pd.read_csv(prepared / log, keep_default_na=False)
    assert table["change"].tolist() == [
        "workshop.train.epochs=16",
        "workshop.train.learning_rate=1000.0",
    ]
    assert table["why"].tolist()[0] == why
    assert table["before"].tolist()[0] == f"accuracy {right:.4f} (n {len(held)})"
    assert table["kept"].tolist() == ["yes", "no"]
    assert run(prepared, "git", "status", "--short").stdout.split() == ["M", log]


def test_evidence_of_other_params_is_no_before(chain: Path, tmp_path: Path) -> None:
    where = tmp_path / "project"
    shutil.copytree(chain, where, ignore=shutil.ignore_patterns("cache", "tmp"))
    made = where / "evidence/workshop/data/params.json"
    made.write_text(made.read_text().replace('"batch_size": 32', '"batch_size": 16'))
    line = refused(
        where, "python", "-m", "stages.experiment", "workshop", "train.epochs=9", "--why", "x"
    )
    assert "what stands is of other params; run dvc repro pack@workshop first" in line


def test_a_change_is_written_as_dvc_takes_it() -> None:
    assert str(Change("a.b", "[1,2]")) == "a.b=[1,2]"
