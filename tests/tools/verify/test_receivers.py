"""What a receiver asks of this project's own results, from the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.project import commit, run
from support.texts import to_csv_text

from stages.datasets.dataset import read_prepared
from stages.datasets.images.packed import open_packed
from stages.datasets.images.stripes import DIRECTIONS, draw_stripes
from stages.tools.cli import make_parser
from stages.tools.verify.attestation.statement import EXTENSION

pytestmark = pytest.mark.long
DIFFICULTY = 0.5


def evidence(*words: str) -> int:
    """Run the command in this process and in the current folder; return its exit status."""
    name, *rest = words
    arguments = make_parser(name).parse_args(rest)
    status: int = arguments.run(arguments)
    return status


def draw(folder: Path, seed: int, count: int) -> Path:
    """Write stripes as images of 16 pixels a side, in a folder for each direction."""
    random = np.random.default_rng(seed)
    for name, degrees in DIRECTIONS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw_stripes(degrees, 16, DIFFICULTY, random)
            Image.fromarray(pixels[0]).save(folder / name / f"{number}.png")
    return folder


def export(project: Path, split: str, folder: Path) -> Path:
    """Write the workshop's prepared images of a split as files."""
    dataset = read_prepared(project / "data/prepare/workshop")
    images = open_packed(project / "data/prepare/workshop/images.npy")
    folder.mkdir(parents=True)
    for row in dataset.rows(split):
        Image.fromarray(images[row][0]).save(folder / f"{row}.png")
    return folder


def conditions(report: Path) -> dict[str, tuple[str, str]]:
    """Return the outcome and the reason of each condition of a report."""
    content = json.loads(report.read_text())["conditions"]
    return {entry["condition"]: (entry["outcome"], entry["reason"]) for entry in content}


def figures(project: Path, task: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(
        (project / f"evidence/{task}/data/metrics.json").read_text()
    )["current"]
    return metrics


def test_claims_policy_and_other_data_at_the_cheap_tiers(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the revision runs; the weights come from the cache of the repository."""
    monkeypatch.chdir(prepared)
    accuracy = figures(prepared, "workshop")["accuracy"]
    frechet = figures(prepared, "generative")["frechet_test"]
    stripes = draw(tmp_path / "stripes", 99, 40)
    rows = [[f"the food was {word}", label] for word, label in _words() for _ in range(1)]
    (tmp_path / "reviews.csv").write_text(to_csv_text([["text", "label"], *rows]), newline="")
    export(prepared, "test", tmp_path / "clean")
    export(prepared, "train", tmp_path / "leaked")
    policy = {
        "tier": "metrics",
        "claims": [f"generative frechet_test <= {frechet + 0.001}"],
        "min_confidence": 0.95,
        "required_seeds": [0, 1],
        "tasks": ["workshop"],
        "allowed_code": [],
        "official_test_data": {"workshop": {"path": "clean", "near_duplicate": 0.0}},
    }
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    report = tmp_path / "v.json"
    options = [
        *("verify", "--policy", str(tmp_path / "policy.yaml"), "--json", str(report)),
        *("--claim", f"workshop accuracy == {accuracy}"),
        *("--claim", "workshop accuracy >= 0.4"),
        *("--data", f"workshop={stripes}", "--data", f"sentiment={tmp_path / 'reviews.csv'}"),
    ]
    status = evidence(*options)
    answers = conditions(report)
    outcomes = {name: outcome for name, (outcome, _) in answers.items()}
    on_stripes = "claim on other data: workshop accuracy"
    assert outcomes[f"claim: workshop accuracy == {accuracy}"] == "holds"
    assert "recomputed from the predictions in git" in answers["claim: workshop accuracy >= 0.4"][1]
    assert outcomes[f"claim: generative frechet_test <= {frechet + 0.001}"] == "holds"
    assert outcomes[f"{on_stripes} >= 0.4"] == "holds"
    assert "n 120; seed 0" in answers[f"{on_stripes} >= 0.4"][1]
    assert "sentiment on other data: as the committed accuracy" in outcomes
    assert outcomes["policy: allowed code"] == "holds"
    assert outcomes["policy: workshop min_confidence"] == "holds"
    assert outcomes["policy: workshop required_seeds"] == "holds"
    assert outcomes["policy: workshop official_test_data"] == "holds"
    failing = [name for name, outcome in outcomes.items() if outcome == "does not hold"]
    assert status == (1 if failing else 0)
    assert set(failing) <= {
        f"{on_stripes} == {accuracy}",
        "sentiment on other data: as the committed accuracy",
    }
    policy["official_test_data"]["workshop"]["path"] = "leaked"  # type: ignore[index]
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    assert evidence("verify", "--policy", str(tmp_path / "policy.yaml"), "--json", str(report)) == 1
    outcome, reason = conditions(report)["policy: workshop official_test_data"]
    assert outcome == "does not hold"
    count = len(read_prepared(prepared / "data/prepare/workshop").rows("train"))
    assert f"{count} are among the {count} of the test data" in reason


def _words() -> list[tuple[str, str]]:
    good = ["lovely", "excellent", "great", "wonderful", "perfect"]
    bad = ["awful", "terrible", "boring", "bland", "horrible"]
    return [*((word, "positive") for word in good), *((word, "negative") for word in bad)]


def test_statements_name_weights_and_data_and_disturb_nothing(
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(prepared)
    machine = (prepared / "evidence/machine.json").read_bytes()
    path = tmp_path / "result.json"
    options = ("--only", "workshop", "--attest", str(path), "--record", "lab")
    assert evidence("verify", "--tier", "predictions", *options) == 0
    content = json.loads(path.read_text())
    subjects = {subject["name"]: subject["digest"] for subject in content["subject"]}
    note = json.loads((prepared / "evidence/workshop/data/dataset_note.json").read_text())
    assert subjects["raw data of workshop"] == {"sha256": note["raw_sha256"]}
    assert "data/train/workshop/weights-0.safetensors" in subjects
    assert content["predicate"]["result"] == "PASSED"
    assert content["predicate"][EXTENSION]["who"] == "lab"
    capsys.readouterr()
    assert evidence("attestation", "check", str(path)) == 2  # there is no signature to check
    output = capsys.readouterr().out
    for name in subjects:
        assert f"right: {name}: " in output
    weights = prepared / "data/train/workshop/weights-0.safetensors"
    weights.unlink()
    shutil.copy(weights.with_name("weights-1.safetensors"), weights)
    assert evidence("attestation", "check", str(path)) == 1
    assert f"wrong: {weights.relative_to(prepared)}: another digest" in capsys.readouterr().out
    run(prepared, "git", "add", "evidence/reproductions")
    commit(prepared, "recorded")
    assert evidence("verify", "--tier", "metrics") == 0
    assert (prepared / "evidence/machine.json").read_bytes() == machine
    assert "lab" in (prepared / "evidence/reproductions/README.md").read_text()
    run(prepared, "dvc", "checkout", "--quiet", "--force")
    run(prepared, "dvc", "repro", "--quiet")
    assert run(prepared, "git", "status", "--porcelain").stdout == ""
