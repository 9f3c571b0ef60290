"""A task with folds, run by the pipeline: no sample is predicted by what saw its group."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.pages import page_text
from support.project import evidence

pytestmark = pytest.mark.xdist_group("chain")
TASK, FOLDS = "image", 3


def tables(project: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the prepared samples and the predictions, by row."""
    samples = pd.read_csv(project / f"data/prepare/{TASK}/samples.csv").set_index("row")
    predictions = pd.read_csv(project / f"evidence/{TASK}/data/predictions.csv").set_index("row")
    return samples, predictions


def test_every_sample_is_predicted_once_by_models_that_saw_none_of_its_group(chain: Path) -> None:
    samples, predictions = tables(chain)
    assert predictions.index.tolist() == samples.index.tolist()
    assert sorted(set(predictions["fold"])) == list(range(FOLDS))
    for fold, tested in predictions.groupby("fold"):
        of_fold = samples[f"split_{fold}"]
        assert (of_fold[tested.index] == "test").all()
        seen = set(samples.loc[of_fold.isin(("train", "validation")), "group"])
        assert not seen & set(tested["group"])


def test_each_fold_fits_baselines_and_trains_models_of_its_own(chain: Path) -> None:
    folder = chain / f"data/train/{TASK}"
    weights = [
        (folder / f"fold-{fold}/weights-{seed}.safetensors").read_bytes()
        for fold in range(FOLDS)
        for seed in (0, 1)
    ]
    assert len(set(weights)) == len(weights)
    log = pd.read_csv(folder / "log.csv")
    assert log[["fold", "seed"]].drop_duplicates().to_numpy().tolist() == [
        [fold, seed] for fold in range(FOLDS) for seed in (0, 1)
    ]
    epochs = json.loads((folder / "checkpoints.json").read_text())["epoch"]
    for name, epoch in epochs.items():
        fold, seed = (int(part.split()[-1]) for part in name.split(", "))
        run = log[(log["fold"] == fold) & (log["seed"] == seed)]
        assert epoch == run["epoch"].iloc[int(np.argmin(run["validation_loss"]))]


def test_the_verdict_pools_all_folds_and_groups(chain: Path) -> None:
    samples, predictions = tables(chain)
    metrics = json.loads((chain / f"evidence/{TASK}/data/metrics.json").read_text())
    correct = predictions["seed_0"] == predictions["label"]
    simple = predictions["baseline"] == predictions["label"]
    gain = metrics["current"]["improvement"]
    assert metrics["n"] == len(samples)
    assert gain["groups"] == samples["group"].nunique() == 14
    assert metrics["current"]["accuracy"] == pytest.approx(correct.mean(), abs=1e-6)
    assert gain["gain"] == pytest.approx(correct.mean() - simple.mean(), abs=1e-6)
    for fold, figures in metrics["folds"].items():
        of_fold = predictions["fold"] == int(fold)
        assert figures["n"] == of_fold.sum()
        assert figures["accuracy"] == pytest.approx(correct[of_fold].mean(), abs=1e-6)


def test_the_baseline_to_beat_is_chosen_in_each_fold(chain: Path) -> None:
    _, predictions = tables(chain)
    data = chain / f"evidence/{TASK}/data"
    folds = json.loads((data / "baseline.json").read_text())["folds"]
    of_methods = pd.read_csv(data / "baseline_predictions.csv")
    for fold, summary in enumerate(folds):
        scores = {name: row["accuracy"] for name, row in summary["validation"].items()}
        strongest = max(summary["methods"], key=lambda name: scores[name])
        assert summary["strongest"] == strongest
        of_fold = (predictions["fold"] == fold).to_numpy()
        assert (of_methods[strongest][of_fold] == predictions["baseline"].to_numpy()[of_fold]).all()


def test_every_wrong_sample_is_a_failure_case_with_neighbours_from_its_fold(chain: Path) -> None:
    samples, predictions = tables(chain)
    cases = pd.read_csv(chain / f"evidence/{TASK}/data/failure_cases.csv").set_index("row")
    wrong = predictions.index[predictions["seed_0"] != predictions["label"]]
    assert set(wrong) == set(cases.index[cases["kind"] == "wrong"])
    folds = predictions["fold"][cases.index]
    for fold, neighbour_rows in zip(folds, cases["neighbour_rows"], strict=True):
        neighbours = [int(number) for number in neighbour_rows.split()]
        assert (samples[f"split_{fold}"][neighbours] == "train").all()


def test_the_page_names_the_folds(chain: Path) -> None:
    page = page_text(chain / f"evidence/{TASK}")
    assert "no sample is predicted by a model that saw its group" in page
    assert "Test accuracy by fold" in page
    assert f"{FOLDS} folds" in page


@pytest.mark.long
def test_verify_recomputes_a_task_with_folds(chain: Path) -> None:
    report = chain / "folds.json"
    evidence(chain, "verify", "--tier", "metrics", "--only", TASK, "--json", str(report))
    stages = json.loads(report.read_text())
    report.unlink()
    assert stages["verdict"] in {"agrees", "bit for bit"}, stages
