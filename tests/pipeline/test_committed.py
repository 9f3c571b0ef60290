"""The figures in git are those of the code in git."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, TASKS, copy_project, run

from stages.core.machine import machine_record, read_machines
from stages.kinds.params import load_params
from stages.tools.tolerance import FILE, Tolerance

# The gain over the baseline that each classifier must reach, mean over seeds.
LEAST_GAIN = {"image": 0.04, "sentiment": 0.05, "workshop": 0.2}


@pytest.mark.long
def test_the_default_run_agrees_with_the_committed_figures(tmp_path: Path) -> None:
    """Bit for bit on the machine that made them; within the measured tolerance on another.

    In a shallow clone: no result depends on history or on a cache.
    """
    (tmp_path / "project").mkdir()
    origin = copy_project(tmp_path / "project")
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", f"file://{origin}", "clone")
    clone = tmp_path / "clone"
    run(clone, "dvc", "repro")
    machine = machine_record(load_params(ROOT / "params.yaml").runtime)
    records = read_machines(ROOT / "evidence/machine.json")
    if all(record["machine"] == machine for record in records.values()):
        assert run(clone, "git", "status", "--short").stdout == ""
    assert (
        "reproduced bit for bit" in run(clone, "python", "-m", "stages.tools.reproduction").stdout
    )
    # The lock holds the hash of the file that names the tag: equal results make an equal tag anywhere.
    tag = run(clone, "git", "rev-parse", "baseline").stdout.strip()
    assert tag == (clone / "data/compare/revision.txt").read_text().strip()
    assert "image.accuracy " in run(clone, "dvc", "metrics", "diff", "baseline").stdout

    tolerance = Tolerance.read(ROOT / FILE)
    figures = {}
    for task in TASKS:
        committed, figures[task] = (
            json.loads((folder / f"evidence/{task}/data/metrics.json").read_text())
            for folder in (ROOT, clone)
        )
        assert tolerance.outside(task, committed, figures[task]) == []
        assert figures[task]["current"]["improvement"]["verdict"] == "better"
    for task, least in LEAST_GAIN.items():
        assert figures[task]["current"]["improvement"]["seed_gain_mean"] >= least
    check_samples(figures["generative"])


def check_samples(metrics: dict[str, Any]) -> None:
    """Check that samples are near real images, diverse, of their label, and not copied."""
    current, controls = metrics["current"], metrics["controls"]
    real = controls["real against real"]
    improvement = current["improvement"]
    assert improvement["share_of_baseline"] <= 0.25
    assert current["label_agreement"] >= 0.97
    assert current["copy_rate"] <= min(0.05, real["copy_rate"])
    assert current["coverage_test"] >= 0.95 * real["coverage_test"]
    assert controls["memorisation control"]["copy_rate"] == 1
