"""The fault kit: every fault still applies, each check that names one has a good and a bad case."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, copied, refused, run
from torch import Tensor, nn

from stages.faults import kinds, plant
from stages.shared import checks
from stages.shared.alarms import hold_to_log, label_noise, mean_loss
from stages.shared.planted import FAULTS, IMAGES, Edit, Fault
from stages.shared.refusal import Refusal
from stages.tasks.generative.evaluate import copying

TASKS = kinds(ROOT)


# --- planting
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_applies_to_the_code_as_it_is(fault: Fault, task: str, tmp_path: Path) -> None:
    for folder in ("stages", "metrics"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, tmp_path)
    if not fault.of(TASKS[task]):
        with pytest.raises(Refusal, match="makes no sense for"):
            plant(fault, tmp_path, task)
        return
    plant(fault, tmp_path, task)
    for edit in fault.of(TASKS[task]):
        file = edit.file.format(task=task)
        changed = (tmp_path / file).read_text()
        assert changed != (ROOT / file).read_text()
        if file.endswith(".py"):
            compile(changed, file, "exec")


@pytest.mark.parametrize("text", ["none of it", "twice twice"])
def test_a_fault_that_no_longer_applies_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "code.py").write_text(text)
    with pytest.raises(Refusal, match=r"code\.py: 'twice' is there [02] times, must be once"):
        Edit("code.py", "twice", "once").apply(tmp_path, "image")


def test_each_fault_fits_a_task_and_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(any(map(fault.of, TASKS.values())) for fault in FAULTS)


@pytest.mark.parametrize("quiet", [True, False])
def test_a_planted_clone_tells_only_what_it_may(tmp_path: Path, quiet: bool) -> None:
    where = copied(tmp_path / "project")
    options = ["--quiet"] if quiet else []
    command = ("python", "-m", "stages.faults", "plant", "hash-seed", "--into", "../found")
    said = run(where, *command, *options).stdout
    clone = tmp_path / "found"
    assert "hash(text)" in (clone / "stages/shared/runtime.py").read_text()
    assert "hash(text)" not in (where / "stages/shared/runtime.py").read_text()
    assert said.endswith(f"cd {clone} && dvc repro --glob '*@image'\n")
    changed = run(clone, "git", "status", "--short").stdout
    if quiet:
        assert "hash" not in said
        assert changed == ""
        assert run(clone, "git", "rev-list", "--count", "HEAD").stdout == "1\n"
    else:
        assert "hash" in said
        assert changed == " M stages/shared/runtime.py\n"
    assert "is there already" in refused(where, *command)


# --- the loop
def test_two_steps_go_as_by_hand() -> None:
    assert checks.steps_by_hand() == checks.Check(
        "the loop steps as by hand", held=True, saw="one weight went 1 → 1.4 → 1.04"
    )


def test_a_loop_that_keeps_old_gradients_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks._Descent, "zero_grad", lambda _: None)
    found = checks.steps_by_hand()  # the second gradient is -4 + 7.2
    assert not found.held
    assert "1 → 1.4 → 1.24" in found.saw


def test_a_loss_without_a_way_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def detached(_: checks._OneProcess, loss: Tensor) -> None:
        loss.detach().backward()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(checks._OneProcess, "backward", detached)
    found = checks.steps_by_hand()
    assert not found.held
    assert "does not require grad" in found.saw


# --- seeds
def test_seeds_are_the_same_elsewhere() -> None:
    assert checks.seeds_elsewhere().held


def test_seeds_by_hash_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "seed_for", lambda *purpose: hash(str(purpose)) % 2**48)
    assert not checks.seeds_elsewhere().held


# --- scale, shapes
@pytest.mark.parametrize(
    ("mean", "deviation", "held"),
    [(0.0, 1.0, True), (2.7, 0.2, True), (78.0, 96.0, False), (0.0, 0.004, False)],
)
def test_the_first_layer_is_given_numbers_near_0(mean: float, deviation: float, held: bool) -> None:
    batch = torch.tensor([-1.0, 1.0]).repeat(32).view(16, 1, 2, 2) * deviation + mean
    found = checks.scaled(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2)), batch)
    assert found.held is held
    assert found.saw.startswith(f"0 is given numbers with mean {mean:.3g}, ")


def test_what_a_model_does_to_its_inputs_first_counts() -> None:
    class Hundredfold(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * 100

    batch = torch.tensor([-1.0, 1.0]).repeat(32).view(16, 4)
    assert checks.scaled(nn.Linear(4, 2), batch).held
    assert not checks.scaled(nn.Sequential(Hundredfold(), nn.Linear(4, 2)), batch).held


def test_a_layer_that_cannot_take_what_it_is_given_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(2, 1))
    with pytest.raises(Refusal, match=r"every layer: 1 \(Linear\(.*cannot take \(5, 3\): "):
        checks.shapes(model, torch.zeros(5, 4))


# --- weights and their log
def _log(loss: float) -> pd.DataFrame:
    return pd.DataFrame({"seed": [7, 7], "epoch": [0, 1], "validation_loss": [9.0, loss]})


HALVES = np.full((4, 2), 0.5, dtype=np.float32)  # a loss of ln 2
ZEROS = np.zeros(4, dtype=np.int64)


def test_weights_that_give_the_logged_loss_pass() -> None:
    assert mean_loss(HALVES, ZEROS) == pytest.approx(np.log(2))
    hold_to_log(np.log(2), _log(np.log(2)), 1, "32-true")
    hold_to_log(np.log(2), _log(np.log(2) * 1.04), 1, "bf16-mixed")


@pytest.mark.parametrize("loss", [np.log(2) * 1.01, np.log(2) * 0.99])
def test_weights_that_give_another_loss_are_refused(loss: float) -> None:
    with pytest.raises(Refusal, match=rf"seed 7 give 0\.6931 .* says {loss:.4f} at epoch 1"):
        hold_to_log(np.log(2), _log(loss), 1, "32-true")


# --- labels, copies
def _said(wrong: int, unsure: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of 200 samples, and labels that contradict them.

    Args:
        wrong: contradictions among the first 100, the surest.
        unsure: contradictions among the others.
    """
    sure = np.where(np.arange(200) < 100, 0.9, 0.6)
    labels = np.where((np.arange(200) < wrong) | (np.arange(200) >= 200 - unsure), 1, 0)
    return np.stack([sure, 1 - sure], axis=1), labels


