"""The figures in git are those of the code in git."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, commit, copied, run


def test_the_default_run_agrees_with_the_committed_figures(tmp_path: Path) -> None:
    """Bit for bit on the machine that made them; within what seeds spread on another."""
    where = copied(tmp_path)
    committed = json.loads((ROOT / "metrics/metrics.json").read_text())["image"]
    made_on = json.loads((ROOT / "evidence/image/data/machine.json").read_text())
    run(where, "dvc", "repro")
    commit(where, "again")
    found = json.loads((where / "metrics/metrics.json").read_text())["image"]
    here = json.loads((where / "evidence/image/data/machine.json").read_text())
    if here == made_on:
        assert run(where, "git", "diff", "--stat", "HEAD~1").stdout == ""
    count = len(pd.read_csv(where / "evidence/image/data/predictions.csv"))
    band = 3 * committed["improvement"]["seed_gain_sd"] + 2 / count
    assert found["accuracy"] == pytest.approx(committed["accuracy"], abs=band)
    assert found["improvement"]["verdict"] == committed["improvement"]["verdict"]
    assert found["improvement"]["seed_gain_mean"] >= 0.04
