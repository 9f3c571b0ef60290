"""The measured band: what is run again, and how far metrics may lie apart by it."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, change_params, commit, run
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stages.band import Change, changes, reaches, renamed
from stages.params import load
from stages.shared.schema import Params
from stages.shared.verifying.band import FILE, Band, leaves


def test_each_change_differs_from_what_is_in_use() -> None:
    params = load(ROOT / "params.yaml")
    found = changes(params)
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert one.shift or any(getattr(params.runtime, k) != v for k, v in one.runtime.items())
    same = params.model_copy(
        update={"band": params.band.model_copy(update={"threads": [params.runtime.threads]})}
    )
    assert not any("threads" in one.runtime for one in changes(same))


def test_a_change_is_written_into_params(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    Change("x", {"threads": 7}, 1000).write(tmp_path, "image")
    before = yaml.safe_load((ROOT / "params.yaml").read_text())
    after = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert after["runtime"]["threads"] == 7
    assert after["image"]["train"]["seeds"] == [s + 1000 for s in before["image"]["train"]["seeds"]]
    assert after["workshop"] == before["workshop"]


def test_seeds_are_compared_by_their_place() -> None:
    metrics = {
        "seeds": {"1000": {"accuracy": 0.1}, "1001": {"accuracy": 0.2}},
        "headline_seed": 1000,
    }
    assert renamed(metrics, [0, 1]) == {
        "seeds": {"0": {"accuracy": 0.1}, "1": {"accuracy": 0.2}},
        "headline_seed": 0,
    }


def test_the_reach_is_the_prediction_interval_of_a_difference() -> None:
    found = reaches({"a": 0.5, "w": "better", "n": 3}, [{"a": 0.6, "w": "worse", "n": 3}] * 2)
    sd = float(np.std([0.5, 0.6, 0.6], ddof=1))
    assert found["a"]["reach"] == pytest.approx(stats.t.ppf(0.995, 2) * sd * 2**0.5)
    assert (found["a"]["least"], found["a"]["most"]) == (0.5, 0.6)
    assert found["n"]["reach"] == 0
    assert found["w"] == {"seen": ["better", "worse"]}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_no_run_that_was_measured_is_outside(values: list[float]) -> None:
    committed, *runs = values
    key = "current.a"
    band = Band({"image": reaches({key: committed}, [{key: one} for one in runs])})
    for one in runs:
        assert list(band.outside("image", {key: committed}, {key: one})) == []


def test_the_committed_band_is_of_the_committed_metrics() -> None:
    """A band of other figures would judge by what is no longer so."""
    band = json.loads((ROOT / FILE).read_text())
    assert band["rows"].keys() == set(Params.tasks())
    for task, row in band["rows"].items():
        metrics = leaves(json.loads((ROOT / f"evidence/{task}/data/metrics.json").read_text()))
        assert row["runs"]
        assert "by_run" in row["metrics"]["current.improvement.gain"]
        for key, found in row["metrics"].items():
            if "reach" in found:
                assert found["committed"] == metrics[key], (
                    f"{task}: {key}: run python -m stages.band"
                )
                if "by_run" in found:
                    again = reaches({key: metrics[key]}, [{key: one} for one in found["by_run"]])
                    assert len(found["by_run"]) == len(row["runs"])
                    assert again[key]["reach"] == pytest.approx(found["reach"], abs=2e-6)
            else:
                assert metrics[key] in found["seen"], f"{task}: {key}: run python -m stages.band"


@pytest.mark.xdist_group("chain")
def test_a_band_is_measured_and_written(chain: Path, tmp_path: Path) -> None:
    where = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(chain), str(where))

    def few(params: dict[str, object]) -> None:
        params["band"] = {"threads": [2], "cpu": ["avx2"], "device": ["cuda"], "seeds": 1}

    change_params(where, few)
    commit(where, "a small band")
    said = run(where, "python", "-m", "stages.band", "workshop").stderr
    found = json.loads((where / FILE).read_text())["rows"]["workshop"]
    assert "runtime.cpu" not in said
    assert {"train.seeds + 1000"} <= found["runs"].keys()
    assert found["metrics"]["n"]["reach"] == 0
    assert found["metrics"]["current.accuracy"]["reach"] >= 0
    assert run(where, "git", "status", "--short").stdout.strip() == f"M {FILE}"
