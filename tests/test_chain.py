"""The whole chain, as a user runs it: `dvc repro`, compare, read, ask, break."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import change_params, refused, run

from stages.shared.refusal import Refusal
from stages.shared.weights import read_weights
from stages.tasks.image.model import IMAGENET_SHA256, _imagenet

pytestmark = pytest.mark.xdist_group("chain")

CLASSIFIERS = ["image", "sentiment", "workshop"]
TASKS = ["image", "sentiment", "generative", "workshop"]
PACK = """README.md index.html record.json data/run_command.txt data/dataset_note.json
data/checks.json data/model_summary.csv data/training_log.csv data/machine.json data/metrics.json
data/metric_table.csv data/prediction_samples.csv data/failure_cases.csv data/next_step.json
pictures/loss.svg"""
OF_A_CLASSIFIER = """ data/per_class.csv data/confusion_matrix.csv data/predictions.csv
pictures/confusion.svg pictures/reliability.svg """
OWN_FILES = {
    "image": OF_A_CLASSIFIER + "data/demo.png pictures/augmentation.png",
    "sentiment": OF_A_CLASSIFIER + "data/slices.csv data/error_buckets.csv data/driving_words.json "
    "data/transformer_flow.csv",
    "workshop": OF_A_CLASSIFIER + "data/demo.png data/baseline_log.csv",
    "generative": "data/checkpoint_review.csv data/samples.csv data/classes.csv "
    "pictures/checkpoints.png pictures/baselines.png pictures/between.png pictures/review.svg",
}
RECORD = """task improvement failure_case_count run_command dataset_note baseline current_result
failure_cases next_step label_rules next_action questions"""
OWN_KEYS = {
    "image": "split_rule metric error_case class_counts",
    "workshop": "split_rule metric error_case class_counts",
    "sentiment": "known_failure fix_attempt error_buckets",
    "generative": "split_rule checkpoint_samples checkpoint_review quality_note diversity_note "
    "failure_sample selection_rule improvement_of",
}


@pytest.mark.parametrize("task", TASKS)
def test_the_pack_holds_what_it_must_by_name(chain: Path, task: str) -> None:
    for name in [*PACK.split(), *OWN_FILES[task].split()]:
        assert (chain / "evidence" / task / name).stat().st_size > 0, name
    record = json.loads((chain / "evidence" / task / "record.json").read_text())
    assert set(record) == {*RECORD.split(), *OWN_KEYS[task].split()}
    asked = {"baseline", "metric", "sample_success", "sample_failure", "debug_next"}
    assert set(record["questions"]) == asked
    assert len(record["failure_cases"]) >= 3
    if task in CLASSIFIERS:
        assert 6 <= len(record["current_result"]["success_samples"]) <= 12


def test_failing_images_are_shown(chain: Path) -> None:
    cards = list((chain / "evidence/image/pictures").glob("case-*.png"))
    assert 6 <= len(cards) <= 12


def test_failing_texts_are_shown_by_bucket_with_the_words_behind_them(chain: Path) -> None:
    evidence = chain / "evidence/sentiment"
    cases = pd.read_csv(evidence / "data/failure_cases.csv", keep_default_na=False)
    words = json.loads((evidence / "data/driving_words.json").read_text())
    page = (evidence / "index.html").read_text()
    for bucket, some in cases.groupby("bucket"):
        for _, case in some.head(3).iterrows():
            assert case["id"] in page, bucket
            assert " ".join(word for word, _ in words[case["id"]]) == case["text"]
    assert "<mark class=" in page
    buckets = pd.read_csv(evidence / "data/error_buckets.csv")
    predictions = pd.read_csv(evidence / "data/predictions.csv")
    wrong = predictions[predictions["seed_0"] != predictions["label"]]
    assert dict(zip(buckets["bucket"], buckets["model"], strict=True)) == {
        name: int((wrong["bucket"] == name).sum()) for name in buckets["bucket"]
    }
    record = json.loads((evidence / "record.json").read_text())
    known = buckets.set_index("bucket").loc[record["known_failure"]["bucket"]]
    assert known["model"] == record["known_failure"]["errors"]
    enough = buckets[buckets["count"] >= 10]
    assert known["model"] / known["count"] == (enough["model"] / enough["count"]).max()


def test_contrast_pairs_are_counted_whole(chain: Path) -> None:
    predictions = pd.read_csv(chain / "evidence/sentiment/data/predictions.csv")
    pairs = predictions.assign(right=predictions["seed_0"] == predictions["label"])
    pairs = pairs.groupby("group").filter(lambda group: len(group) == 2)
    whole = pairs.groupby("group")["right"].all()
    metrics = json.loads((chain / "metrics/metrics.json").read_text())["sentiment"]
    assert metrics["contrast_consistency"]["groups"] == len(whole) >= 30
    assert metrics["contrast_consistency"]["share"] == pytest.approx(whole.mean(), abs=1e-6)


@pytest.mark.parametrize("task", CLASSIFIERS)
def test_the_figures_follow_from_the_stored_predictions(chain: Path, task: str) -> None:
    predictions = pd.read_csv(chain / f"evidence/{task}/data/predictions.csv")
    metrics = json.loads((chain / "metrics/metrics.json").read_text())[task]
    right = predictions["seed_0"] == predictions["label"]
    before = predictions["baseline"] == predictions["label"]
    assert metrics["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert metrics["improvement"]["gain"] == pytest.approx(right.mean() - before.mean(), abs=1e-6)
    assert metrics["improvement"]["fixed"] == int((right & ~before).sum())
    cases = pd.read_csv(chain / f"evidence/{task}/data/failure_cases.csv")
    assert (cases["kind"] == "wrong").sum() == int((~right).sum())
    page = (chain / f"evidence/{task}/index.html").read_text()
    assert f"{100 * right.mean():.1f}%" in page
    plots = pd.read_csv(chain / f"plots/{task}/confusion.csv")
    assert (plots["actual"] == plots["predicted"]).mean() == pytest.approx(right.mean())


def test_the_record_prints_four_lines(chain: Path) -> None:
    everyone = run(chain, "python", "-m", "stages.record").stdout
    each = [run(chain, "python", "-m", "stages.record", task).stdout for task in TASKS]
    assert everyone == "".join(each)
    for task, told in zip(TASKS, each, strict=True):
        lines = told.strip().split("\n")
        keys = [line.split(":")[0] for line in lines]
        assert keys == ["task", "improvement", "failure_case_count", "next_step"]
        assert lines[0] == f"task: {task}"
        assert re.fullmatch(r"improvement: [+-]\d\.\d{3}", lines[1])
        assert re.match(f"next_step: dvc exp run -S '{task}.(train|evaluate).", lines[3])


@pytest.mark.parametrize("task", TASKS)
def test_the_next_step_is_a_change_that_params_allow(chain: Path, task: str) -> None:
    step = json.loads((chain / f"evidence/{task}/data/next_step.json").read_text())
    ((key, value),) = step["change"].items()
    section, *path, name = key.split(".")
    params = yaml.safe_load((chain / "params.yaml").read_text())
    place = params[section]
    for part in path:
        place = place[part]
    assert place[name] != value
    assert f"{key}=" in step["command"]


def test_metrics_diff_shows_baseline_current_and_change(chain: Path) -> None:
    told = json.loads(run(chain, "dvc", "metrics", "diff", "baseline", "--json").stdout)
    for task in TASKS:
        name = "accuracy" if task in CLASSIFIERS else "frechet_test"
        accuracy = told["metrics/metrics.json"][f"{task}.{name}"]
        fitted = json.loads((chain / f"evidence/{task}/data/metrics.json").read_text())
        assert accuracy["old"] == fitted["baseline"][name]
        assert accuracy["new"] == fitted["current"][name]
        assert accuracy["diff"] == pytest.approx(accuracy["new"] - accuracy["old"])


def test_the_plots_open_without_a_network(prepared: Path) -> None:
    for command in (["show"], ["diff", "baseline"]):
        run(prepared, "dvc", "plots", *command)
        page = (prepared / "dvc_plots/index.html").read_text()
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?http", page)
        for name in ("loss", "confusion", "confidence", "frechet"):
            assert name in page
    assert '"rev": "baseline"' in page


def test_with_nothing_to_do_nothing_runs(chain: Path) -> None:
    told = run(chain, "dvc", "repro").stdout
    assert "Running stage" not in told
    assert "up to date" in told
    assert run(chain, "git", "status", "--short").stdout == ""


def test_a_wrong_param_stops_the_pipeline_before_an_output_is_lost(prepared: Path) -> None:
    before = {p: p.read_bytes() for p in (prepared / "data/train").rglob("*") if p.is_file()}
    change_params(prepared, lambda params: params["image"]["train"].update(epochs="many"))
    done = run(prepared, "dvc", "repro", status=255)
    assert "image.train.epochs: given 'many'; must be a valid integer" in done.stderr
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in before} == before
    assert (prepared / "evidence/image/index.html").exists()


def test_a_change_re_runs_only_what_uses_it(prepared: Path) -> None:
    change_params(prepared, lambda params: params["image"]["failures"].update(neighbours=3))
    told = run(prepared, "dvc", "repro").stdout
    ran = re.findall(r"Running stage '(\w+)", told)
    assert ran == ["params", "failures", "pack"]


def test_damaged_weights_get_one_line(prepared: Path) -> None:
    path = prepared / "data/train/image/weights-0.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])
    line = refused(prepared, "python", "-m", "stages.evaluate", "image")
    assert line.startswith("evaluate@image: data/train/image/weights-0.safetensors: not a whole")


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04K\x01.", b"\xff" * 64], ids=["", "pickle", "junk"]
)
def test_what_is_no_safetensors_file_is_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(Refusal, match="not a whole safetensors file"):
        read_weights(tmp_path / "weights.safetensors")
    with pytest.raises(Refusal, match="no such file of weights"):
        read_weights(tmp_path / "nowhere.safetensors")


def test_weights_of_another_model_get_one_line(prepared: Path) -> None:
    change_params(prepared, lambda params: params["image"]["train"].update(channels=[4, 4]))
    line = refused(prepared, "python", "-m", "stages.evaluate", "image")
    assert "does not fit the model that params.yaml describes" in line


def test_a_trained_model_starts_another(prepared: Path) -> None:
    weights = (prepared / "data/train/image/weights-0.safetensors").read_bytes()
    (prepared / "start.safetensors").write_bytes(weights)
    change_params(
        prepared,
        lambda params: params["image"]["train"].update(
            start_from="start.safetensors", epochs=1, seeds=[5]
        ),
    )
    run(prepared, "python", "-m", "stages.check", "image")  # a fresh head: its loss is near ln(10)
    change_params(prepared, lambda params: params["image"]["train"].update(learning_rate=1e-9))
    run(prepared, "python", "-m", "stages.train", "image")
    old = read_weights(prepared / "start.safetensors")
    new = read_weights(prepared / "data/train/image/weights-5.safetensors")
    first = "features.0.weight"
    assert abs(new[first] - old[first]).max() < 1e-6
    assert abs(new["head.weight"] - old["head.weight"]).max() > 1e-3
    change_params(prepared, lambda params: params["image"]["train"].update(channels=[8, 16]))
    line = refused(prepared, "python", "-m", "stages.train", "image")
    assert "start.safetensors does not fit the model" in line


def test_imagenet_weights_that_cannot_be_fetched_get_one_line(prepared: Path) -> None:
    change_params(
        prepared,
        lambda params: params["image"]["train"].update(model="resnet18", start_from="imagenet"),
    )
    blocked = ["env", "https_proxy=http://127.0.0.1:9", "TORCH_HOME=empty"]
    line = refused(prepared, *blocked, "python", "-m", "stages.check", "image")
    assert "image.train.start_from: imagenet: the weights could not be fetched" in line
    assert "set start_from: null" in line


def test_imagenet_weights_of_another_hash_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    laid = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    laid.parent.mkdir(parents=True)
    laid.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(Refusal, match=rf"has SHA-256 .*; must be {IMAGENET_SHA256}; remove it"):
        _imagenet()


def test_resnet18_goes_through_the_checks(prepared: Path) -> None:
    change_params(
        prepared,
        lambda params: params["image"]["train"].update(model="resnet18", learning_rate=0.001),
    )
    run(prepared, "python", "-m", "stages.check", "image")
    shapes = pd.read_csv(prepared / "data/check/image/shapes.csv")
    assert shapes["parameters"].sum() == pytest.approx(11.2e6, rel=0.01)


def test_a_failed_check_stops_the_chain_and_its_result_is_there(prepared: Path) -> None:
    change_params(prepared, lambda params: params["image"]["check"].update(overfit_steps=1))
    line = refused(prepared, "python", "-m", "stages.check", "image")
    assert line.startswith("check@image: one small batch can be overfitted: loss ")
    checks = json.loads((prepared / "data/check/image/checks.json").read_text())
    assert [check["held"] for check in checks].count(False) == 1


def test_a_writer_in_two_splits_is_found(prepared: Path) -> None:
    path = prepared / "data/prepare/image/samples.csv"
    path.chmod(0o644)
    samples = pd.read_csv(path)
    samples.loc[0, "split"] = "test" if samples.loc[0, "split"] == "train" else "train"
    path.write_text(samples.to_csv(index=False))
    line = refused(prepared, "python", "-m", "stages.check", "image")
    assert line.startswith("check@image: no group across splits: groups in more than one split: 1")


def test_predict_names_label_and_confidence(chain: Path) -> None:
    name, label, confidence = (
        run(chain, "python", "-m", "stages.predict", "image", "evidence/image/data/demo.png")
        .stdout.strip()
        .split("\t")
    )
    shown = pd.read_csv(chain / "evidence/image/data/prediction_samples.csv").iloc[0]
    assert name == "evidence/image/data/demo.png"
    assert label == str(shown["predicted"])
    assert float(confidence) == pytest.approx(shown["confidence"], abs=2e-3)


def test_predict_refuses_what_is_no_image(chain: Path) -> None:
    line = refused(chain, "python", "-m", "stages.predict", "image", "dvc.yaml")
    assert line == "predict@image: dvc.yaml: not an image; give an image file (PNG, JPEG, ...)"
    line = refused(chain, "python", "-m", "stages.predict", "image", "nowhere.png")
    assert line.startswith("predict@image: nowhere.png: no such file")


def test_predict_names_the_words_that_drove_it(chain: Path) -> None:
    asked = ["A drab, shoddy, joyless flat.", "=1+1 \x1b[31mred <script>alert(1)</script>"]
    told = run(chain, "python", "-m", "stages.predict", "sentiment", *asked).stdout
    first, second = (line.split("\t") for line in told.rstrip("\n").split("\n"))
    assert first[0] == asked[0]
    assert first[1] in {"negative", "positive"}
    assert 0.5 <= float(first[2]) <= 1
    assert first[3].startswith("words: ")
    assert "\x1b" not in told  # what a terminal would act on is gone, the rest stays text
    assert second[0] == "=1+1 [31mred <script>alert(1)</script>"
    line = refused(chain, "python", "-m", "stages.predict", "sentiment", "good", " ")
    assert line == "predict@sentiment: text 2 is empty; give one, in quotes"


@pytest.mark.parametrize("task", CLASSIFIERS)
def test_stored_weights_give_the_stored_predictions_again(prepared: Path, task: str) -> None:
    stored = (prepared / f"data/evaluate/{task}/predictions.csv").read_bytes()
    shutil.rmtree(prepared / "data/evaluate")
    run(prepared, "python", "-m", "stages.evaluate", task)
    assert (prepared / f"data/evaluate/{task}/predictions.csv").read_bytes() == stored


def test_the_sentiment_model_re_runs_nothing_of_image(prepared: Path) -> None:
    for name in ("tasks/sentiment/model.py", "shared/texts/duplicates.py"):
        with (prepared / "stages" / name).open("a") as file:
            file.write("# touched\n")
    told = run(prepared, "dvc", "status").stdout
    assert "train@sentiment" in told
    assert "prepare@sentiment" in told
    assert "@image" not in told


def test_a_tag_of_the_users_own_is_left_alone(prepared: Path) -> None:
    run(prepared, "git", "update-ref", "-d", "refs/tags/baseline")
    run(prepared, "git", "tag", "baseline", "HEAD")
    mine = run(prepared, "git", "rev-parse", "baseline").stdout
    line = refused(prepared, "python", "-m", "stages.compare")
    assert "refs/tags/baseline is a name of yours" in line
    assert run(prepared, "git", "rev-parse", "baseline").stdout == mine
