"""The evidence packs: what they hold, by name, and that their figures follow from their data."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.project import CLASSIFIERS, TASKS, evidence, read_params, run

pytestmark = pytest.mark.xdist_group("chain")

PACK = """README.md index.html record.json data/run_command.txt data/dataset_note.json data/checks.json
data/model_summary.csv data/training_log.csv data/checkpoints.json data/diagnostics.json
data/data_warnings.json data/metrics.json data/metric_table.csv data/prediction_samples.csv
data/failure_cases.csv data/failure_summary.json data/next_step.json data/params.json
pictures/loss.svg pictures/methods.svg"""
CLASSIFIER_PACK = """ data/per_class.csv data/confusion_matrix.csv data/predictions.csv
data/baseline_predictions.csv data/validation_predictions.csv pictures/confusion.svg
pictures/reliability.svg pictures/differences.svg data/slices.csv """
TASK_FILES = {
    "image": CLASSIFIER_PACK + "data/demo.png pictures/augmentation.png",
    "sentiment": CLASSIFIER_PACK + "data/error_buckets.csv "
    "data/driving_words.json data/transformer_flow.csv",
    "workshop": CLASSIFIER_PACK + "data/demo.png data/baseline_log.csv",
    "generative": "data/checkpoint_review.csv data/samples.csv data/classes.csv "
    "pictures/checkpoints.png pictures/baselines.png pictures/between.png pictures/review.svg "
    "pictures/excess.svg",
}
RECORD = """task improvement failure_case_count run_command dataset_note baseline current_result
failure_cases next_step label_rules next_action questions kind verdict headline worst"""
TASK_KEYS = {
    "image": "split_rule metric error_case class_counts",
    "workshop": "split_rule metric error_case class_counts",
    "sentiment": "known_failure fix_attempt error_buckets",
    "generative": "split_rule checkpoint_samples checkpoint_review quality_note diversity_note "
    "failure_sample selection_rule improvement_of",
}


def read_metrics(chain: Path, task: str) -> dict[str, Any]:
    """Return the figures of a task's model."""
    content = json.loads((chain / f"evidence/{task}/data/metrics.json").read_text())
    current: dict[str, Any] = content["current"]
    return current


@pytest.mark.parametrize("task", TASKS)
def test_the_pack_holds_its_files_and_keys_by_name(chain: Path, task: str) -> None:
    for name in [*PACK.split(), *TASK_FILES[task].split()]:
        assert (chain / "evidence" / task / name).stat().st_size > 0, name
    record = json.loads((chain / "evidence" / task / "record.json").read_text())
    assert set(record) == {*RECORD.split(), *TASK_KEYS[task].split()}
    questions = {"baseline", "metric", "sample_success", "sample_failure", "debug_next"}
    assert set(record["questions"]) == questions
    assert len(record["failure_cases"]) >= 3
    if task in CLASSIFIERS:
        assert 6 <= len(record["current_result"]["success_samples"]) <= 12


def test_failing_images_are_shown(chain: Path) -> None:
    cards = list((chain / "evidence/image/pictures").glob("case-*.png"))
    assert 6 <= len(cards) <= 12


def test_failing_texts_are_shown_by_bucket_with_the_words_behind_them(chain: Path) -> None:
    pack = chain / "evidence/sentiment"
    cases = pd.read_csv(pack / "data/failure_cases.csv", keep_default_na=False)
    words = json.loads((pack / "data/driving_words.json").read_text())
    page = (pack / "index.html").read_text()
    for bucket, bucket_cases in cases.groupby("bucket"):
        for _, case in bucket_cases.head(3).iterrows():
            assert case["id"] in page, bucket
            assert " ".join(word for word, _ in words[case["id"]]) == case["text"]
    assert "<mark class=" in page
    buckets = pd.read_csv(pack / "data/error_buckets.csv")
    predictions = pd.read_csv(pack / "data/predictions.csv")
    wrong = predictions[predictions["seed_0"] != predictions["label"]]
    assert dict(zip(buckets["bucket"], buckets["model"], strict=True)) == {
        name: int((wrong["bucket"] == name).sum()) for name in buckets["bucket"]
    }
    record = json.loads((pack / "record.json").read_text())
    known = buckets.set_index("bucket").loc[record["known_failure"]["bucket"]]
    assert known["model"] == record["known_failure"]["errors"]
    large = buckets[buckets["count"] >= 10]
    assert known["model"] / known["count"] == (large["model"] / large["count"]).max()


