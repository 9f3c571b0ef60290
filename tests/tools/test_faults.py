"""The fault catalogue: every patch applies, and the checks detect what is injected."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT, TASKS, commit, copy_project, default_task, run

from stages.core.errors import UserError
from stages.kinds.registry import KINDS
from stages.tools.cli import make_parser
from stages.tools.faults import command
from stages.tools.faults.catalogue import FAULTS, Fault, patches
from stages.tools.faults.injection import applies, apply_patch, forge_metric, inject, patch_file
from stages.tools.faults.trials import CheckOutput, TaskTrials

BY_NAME = {fault.name: fault for fault in FAULTS}
EXPECTED = {  # the faults that do not apply to every task
    "unscaled-inputs": {"image", "generative", "workshop"},
    "group-leak": {"image", "sentiment"},
    "test-set-selection": {"image", "sentiment", "workshop"},
    "label-noise": {"image", "sentiment", "workshop"},
    "memorisation": {"generative"},
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the code; a test leaves it as it was."""
    folder = tmp_path_factory.mktemp("code")
    ignored = shutil.ignore_patterns("__pycache__", "patches")
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project, committed, in which the loop is not checked."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    path = folder / "stages/training/sanity_checks/code.py"
    checks = "[check_loop_steps(), check_seeds()]"
    assert checks in path.read_text()
    path.write_text(path.read_text().replace(checks, "[check_seeds()]"))
    commit(folder, "without the check of the loop")
    return folder


# --- the catalogue
def hunks(patch: Path) -> Iterator[tuple[str, str]]:
    """Yield the file of each hunk of a patch, and the text that the hunk replaces, with its context."""
    file = ""
    for part in re.split(r"^(?=--- |@@ )", patch.read_text(), flags=re.MULTILINE):
        if part.startswith("--- a/"):
            file = part.split("\n")[0].removeprefix("--- a/")
        elif part.startswith("@@"):
            lines = part.split("\ndiff ")[0].split("\n")[1:]
            yield file, "".join(f"{line[1:]}\n" for line in lines if line.startswith((" ", "-")))


@pytest.mark.parametrize("patch", list(patches()), ids=lambda patch: patch.stem)
def test_a_patch_applies_in_one_place_and_gives_valid_code(patch: Path, code: Path) -> None:
    files = {file for file, _ in hunks(patch)}
    before = {file: (code / file).read_text() for file in files}
    for file, text in hunks(patch):
        assert before[file].count(text) == 1, f"{file}:\n{text}"
    apply_patch(patch, code)
    for file in files:
        changed = (code / file).read_text()
        assert changed != before[file]
        compile(changed, file, "exec")
    subprocess.run(["git", "apply", "-R", str(patch)], cwd=code, check=True)
    assert {file: (code / file).read_text() for file in files} == before


def test_each_fault_has_a_patch_for_each_of_its_kinds_and_no_patch_is_unused() -> None:
    assert len(BY_NAME) == len(FAULTS)
    used = set()
    for fault in FAULTS:
        assert set(fault.kinds) <= set(KINDS)
        assert set(fault.own_params) <= set(fault.kinds)
        if not fault.forgery:
            used |= {fault.patch(kind, KINDS[kind].modality) for kind in fault.kinds}
    assert used == set(patches())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_applies_to_the_tasks_in_which_it_shows(fault: Fault) -> None:
    tasks = {name for name in TASKS if applies(fault, default_task(name), ROOT)}
    assert tasks == EXPECTED.get(fault.name, set(TASKS))


# --- injecting
def test_a_patch_that_no_longer_applies_is_one_line_of_advice(tmp_path: Path) -> None:
    (tmp_path / "stages/core").mkdir(parents=True)
    (tmp_path / "stages/core/runtime.py").write_text("seed = 0\n")
    patch = patch_file(BY_NAME["hash-seed"], default_task("image"))
    with pytest.raises(UserError) as error:
        apply_patch(patch, tmp_path)
    assert str(error.value).startswith(
        "hash-seed.all.patch does not apply to the code (git apply: "
    )
    assert str(error.value).endswith("as stages/tools/faults/catalogue.py describes")
    assert "\n" not in str(error.value)


