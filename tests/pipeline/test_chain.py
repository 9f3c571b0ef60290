"""The whole pipeline, as a user runs it: `dvc repro`, compare, change, break."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.project import (
    CLASSIFIERS,
    TASKS,
    change_params,
    evidence,
    evidence_refused,
    refused,
    run,
)

from stages.training.weights import read_weights

pytestmark = pytest.mark.xdist_group("chain")


def test_metrics_diff_shows_baseline_current_and_change(chain: Path) -> None:
    diff = json.loads(run(chain, "dvc", "metrics", "diff", "baseline", "--json").stdout)
    for task in TASKS:
        name = "accuracy" if task in CLASSIFIERS else "frechet_test"
        row = diff["metrics/metrics.json"][f"{task}.{name}"]
        metrics = json.loads((chain / f"evidence/{task}/data/metrics.json").read_text())
        assert row["old"] == metrics["baseline"][name]
        assert row["new"] == metrics["current"][name]
        assert row["diff"] == pytest.approx(row["new"] - row["old"])
    figures = json.loads((chain / "metrics/metrics.json").read_text())
    for task, values in figures.items():  # a table that fits a screen
        assert 3 <= len([value for value in values.values() if not isinstance(value, str)]) <= 5
        assert f"{task}.verdict" in diff["metrics/metrics.json"]


def test_the_plots_open_without_a_network(prepared: Path) -> None:
    for command in (["show"], ["diff", "baseline"]):
        assert run(prepared, "dvc", "plots", *command).stderr == ""
        page = (prepared / "dvc_plots/index.html").read_text()
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?http", page)
        for name in ("loss", "confusion", "confidence", "Fr\\u00e9chet"):
            assert name in page
        for task in TASKS:
            assert f"{task}.csv" in page
            assert f"<h2>{task}</h2>" in page
            # The ids by which the page's script finds the charts of a task.
            assert f'id = "plots_loss_{task}_csv"' in page
            assert f'id = "data_live_{task}_' in page
    assert '"rev": "baseline"' in page
    assert "<code>baseline</code> is class Gaussians." in page


def test_with_nothing_to_do_nothing_runs(chain: Path) -> None:
    output = run(chain, "dvc", "repro").stdout
    assert "Running stage" not in output
    assert "up to date" in output
    assert run(chain, "git", "status", "--short").stdout == ""


def test_a_wrong_param_stops_the_pipeline_before_an_output_is_lost(prepared: Path) -> None:
    before = {p: p.read_bytes() for p in (prepared / "data/train").rglob("*") if p.is_file()}
    change_params(prepared, lambda params: params["tasks"]["image"]["train"].update(epochs="many"))
    done = run(prepared, "dvc", "repro", status=255)
    assert "tasks.image.train.epochs: given 'many'; must be a valid integer" in done.stderr
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in before} == before
    assert (prepared / "evidence/image/index.html").exists()


def test_a_change_reruns_only_what_uses_it(prepared: Path) -> None:
    change_params(
        prepared, lambda params: params["tasks"]["workshop"]["failures"].update(neighbours=3)
    )
    output = run(prepared, "dvc", "repro").stdout
    assert re.findall(r"Running stage '([\w@]+)", output) == [
        "params",
        "failures@workshop",
        "pack@workshop",
        "compare",
    ]


def test_a_removed_task_leaves_no_trace_in_the_merged_results(prepared: Path) -> None:
    change_params(prepared, lambda params: params["tasks"].pop("workshop"))
    output = run(prepared, "dvc", "repro").stdout
    assert re.findall(r"Running stage '([\w@]+)", output) == ["params", "compare"]
    metrics = json.loads((prepared / "metrics/metrics.json").read_text())
    assert set(metrics) == set(TASKS) - {"workshop"}
    assert not list(prepared.glob("plots/*/workshop.csv"))
    assert not list(prepared.glob("data/*/workshop"))


def test_the_baseline_names_no_plot_that_its_tasks_lack(small: Path) -> None:
    content = json.loads(run(small, "git", "show", "baseline:dvc.yaml").stdout)
    names = [name for entry in content["plots"] for name in entry]
    assert names == ["plots/loss", "plots/confusion", "plots/reliability"]
    done = run(small, "dvc", "plots", "diff", "baseline", "--json")
    assert done.stderr == ""
    assert set(json.loads(done.stdout)["data"]) >= {"plots/loss/workshop.csv"}


def test_each_training_run_leaves_its_curve(chain: Path) -> None:
    log = pd.read_csv(chain / "evidence/image/data/training_log.csv")
    for (fold, seed), rows in log.groupby(["fold", "seed"]):
        curve = pd.read_csv(chain / f"data/live/image/fold-{fold}/seed-{seed}.csv")
        expected = rows.drop(columns=["fold", "seed"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(curve, expected)


def test_a_kind_of_text_reruns_nothing_of_images(prepared: Path) -> None:
    with (prepared / "stages/kinds/text_classification/model.py").open("a") as file:
        file.write("# touched\n")
    output = run(prepared, "dvc", "status").stdout
    assert "train@sentiment" in output
    assert "@image" not in output


def test_damaged_weights_get_one_line(prepared: Path) -> None:
    path = prepared / "data/train/image/fold-0/weights-0.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])
    line = refused(prepared, "python", "-m", "stages.evaluate", "image")
    assert line.startswith(
        "evaluate@image: data/train/image/fold-0/weights-0.safetensors: not a whole"
    )


def test_weights_of_another_model_get_one_line(prepared: Path) -> None:
    change_params(
        prepared, lambda params: params["tasks"]["image"]["train"].update(channels=[4, 4])
    )
    line = refused(prepared, "python", "-m", "stages.evaluate", "image")
    assert "does not fit the model that params.yaml describes" in line


@pytest.mark.long
def test_a_trained_model_starts_another(prepared: Path) -> None:
    weights = (prepared / "data/train/image/fold-0/weights-0.safetensors").read_bytes()
    (prepared / "start.safetensors").write_bytes(weights)
    changes = {
        "initial_weights": "start.safetensors",
        "epochs": 1,
        "seeds": [5],
        "learning_rate": 1e-9,
    }
    change_params(prepared, lambda params: params["tasks"]["image"]["train"].update(changes))
    run(prepared, "python", "-m", "stages.train", "image")
    old = read_weights(prepared / "start.safetensors")
    new = read_weights(prepared / "data/train/image/fold-0/weights-5.safetensors")
    first = "features.0.weight"
    assert abs(new[first] - old[first]).max() < 1e-6
    assert abs(new["head.weight"] - old["head.weight"]).max() > 1e-3  # the head starts anew
    change_params(
        prepared, lambda params: params["tasks"]["image"]["train"].update(channels=[8, 16])
    )
    line = refused(prepared, "python", "-m", "stages.train", "image")
    assert "start.safetensors does not fit the model" in line


def test_a_failed_check_stops_the_chain_and_is_written(prepared: Path) -> None:
    change_params(
        prepared, lambda params: params["tasks"]["image"]["check"].update(overfit_steps=1)
    )
    line = refused(prepared, "python", "-m", "stages.check", "image")
    assert line.startswith("check@image: one small batch can be overfitted: loss ")
    checks = json.loads((prepared / "data/check/image/checks.json").read_text())
    assert [check["passed"] for check in checks].count(False) == 1


@pytest.mark.long
def test_a_writer_in_two_splits_fails_the_check(prepared: Path) -> None:
    path = prepared / "data/prepare/image/samples.csv"
    path.chmod(0o644)
    samples = pd.read_csv(path)
    samples.loc[0, "split_1"] = "test" if samples.loc[0, "split_1"] == "train" else "train"
    path.write_text(samples.to_csv(index=False))
    line = refused(prepared, "python", "-m", "stages.check", "image")
    assert line.startswith(
        "check@image: no group across splits: fold 1: groups in more than one split: 1"
    )


def test_predict_names_label_and_confidence(chain: Path) -> None:
    demo = "evidence/image/data/demo.png"
    line = evidence(chain, "predict", "image", demo).rstrip("\n")
    name, label, confidence, warning = line.split("\t")
    table = pd.read_csv(chain / "evidence/image/data/predictions.csv")
    table = table[(table["fold"] == 0) & (table["seed_0"] == table["label"])]
    sample = table.sort_values(["confidence", "id"], ascending=[False, True]).iloc[0]
    assert name == demo
    assert label == str(sample["label"])
    assert float(confidence) == pytest.approx(sample["confidence"], abs=2e-3)
    assert warning == ""
    (prediction,) = json.loads(evidence(chain, "predict", "image", demo, "--json"))
    assert (prediction["input"], prediction["class"], prediction["warning"]) == (demo, label, "")
    probabilities = [row["probability"] for row in prediction["classes"]]
    assert prediction["confidence"] == probabilities[0]
    assert sorted(probabilities, reverse=True) == probabilities
    assert len(probabilities) == 3


def test_predict_refuses_what_is_no_image(chain: Path) -> None:
    line = evidence_refused(chain, "predict", "image", "dvc.yaml")
    assert line == "evidence predict: dvc.yaml: not an image; give an image file (PNG, JPEG, ...)"


def test_predict_names_the_words_that_drove_it(chain: Path) -> None:
    shrug = "\U0001f926\u200d\u2642\ufe0f"  # of four characters
    texts = [
        "A drab, shoddy, joyless flat.",
        "=1+1 \x1b[31mred <script>alert(1)</script>",
        f"2/5 {shrug}",
    ]
    output = evidence(chain, "predict", "sentiment", *texts)
    first, second, third = (line.split("\t") for line in output.rstrip("\n").split("\n"))
    assert first[0] == texts[0]
    assert first[1] in {"negative", "positive"}
    assert 0.5 <= float(first[2]) <= 1
    assert set(first[3].split(", ")) <= {*texts[0].split(), "none"}
    assert "\x1b" not in output  # control characters are gone, the rest stays text
    assert second[0] == "=1+1 [31mred <script>alert(1)</script>"
    assert third[0] == texts[2]
    line = evidence_refused(chain, "predict", "sentiment", "good", " ")
    assert line == "evidence predict: text 2 is empty; give each text in quotes"


@pytest.mark.parametrize("task", CLASSIFIERS)
def test_stored_weights_give_the_stored_predictions_again(prepared: Path, task: str) -> None:
    stored = (prepared / f"data/evaluate/{task}/predictions.csv").read_bytes()
    shutil.rmtree(prepared / "data/evaluate")
    run(prepared, "python", "-m", "stages.evaluate", task)
    assert (prepared / f"data/evaluate/{task}/predictions.csv").read_bytes() == stored


def test_a_tag_of_the_users_is_left_alone(prepared: Path) -> None:
    run(prepared, "git", "update-ref", "-d", "refs/tags/baseline")
    run(prepared, "git", "tag", "baseline", "HEAD")
    tag = run(prepared, "git", "rev-parse", "baseline").stdout
    line = refused(prepared, "python", "-m", "stages.compare")
    assert "refs/tags/baseline exists and the pipeline did not create it" in line
    assert run(prepared, "git", "rev-parse", "baseline").stdout == tag