def test_contrast_pairs_are_counted_whole(chain: Path) -> None:
    predictions = pd.read_csv(chain / "evidence/sentiment/data/predictions.csv")
    pairs = predictions.assign(correct=predictions["seed_0"] == predictions["label"])
    pairs = pairs.groupby("group").filter(lambda group: len(group) == 2)
    whole = pairs.groupby("group")["correct"].all()
    metrics = read_metrics(chain, "sentiment")
    assert metrics["contrast_consistency"]["groups"] == len(whole) >= 30
    assert metrics["contrast_consistency"]["share"] == pytest.approx(whole.mean(), abs=1e-6)


@pytest.mark.parametrize("task", CLASSIFIERS)
def test_the_figures_follow_from_the_stored_predictions(chain: Path, task: str) -> None:
    predictions = pd.read_csv(chain / f"evidence/{task}/data/predictions.csv")
    metrics = read_metrics(chain, task)
    correct = predictions["seed_0"] == predictions["label"]
    baseline_correct = predictions["baseline"] == predictions["label"]
    improvement = metrics["improvement"]
    assert metrics["accuracy"] == pytest.approx(correct.mean(), abs=1e-6)
    assert improvement["gain"] == pytest.approx(correct.mean() - baseline_correct.mean(), abs=1e-6)
    assert improvement["fixed"] == int((correct & ~baseline_correct).sum())
    cases = pd.read_csv(chain / f"evidence/{task}/data/failure_cases.csv")
    assert (cases["kind"] == "wrong").sum() == int((~correct).sum())
    summary = json.loads((chain / "metrics/metrics.json").read_text())[task]
    assert summary == {
        "accuracy": metrics["accuracy"],
        "failures": int((~correct).sum()),
        **{key: improvement[key] for key in ("gain", "gain_low", "gain_high", "verdict")},
    }
    baseline = run(chain, "git", "show", "baseline:metrics/metrics.json").stdout
    assert json.loads(baseline)[task]["failures"] == int((~baseline_correct).sum())
    page = (chain / f"evidence/{task}/index.html").read_text()
    assert f"{100 * correct.mean():.1f}%" in page
    plot = pd.read_csv(chain / f"plots/confusion/{task}.csv")
    assert (plot["actual"] == plot["predicted"]).mean() == pytest.approx(correct.mean())


def test_the_record_prints_four_lines_a_task(chain: Path) -> None:
    everything = evidence(chain, "record")
    parts = [evidence(chain, "record", task) for task in TASKS]
    assert everything == "".join(parts)
    for task, printed in zip(TASKS, parts, strict=True):
        lines = printed.strip().split("\n")
        keys = [line.split(":")[0] for line in lines]
        assert keys == ["task", "improvement", "failure_case_count", "next_step"]
        assert lines[0] == f"task: {task}"
        assert re.fullmatch(r"improvement: [+-]\d\.\d{3}", lines[1])
        assert re.match(f"next_step: .+: dvc exp run -S 'tasks.{task}.(train|evaluate).", lines[3])


@pytest.mark.parametrize("task", TASKS)
def test_the_next_step_is_a_change_that_params_allow(chain: Path, task: str) -> None:
    step = json.loads((chain / f"evidence/{task}/data/next_step.json").read_text())
    ((key, value),) = step["change"].items()
    *path, name = key.split(".")
    section = read_params(chain)
    for part in path:
        section = section[part]
    assert section[name] != value
    assert f"{key}=" in step["command"]


def test_no_output_and_no_page_names_the_machine(chain: Path) -> None:
    """Results that come out the same elsewhere leave every output as it is."""
    machines = json.loads((chain / "evidence/machine.json").read_text())
    assert set(machines) == set(TASKS)
    processor = machines["image"]["machine"]["processor"]
    files = [*(chain / "evidence").glob("*/**/*"), *(chain / "data").glob("*/*/*.json")]
    for path in files:
        if path.is_file() and path.suffix in {".json", ".csv", ".md", ".html", ".txt"}:
            assert processor not in path.read_text(), path
    assert "machine.json" not in (chain / "dvc.lock").read_text()