def test_a_patch_applies_below_another_repository(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    path = tmp_path / "scratch/stages/core/runtime.py"
    path.parent.mkdir(parents=True)
    shutil.copy(ROOT / "stages/core/runtime.py", path)
    apply_patch(patch_file(BY_NAME["hash-seed"], default_task("image")), tmp_path / "scratch")
    assert "hash(text)" in path.read_text()


@pytest.mark.parametrize("in_lock", [True, False])
def test_a_forged_metric_is_better_and_may_be_in_the_lock(tmp_path: Path, in_lock: bool) -> None:
    (tmp_path / "metrics").mkdir()
    path, lock = tmp_path / "metrics/metrics.json", tmp_path / "dvc.lock"
    path.write_text('{"image": {"accuracy": 0.5, "n": 10}}\n')
    lock.write_text(f"md5: {hashlib.md5(path.read_bytes()).hexdigest()}\n")  # noqa: S324
    before = lock.read_text()
    forge_metric(tmp_path, "image", in_lock=in_lock)
    assert json.loads(path.read_text())["image"] == {"accuracy": 0.51, "n": 10}
    digest = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324
    assert lock.read_text() == (f"md5: {digest}\n" if in_lock else before)
    if in_lock:
        lock.write_text("")
        with pytest.raises(UserError, match="does not have the hash"):
            forge_metric(tmp_path, "image", in_lock=True)


def test_a_fault_that_does_not_apply_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="memorisation does not apply to task image"):
        inject(BY_NAME["memorisation"], default_task("image"), tmp_path)


@pytest.mark.parametrize("quiet", [True, False])
def test_a_clone_shows_its_fault_only_if_it_may(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet: bool,
) -> None:
    monkeypatch.chdir(project)
    clone = tmp_path / "clone"
    command.inject_fault("hash-seed", None, clone, quiet=quiet)
    output = capsys.readouterr().out
    assert "hash(text)" in (clone / "stages/core/runtime.py").read_text()
    assert "hash(text)" not in (project / "stages/core/runtime.py").read_text()
    assert output.endswith(f"cd {clone} && dvc repro --glob '*@image'\n")
    assert ("hash" in output) is not quiet
    changed = run(clone, "git", "status", "--short").stdout
    assert changed == ("" if quiet else " M stages/core/runtime.py\n")
    if quiet:
        assert run(clone, "git", "rev-list", "--count", "HEAD").stdout == "1\n"
    with pytest.raises(UserError, match="is there already"):
        command.inject_fault("hash-seed", None, clone, quiet=quiet)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("hash-sed", None, "given fault 'hash-sed'; must be one of shape-mismatch"),
        ("hash-seed", "images", "given task 'images'; must be one of image"),
        ("memorisation", "image", "memorisation applies to no task of image"),
    ],
)
def test_an_unknown_name_is_refused(
    name: str, task: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=message):
        command.select_fault(name, task)


def test_a_random_fault_applies_to_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    faults = {command.select_fault("any", "generative")[0].name for _ in range(40)}
    assert len(faults) > 1
    assert faults.isdisjoint({"group-leak", "label-noise", "test-set-selection"})


# --- running
@pytest.mark.long
def test_a_trial_detects_a_fault_unless_its_check_is_gone(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    faults = [BY_NAME["missing-zero-grad"], BY_NAME["group-leak"]]
    assert not command.print_trials({"image": default_task("image")}, faults, [])
    table = capsys.readouterr().out
    assert "| missing-zero-grad | image | **missed** | nothing | " in table
    assert "| group-leak | image | detected | check@image: no group across splits: " in table
    assert run(project, "git", "status", "--short").stdout == ""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (CheckOutput(), "nothing"),
        (CheckOutput(["evaluate@image: label noise"]), "evaluate@image: label noise"),
        (CheckOutput(stopped="train crashed: KilledError"), "train crashed: KilledError"),
    ],
)
def test_a_clean_trial_passes_only_in_silence(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    output: CheckOutput,
    line: str,
) -> None:
    monkeypatch.chdir(project)
    outputs = iter([CheckOutput(), output])  # of prepare in the base clone, and of the trial
    monkeypatch.setattr("stages.tools.faults.trials.run_stages", lambda *_: next(outputs))
    outcome = TaskTrials("image", tmp_path).run_clean(1)
    assert outcome.line == line
    assert outcome.passed is (line == "nothing")


def test_a_missed_fault_gives_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for passed, status in ((True, None), (False, 1)):
        monkeypatch.setattr(command, "print_trials", lambda *_, passed=passed: passed)
        arguments = make_parser("faults").parse_args(["run", "--task", "image", "--clean", "0"])
        assert arguments.run(arguments) == status


def test_the_report_in_the_docs_is_of_this_catalogue_and_all_trials_passed() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in (ROOT / "docs/faults.md").read_text().split("\n")
        if line.startswith("| ")
    ][2:]
    trials = {(name, task): result for name, task, result, *_ in rows}
    tasks = {task for _, task in trials}  # the report may be of single tasks
    assert tasks
    faults = {key: result for key, result in trials.items() if not key[0].startswith("none")}
    assert set(faults) == {
        (fault.name, name)
        for fault in FAULTS
        for name in tasks
        if applies(fault, default_task(name), ROOT)
    }
    assert set(faults.values()) == {"detected"}
    clean = {key: result for key, result in trials.items() if key not in faults}
    assert all(sum(name == task for _, task in clean) >= 3 for name in tasks)
    assert set(clean.values()) == {"silent"}
