"""The image generator as a user runs it: review, samples, failures, notes, recomputation."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.project import run

from stages.core.errors import UserError
from stages.core.files import read_arrays, round_floats, to_csv
from stages.core.task import Task
from stages.datasets.dataset import read_dataset
from stages.kinds.image_generation.recompute import recompute
from stages.kinds.params import load_tasks

pytestmark = pytest.mark.xdist_group("chain")

EVIDENCE = Path("evidence/generative")


def pack_json(project: Path, name: str) -> Any:
    return json.loads((project / EVIDENCE / "data" / name).read_text())


def pack_table(project: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(project / EVIDENCE / "data" / name, keep_default_na=False)


@pytest.fixture
def task(chain: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    """Yield the task, with one thread, in the folder of a pipeline that has run."""
    monkeypatch.chdir(chain)
    threads, task = torch.get_num_threads(), load_tasks()["generative"]
    yield replace(task, runtime=task.runtime.model_copy(update={"threads": 1}))
    torch.set_num_threads(threads)


def test_every_checkpoint_stays_in_the_review_with_its_reason(chain: Path) -> None:
    review = pack_table(chain, "checkpoint_review.csv")
    checkpoints = review[review["status"] != ""]
    assert list(checkpoints["method"]) == ["step 20", "step 60"]
    assert (checkpoints["status"] == "chosen").sum() == 1
    rejected = checkpoints[checkpoints["status"] == "review"]
    assert (rejected["reason"] != "").all()
    assert set(review.loc[review["status"] == "", "method"]) == {
        "class Gaussians",
        "small VAE",
        "real against real",
        "memorisation control",
    }
    page = (chain / EVIDENCE / "index.html").read_text()
    assert all(reason in page for reason in rejected["reason"])
    weights = sorted(file.name for file in (chain / "data/train/generative").glob("*.safetensors"))
    assert weights == ["weights-0-epoch-0.safetensors", "weights-0-epoch-2.safetensors"]


def test_the_memorisation_control_shows_in_the_copying_metrics_alone(chain: Path) -> None:
    controls = pack_json(chain, "metrics.json")["controls"]
    copies, real = controls["memorisation control"], controls["real against real"]
    assert copies["copy_rate"] == copies["data_copying_score"] == 1
    assert real["copy_rate"] < 0.2
    assert abs(real["data_copying_score"] - 0.5) < 0.2
    for name in ("frechet_test", "coverage_test", "label_agreement"):
        assert copies[name] == real[name]


def test_each_split_has_its_share_of_every_class_and_no_duplicates(chain: Path) -> None:
    samples = pd.read_csv(chain / "data/prepare/generative/samples.csv")
    assert samples.groupby("group")["split"].nunique().max() == 1
    counts = samples.groupby(["label", "split"]).size().unstack()
    shares = counts.div(counts.sum(axis=1), axis=0)
    assert np.allclose(shares["test"], 0.25, atol=0.03)
    assert np.allclose(shares["validation"], 0.2, atol=0.03)
    note = json.loads((chain / "data/prepare/generative/dataset.json").read_text())
    assert "within group and class" in note["split_rule"]


def test_failures_are_counted_from_the_samples(chain: Path) -> None:
    cases, samples = pack_table(chain, "failure_cases.csv"), pack_table(chain, "samples.csv")
    summary, metrics = pack_json(chain, "failure_summary.json"), pack_json(chain, "metrics.json")
    assert set(summary["buckets"]) == {"collapsed", "blurred", "broken", "copied"}
    assert (cases.groupby("bucket").size() >= 3).all()
    assert summary["buckets"]["broken"] == int((samples["label_probability"] < 0.5).sum())
    assert set(summary["shares_of_real"]) == set(summary["buckets"])
    assert 0 <= summary["shares_of_real"]["copied"] < 0.2
    copies = int((samples["nearest_distance"] < metrics["copy_distance_test"]).sum())
    assert summary["buckets"]["copied"] == copies
    assert metrics["current"]["copy_rate"] == pytest.approx(copies / len(samples), abs=1e-6)


def test_the_grids_have_the_same_labels_and_the_selected_one_the_samples(chain: Path) -> None:
    pixels = read_arrays(chain / "data/evaluate/generative/samples.safetensors")
    assert {len(grid) for name, grid in pixels.items() if name != "samples"} == {20}
    step = pack_json(chain, "metrics.json")["current"]["step"]
    samples = {image.tobytes() for image in pixels["samples"]}
    assert all(image.tobytes() in samples for image in pixels[f"step {step}"])


@pytest.mark.long
def test_stored_weights_give_the_stored_samples_again(prepared: Path) -> None:
    folder = prepared / "data/evaluate/generative"
    names = ("samples.csv", "samples.safetensors", "metrics.json", "review.csv")
    stored = {name: (folder / name).read_bytes() for name in names}
    shutil.rmtree(folder)
    run(prepared, "python", "-m", "stages.evaluate", "generative")
    assert {name: (folder / name).read_bytes() for name in stored} == stored


def test_samples_depend_on_the_seed_alone(task: Task) -> None:
    sample = task.module("sample").sample
    first, same, different = (sample(task, "7", 9, seed) for seed in (1, 1, 2))
    assert first.shape == (9, 1, 8, 8)
    assert first.tobytes() == same.tobytes() != different.tobytes()


def test_an_unknown_label_is_an_error_that_names_the_classes(task: Task) -> None:
    with pytest.raises(UserError, match="--label: given 'ten'; must be one of 0, 1, 2"):
        task.module("sample").sample(task, "ten", 1, 0)


def test_predict_detects_a_copy(task: Task, tmp_path: Path) -> None:
    dataset = read_dataset(task)
    image = dataset.part("train").iloc[0]
    images = np.load(task.folder("prepare") / "images.npy")
    file = str(tmp_path / "copy.png")
    Image.fromarray(images[image["row"], 0]).save(file)
    (prediction,) = task.module("predict").predict(task, [file])
    assert prediction.input == file
    assert [*prediction.details.values()] == [image["id"], "0.000", "close"]
    assert [*prediction.probabilities] == dataset.classes
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_review_notes_are_shown_after_their_drafts(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
    task, path = load_tasks()["generative"], Path("data/review/generative.md")
    page = (prepared / EVIDENCE / "index.html").read_text()
    assert "missing; write it in data/review/generative.md" in page
    note = "The sevens <script>alert(1)</script> lean."
    path.write_text(path.read_text().replace("## Quality\n", f"## Quality\n\n{note}\n"))
    files = task.module("pack").pack(task).files()
    assert b"The sevens &lt;script&gt;alert(1)&lt;/script&gt; lean." in files["index.html"]
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"data/review/generative\.md: not UTF-8 at byte 0"):
        task.module("pack").pack(task)


# Recomputation from the pack.


def test_the_pack_gives_the_evaluation_again(task: Task) -> None:
    again = recompute(task, read_dataset(task))
    folder = task.folder("evaluate")
    assert again.tables.keys() == {"review"}
    assert to_csv(again.tables["review"]) == (folder / "review.csv").read_bytes()
    for name, tables in (("plots", again.plots), ("baseline_plots", again.baseline_plots)):
        written = {file.stem: file.read_bytes() for file in (folder / name).iterdir()}
        assert {stem: to_csv(table) for stem, table in tables.items()} == written
    assert differences(json.loads((folder / "metrics.json").read_text()), again.metrics) == []


def differences(stored: Any, again: Any, path: str = "", precision: float = 5e-6) -> list[str]:
    """Return the keys at which two contents of JSON files differ by more than the precision."""
    again = round_floats(again)
    if isinstance(stored, dict):
        keys = sorted(stored.keys() | again.keys())
        return [
            difference
            for key in keys
            for difference in differences(stored.get(key), again.get(key), f"{path}.{key}")
        ]
    if isinstance(stored, float) and isinstance(again, float):
        return [] if abs(stored - again) <= precision else [path]
    return [] if stored == again else [path]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("current", "label_agreement"), 1.0),
        (("current", "copy_rate_high"), 0.0),
        (("current", "improvement", "verdict"), "far better"),
        (("current", "improvement", "gain"), 99.0),
        (("current", "step"), 40),
        (("selection", "step"), 40),
        (("baseline", "frechet_test"), 99.0),
        (("strongest_baseline",), "no baseline"),
    ],
)
def test_a_forged_metric_is_recomputed(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...], value: Any
) -> None:
    shutil.copytree(EVIDENCE / "data", tmp_path / EVIDENCE / "data")
    dataset = read_dataset(task)
    monkeypatch.chdir(tmp_path)
    path = EVIDENCE / "data" / "metrics.json"
    metrics = json.loads(path.read_text())
    section = metrics
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    path.write_text(json.dumps(metrics))
    assert f".{'.'.join(keys)}" in differences(metrics, recompute(task, dataset).metrics)
