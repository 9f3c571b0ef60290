"""The generative row as a user runs it: review, samples, notes, damage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import change_params, refused, run
from PIL import Image

from stages.shared.files import read_arrays

pytestmark = pytest.mark.xdist_group("chain")

EVIDENCE = Path("evidence/generative")
SAMPLE = ("python", "-m", "stages.sample")


def review_of(where: Path) -> pd.DataFrame:
    return pd.read_csv(where / EVIDENCE / "data/checkpoint_review.csv", keep_default_na=False)


def test_every_checkpoint_stays_in_the_review_with_its_reason(chain: Path) -> None:
    review = review_of(chain)
    steps = review[review["status"] != ""]
    assert list(steps["what"]) == ["step 20", "step 60"]
    assert (steps["status"] == "chosen").sum() == 1
    rejected = steps[steps["status"] == "review"]
    assert (rejected["reason"] != "").all()
    others = set(review.loc[review["status"] == "", "what"])
    assert others == {"class Gaussians", "small VAE", "real against real", "photocopier"}
    page = (chain / EVIDENCE / "index.html").read_text()
    assert all(reason in page for reason in rejected["reason"])
    weights = sorted(file.name for file in (chain / "data/train/generative").glob("*.safetensors"))
    assert weights == ["weights-0-epoch-0.safetensors", "weights-0-epoch-2.safetensors"]


def test_the_photocopier_fails_on_copying_alone(chain: Path) -> None:
    controls = json.loads((chain / EVIDENCE / "data/metrics.json").read_text())["controls"]
    copier, real = controls["photocopier"], controls["real against real"]
    assert copier["copied"] == copier["closer"] == 1
    assert real["copied"] < 0.2
    assert abs(real["closer"] - 0.5) < 0.2
    for name in ("frechet_test", "coverage_test", "label_agreement"):
        assert copier[name] == real[name]


def test_no_duplicate_and_all_writers_are_in_every_split(chain: Path) -> None:
    samples = pd.read_csv(chain / "data/prepare/generative/samples.csv")
    assert samples.groupby("group")["split"].nunique().max() == 1
    counts = samples.groupby(["label", "split"]).size().unstack()
    shares = counts.div(counts.sum(axis=1), axis=0)
    assert np.allclose(shares["test"], 0.25, atol=0.03)
    assert np.allclose(shares["validation"], 0.2, atol=0.03)
    note = json.loads((chain / "data/prepare/generative/dataset.json").read_text())
    assert "at random within group and class" in note["split_rule"]


def test_failures_are_counted_as_the_samples_say(chain: Path) -> None:
    data = chain / EVIDENCE / "data"
    cases, samples = pd.read_csv(data / "failure_cases.csv"), pd.read_csv(data / "samples.csv")
    summary = json.loads((data / "failure_summary.json").read_text())
    assert set(summary["buckets"]) == {"collapsed", "blurred", "broken", "copied"}
    assert (cases.groupby("bucket").size() >= 3).all()
    assert summary["buckets"]["broken"] == int((samples["of_asked"] < 0.5).sum())
    assert set(summary["shares_of_real"]) == set(summary["buckets"])
    assert 0 <= summary["shares_of_real"]["copied"] < 0.2
    metrics = json.loads((data / "metrics.json").read_text())
    close = int((samples["gap"] < metrics["close_gap_test"]).sum())
    assert summary["buckets"]["copied"] == close
    assert metrics["current"]["copied"] == pytest.approx(close / len(samples), abs=1e-6)
    agree = (samples["asked"] == samples["judged"]).mean()
    assert metrics["current"]["label_agreement"] == pytest.approx(agree, abs=1e-6)


def test_the_grids_hold_the_same_labels_from_the_same_noise(chain: Path) -> None:
    pixels = read_arrays(chain / "data/evaluate/generative/samples.safetensors")
    assert {len(grid) for name, grid in pixels.items() if name != "samples"} == {20}
    chosen = json.loads((chain / "metrics/metrics.json").read_text())["generative"]["step"]
    everyone = {image.tobytes() for image in pixels["samples"]}
    assert all(image.tobytes() in everyone for image in pixels[f"step {chosen}"])


def test_stored_weights_give_the_stored_samples_again(prepared: Path) -> None:
    folder = prepared / "data/evaluate/generative"
    names = ("samples.csv", "samples.safetensors", "metrics.json", "review.csv")
    stored = {name: (folder / name).read_bytes() for name in names}
    shutil.rmtree(folder)
    run(prepared, "python", "-m", "stages.evaluate", "generative")
    assert {name: (folder / name).read_bytes() for name in stored} == stored


def test_sample_draws_the_same_picture_for_the_same_seed(chain: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file, seed in zip(files, ("1", "1", "2"), strict=True):
        run(chain, *SAMPLE, "--label", "7", "--count", "9", "--seed", seed, "--out", str(file))
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other
    with Image.open(files[0]) as picture:
        assert picture.height > picture.width / 8 * 1.5  # nine: two rows, eight in the first


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--label", "ten"], "--label: given 'ten'; must be one of 0, 1, 2"),
        (["--label", "7", "--count", "0"], "--count: given 0; must be from 1 to"),
        (["--label", "7", "--seed", "-1"], "--seed: given -1; must be from 0 to"),
        (["--label", "7", "--out", "a.jpg"], "--out: given 'a.jpg'; must end in .png"),
        (["--label", "7", "--out", "nowhere/a.png"], "--out: nowhere is no folder"),
    ],
)
def test_what_cannot_be_sampled_gets_one_line(chain: Path, asked: list[str], said: str) -> None:
    out = [] if "--out" in asked else ["--out", "a.png"]
    assert refused(chain, *SAMPLE, *asked, *out).startswith(f"sample: {said}")
    assert not (chain / "a.png").exists()


def test_predict_asks_the_judge_and_finds_a_copy(chain: Path, tmp_path: Path) -> None:
    images = np.load(chain / "data/prepare/generative/images.npy")
    samples = pd.read_csv(chain / "data/prepare/generative/samples.csv")
    own = samples[samples["split"] == "train"].iloc[0]
    Image.fromarray(images[own["row"], 0]).save(tmp_path / "copy.png")
    told = run(
        chain, "python", "-m", "stages.predict", "generative", str(tmp_path / "copy.png")
    ).stdout
    _, label, confidence, near, gap, close = told.strip().split("\t")
    assert (near, gap, close) == (own["id"], "0.000", "close")
    assert 0 < float(confidence) <= 1
    assert label in "0123456789"


def test_review_notes_stand_beside_the_drafted_ones(prepared: Path) -> None:
    page = prepared / EVIDENCE / "index.html"
    assert "missing: nobody has written it in data/review/generative.md" in page.read_text()
    notes = prepared / "data/review/generative.md"
    said = "The sevens <script>alert(1)</script> lean."
    notes.write_text(notes.read_text().replace("## Quality\n", f"## Quality\n\n{said}\n"))
    told = run(prepared, "dvc", "repro").stdout
    assert "Running stage 'pack@generative'" in told
    assert "Running stage 'failures" not in told
    assert "The sevens &lt;script&gt;alert(1)&lt;/script&gt; lean." in page.read_text()
    notes.write_bytes(b"\xff")
    line = refused(prepared, "python", "-m", "stages.pack", "generative")
    assert line.startswith("pack@generative: data/review/generative.md: not UTF-8 at byte 0")


def test_training_that_is_no_longer_finite_gets_one_line(prepared: Path) -> None:
    change_params(prepared, lambda params: params["generative"]["train"].update(learning_rate=1e30))
    before = (prepared / EVIDENCE / "index.html").read_bytes()
    line = refused(prepared, "python", "-m", "stages.train", "generative")
    assert "not finite: " in line
    assert "lower learning_rate" in line
    assert (prepared / EVIDENCE / "index.html").read_bytes() == before


def test_an_empty_list_of_checkpoints_stops_before_anything_is_lost(prepared: Path) -> None:
    change_params(prepared, lambda params: params["generative"]["train"].update(review=[]))
    before = sorted((prepared / "data/train/generative").rglob("*"))
    done = run(prepared, "dvc", "repro", status=255)
    assert "generative.train.review: " in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted((prepared / "data/train/generative").rglob("*")) == before


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(prepared: Path) -> None:
    folder = prepared / "data/train/generative"
    stored = {file.name: file.read_bytes() for file in folder.glob("*.*")}
    kill = (
        "import sys, os, stages.shared.training as t; save = t.save_state\n"
        "def die(*given): save(*given); os.kill(os.getpid(), 9)\n"
        "t.save_state = die; sys.argv = ['train', 'generative']\n"
        "import runpy; runpy.run_module('stages.train', run_name='__main__')"
    )
    for _ in range(2):
        run(prepared, "python", "-c", kill, status=-9)
    run(prepared, "python", "-m", "stages.train", "generative")
    assert {file.name: file.read_bytes() for file in folder.glob("*.*")} == stored
