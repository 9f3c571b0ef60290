"""`evidence experiment`: which changes are refused, what is logged, and what is kept."""

import json
from pathlib import Path

import pandas as pd
import pytest
from support.project import ROOT, TASKS, commit, default_task, read_params, run

from stages.core.errors import UserError
from stages.tools import dvc_experiments, experiment
from stages.tools.dvc_experiments import experiment_name
from stages.tools.experiment import (
    Change,
    LogRow,
    append_to_log,
    check_change,
    parse_change,
    proposed_change,
    read_log,
    try_change,
)

LOG = "evidence/workshop/experiments.csv"
COMMAND = ("python", "-m", "stages.tools", "experiment", "workshop")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("train.epoch=3", "train.epoch: unknown key; the nearest known key is 'epochs'"),
        ("train.epochs=many", "tasks.workshop.train.epochs: given 'many'; must be a valid integer"),
        ("train.epochs=12", "tasks.workshop.train.epochs: is 12 already; give another value"),
        ("tasks.workshop.train.epochs=12", "tasks.workshop.train.epochs: is 12 already"),
        ("train.seeds=[1]", "results before and after would not be comparable"),
        ("prepare.stripes.difficulty=0.1", "results before and after would not be comparable"),
        ("evaluate.confidence=0.5", "results before and after would not be comparable"),
        ("train.epochs=[", "must be a value as in YAML"),
        ("train.epochs.extra=1", "no such key"),
    ],
)
def test_a_change_without_a_result_is_refused(
    argument: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    task = default_task("workshop")
    with pytest.raises(UserError) as error:
        check_change(parse_change(task, [argument]), task)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "arguments", [[], ["train.epochs=3", "train.batch_size=8"], ["train.epochs"]]
)
def test_exactly_one_param_is_changed(arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"change one param|must be KEY=VALUE"):
        parse_change(default_task("workshop"), arguments)


@pytest.mark.parametrize(
    ("value", "written"), [("1e-3", "0.001"), ("0.00001", "1e-05"), ("2", "2")]
)
def test_a_number_is_handed_to_dvc_as_yaml_reads_it(
    value: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    change = Change("tasks.workshop.train.learning_rate", value)
    assert str(check_change(change, default_task("workshop"))) == f"{change.key}={written}"


@pytest.mark.parametrize("name", TASKS)
def test_the_change_that_the_pack_proposes_can_be_tried(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    change, why = proposed_change(default_task(name))
    assert why
    assert change.key.startswith(f"tasks.{name}.")
    check_change(change, default_task(name))


def test_rows_are_appended_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = LogRow("2026-01-01", "a=1", "=1+1", "", "", 'failed: "broken", twice', "no")
    for _ in range(3):
        append_to_log(default_task("workshop"), row)
    table = read_log(default_task("workshop"))
    assert table["verdict"].tolist() == [row.verdict] * 3
    assert table["why"].tolist() == ["=1+1"] * 3
    assert (tmp_path / LOG).read_text().count(",'=1+1,") == 3  # no formula for a spreadsheet
    (tmp_path / LOG).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="must have the columns date, change, why"):
        read_log(default_task("workshop"))


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the data folder of a pack, in a repository, of validation samples that are all wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    data = tmp_path / "evidence/workshop/data"
    data.mkdir(parents=True)
    (data / "params.json").write_text(json.dumps(default_task("workshop").params.model_dump()))
    pd.DataFrame({"id": range(100), "label": 1, "seed_0": 0}).to_csv(
        data / "validation_predictions.csv", index=False
    )
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "before")
    return data


@pytest.mark.parametrize(("keep", "predicted"), [(True, 1), (False, 1), (True, 0)])
def test_only_a_better_change_is_kept(
    pack: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, predicted: int
) -> None:
    change = Change("tasks.workshop.train.epochs", "16")
    name = experiment_name(change)
    path = pack / "validation_predictions.csv"
    before = path.read_text()
    path.write_text(before.replace(",0\n", f",{predicted}\n"))
    commit(pack, "after")
    run(pack, "git", "update-ref", f"refs/exps/12/34/{name}", "HEAD")
    path.write_text(before)
    calls: list[tuple[str, ...]] = []

    def dvc(*arguments: str) -> list[str]:
        calls.append(arguments)
        return []

    monkeypatch.setattr(experiment, "run_experiment", lambda *_: (name, ""))
    monkeypatch.setattr(dvc_experiments, "run_dvc", dvc)
    row = try_change(default_task("workshop"), change, "more epochs", keep=keep)
    better = predicted == 1
    assert (row.before, row.after) == (
        "accuracy 0.0000 (n 100)",
        f"accuracy {predicted:.4f} (n 100)",
    )
    assert (row.verdict == "better") is better
    assert row.kept == ("yes" if keep and better else "no")
    assert calls == ([("exp", "apply", name)] if keep and better else [])


def test_a_failed_run_is_logged_and_a_missing_reference_is_an_error(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Change("tasks.workshop.train.epochs", "16")
    monkeypatch.setattr(experiment, "run_experiment", lambda *_: ("name", "check@workshop: broken"))
    row = try_change(default_task("workshop"), change, "x", keep=True)
    assert (row.verdict, row.after, row.kept) == ("failed: check@workshop: broken", "", "no")
    monkeypatch.setattr(experiment, "run_experiment", lambda *_: ("name", ""))
    with pytest.raises(UserError, match="DVC has no experiment 'name'"):
        try_change(default_task("workshop"), change, "x", keep=True)


def test_a_pack_of_other_params_is_no_result_before_the_change(pack: Path) -> None:
    path = pack / "params.json"
    path.write_text(path.read_text().replace('"batch_size": 32', '"batch_size": 16'))
    with pytest.raises(UserError, match="other params; run dvc repro pack@workshop first"):
        try_change(
            default_task("workshop"), Change("tasks.workshop.train.epochs", "9"), "x", keep=False
        )


@pytest.mark.xdist_group("chain")
def test_a_change_that_breaks_training_is_logged(prepared: Path) -> None:
    (prepared / LOG).unlink(missing_ok=True)  # the project's own experiments
    commit(prepared, "no experiments")
    output = run(prepared, *COMMAND, "train.learning_rate=1000", "--why", "to see it break").stdout
    assert "change: tasks.workshop.train.learning_rate=1000\n" in output
    assert "verdict: failed: check@workshop: one small batch can be overfitted" in output
    assert pd.read_csv(prepared / LOG)["kept"].tolist() == ["no"]
    assert run(prepared, "git", "status", "--short").stdout.split() == ["??", LOG]


@pytest.mark.long
@pytest.mark.xdist_group("chain")
def test_a_better_change_is_applied_and_can_be_tried_again(prepared: Path) -> None:
    arguments = ("train.epochs=16", "--why", "four epochs are too few", "--keep")
    for _ in range(2):
        commit(prepared, "4 epochs")
        output = run(prepared, *COMMAND, *arguments).stdout
        assert "verdict: better\nkept: yes" in output
        assert read_params(prepared)["tasks"]["workshop"]["train"]["epochs"] == 16
        packed = json.loads((prepared / "evidence/workshop/data/params.json").read_text())
        assert packed["train"]["epochs"] == 16
        run(prepared, "git", "checkout", "--quiet", ".")
    names = run(prepared, "dvc", "exp", "list", "--name-only").stdout.split()
    assert [name.startswith("workshop-train-epochs-16-") for name in names] == [True]