def test_doubtful_samples_are_no_label_noise() -> None:
    assert label_noise(*_said(5), *_said(0)) == []


def test_mistakes_among_the_unsure_are_no_label_noise() -> None:
    assert label_noise(*_said(10, 35), *_said(10)) == []  # 10% of the surest, 22.5% of all
    assert label_noise(*_said(10, 34), *_said(10)) != []


def test_a_model_that_does_not_generalise_contradicts_nobody() -> None:
    assert label_noise(*_said(6), *_said(21)) == []


def test_labels_that_the_surest_contradict_are_an_alarm() -> None:
    (alarm,) = label_noise(*_said(6), *_said(20))
    assert alarm.name == "label noise"
    assert alarm.saw.startswith(
        "of the 100 training samples of which the model is surest, 6 (6.0%) are given "
        "another label (of all 8.0%; "
    )


def test_a_chosen_checkpoint_that_copies_is_an_alarm() -> None:
    reasons = ["", "coverage 0.1 is below 0.9 of 1.0", "recall 0.1; copied 1.000 is clearly above"]
    review = pd.DataFrame({"step": [1, 2, 3], "reason": reasons})
    assert copying(review, 1) == []
    assert copying(review, 2) == []
    assert [alarm.name for alarm in copying(review, 3)] == ["copies training images"]


# --- the real thing
def test_a_drill_finds_what_it_plants(tmp_path: Path) -> None:
    where = copied(tmp_path / "project")
    task = next(name for name, kind in TASKS.items() if kind == IMAGES)
    for fault in ("missing-zero-grad", "writer-leak"):
        options = ("--task", task, "--fault", fault, "--clean", "0")
        table = run(where, "python", "-m", "stages.faults", "drill", *options).stdout
        assert f"| {fault} | {task} | found | check@{task}: " in table
    assert run(where, "git", "status", "--short").stdout == ""


def test_a_drill_that_misses_ends_with_1(tmp_path: Path) -> None:
    where = copied(tmp_path / "project")
    blind = where / "stages/shared/checks.py"
    asked = "return [steps_by_hand(), seeds_elsewhere()]"
    assert asked in blind.read_text()
    blind.write_text(blind.read_text().replace(asked, "return [seeds_elsewhere()]"))
    run(where, "git", "commit", "--quiet", "--all", "--message", "without the check")
    options = ("--task", "image", "--fault", "missing-zero-grad", "--clean", "0")
    table = run(where, "python", "-m", "stages.faults", "drill", *options, status=1).stdout
    assert "| missing-zero-grad | image | **missed** | nothing | " in table


def test_the_drill_in_the_docs_is_of_these_faults_and_tasks_and_went_well() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in (ROOT / "docs/faults.md").read_text().split("\n")
        if line.startswith("| ")
    ][2:]
    planted = {(name, task) for name, task, *_ in rows if not name.startswith("none")}
    assert planted == {
        (fault.name, task) for fault in FAULTS for task, kind in TASKS.items() if fault.of(kind)
    }
    clean = [(task, result) for name, task, result, *_ in rows if name.startswith("none")]
    assert all(sum(task == one for one, _ in clean) >= 3 for task in TASKS)
    assert {result for _, result in clean} == {"silent"}
    assert {result for name, _, result, *_ in rows if not name.startswith("none")} == {"found"}
