"""The figures in git are those of the code in git."""

import json
from pathlib import Path

from conftest import ROOT, commit, copied, run

from stages.shared.verifying.band import FILE, Band

# What each task's model must gain over its baseline, mean over seeds.
LEAST = {"image": 0.04, "sentiment": 0.05, "workshop": 0.2}


def test_the_default_run_agrees_with_the_committed_figures(tmp_path: Path) -> None:
    """Bit for bit on the machine that made them; within the measured band on another.

    In a shallow clone: nothing hangs on history, nor on a cache.
    """
    (tmp_path / "project").mkdir()
    origin = copied(tmp_path / "project")
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", f"file://{origin}", "clone")
    where = tmp_path / "clone"
    committed = json.loads((ROOT / "metrics/metrics.json").read_text())
    run(where, "dvc", "repro")
    commit(where, "again")
    metrics = json.loads((where / "metrics/metrics.json").read_text())
    machines = [
        json.loads((place / "evidence/image/data/machine.json").read_text())
        for place in (ROOT, where)
    ]
    if machines[0] == machines[1]:
        assert run(where, "git", "diff", "--stat", "HEAD~1").stdout == ""
    # The lock names the tag's hash by its file's: the same measurements make the same tag anywhere.
    tag = run(where, "git", "rev-parse", "baseline").stdout.strip()
    assert tag == (where / "data/compare/revision.txt").read_text().strip()
    assert "image.accuracy " in run(where, "dvc", "metrics", "diff", "baseline").stdout
    assert metrics.keys() == committed.keys() == {*LEAST, "generative"}
    band = Band.read(ROOT / FILE, 0)
    figures = {}
    for task in metrics:
        before, figures[task] = (
            json.loads((place / f"evidence/{task}/data/metrics.json").read_text())
            for place in (ROOT, where)
        )
        assert list(band.outside(task, before, figures[task])) == []
        assert metrics[task]["improvement"]["verdict"] == "better"
    for task, least in LEAST.items():
        assert metrics[task]["improvement"]["seed_gain_mean"] >= least
    drawn = metrics["generative"]
    assert drawn["improvement"]["share_of_baseline"] <= 0.25
    assert drawn["label_agreement"] >= 0.97
    assert drawn["copied"] <= 0.05
    real = figures["generative"]["controls"]["real against real"]
    assert drawn["coverage_test"] >= 0.95 * real["coverage_test"]
    assert drawn["copied"] <= real["copied"]
    assert figures["generative"]["controls"]["photocopier"]["copied"] == 1
