"""`evidence experiment`: which changes are refused, what is logged, and what is kept."""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from support.project import ROOT, TASKS, commit, default_task, read_params, run

from stages.core.errors import UserError
from stages.evaluation.experiment_log import LogRow, read_log
from stages.tools import dvc_experiments
from stages.tools.cli import make_parser
from stages.tools.dvc_experiments import Change, experiment_name
from stages.tools.experiment import describe_log, keep_change, try_change
from stages.tools.experiment_series import append_to_log
from stages.tools.param_changes import check_change, parse_change, parse_changes, proposed_change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        ("train.epochs=!!int ''", "must be a value as in YAML"),
        ("train.epochs=!!bool [1]", "must be a value as in YAML"),
        ("train.epochs.extra=1", "no such key"),
    ],
)
def test_a_change_without_a_result_is_refused(
    argument: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    task = default_task("workshop")
    with pytest.raises(UserError) as error:
        check_change(parse_change(task, argument), task)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train.epochs=3", "train.batch_size=8"],
        ["train.epochs=3", "train.epochs=3"],
        ["train.epochs"],
    ],
)
def test_exactly_one_param_is_changed(arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"change one param|must be KEY=VALUE"):
        parse_changes(default_task("workshop"), arguments)


def test_each_value_of_a_param_is_a_change() -> None:
    texts = ["train.epochs=3", "tasks.workshop.train.epochs=4"]
    key = "tasks.workshop.train.epochs"
    changes = parse_changes(default_task("workshop"), texts)
    assert changes == [Change(key, "3"), Change(key, "4")]


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


class Dvc:
    """DVC's experiments, without its pipeline: a run commits the predictions that `outcome` gives.

    Attributes:
        outcome: the settings KEY=VALUE of a run -> the predicted class of each validation sample; all true
            classes are 1. An error is the line on which the run fails.
        runs: the settings of each run.
        calls: the other commands.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.outcome: Callable[[list[str]], list[int] | UserError] = lambda _: WRONG
        self.runs: list[list[str]] = []
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str, **_: object) -> list[str]:
        if arguments[:2] == ("exp", "remove"):
            (reference,) = dvc_experiments.references(arguments[2])
            run(self.data, "git", "update-ref", "-d", reference)
        else:
            self.calls.append(arguments)
        return []

    def run_experiment(self, changes: "Sequence[Change]", *_: object) -> tuple[str, str]:
        name = experiment_name(changes)
        dvc_experiments.remove_experiment(name)
        self.runs.append([str(change) for change in changes])
        predicted = self.outcome(self.runs[-1])
        if isinstance(predicted, UserError):
            return name, str(predicted)
        write_predictions(self.data, predicted)
        run(self.data, "git", "commit", "--quiet", "--allow-empty", "-am", "experiment")
        run(self.data, "git", "update-ref", f"refs/exps/12/34/{name}", "HEAD")
        run(self.data, "git", "reset", "--quiet", "--hard", "HEAD~1")
        return name, ""


WRONG, RIGHT = [0] * 100, [1] * 100


def write_predictions(data: Path, predicted: list[int]) -> None:
    ids = [f"sample-{number}" for number in range(100)]
    table = pd.DataFrame({"id": ids, "group": ids, "label": 1, "seed_0": predicted})
    table.to_csv(data / "validation_predictions.csv", index=False)


@pytest.fixture
def dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dvc:
    """Return DVC in a repository with a pack, of which all validation samples are wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    data = tmp_path / "evidence/workshop/data"
    data.mkdir(parents=True)
    (data / "params.json").write_text(json.dumps(default_task("workshop").params.model_dump()))
    write_note(data)
    write_predictions(data, WRONG)
    (data / "predictions.csv").write_text("id,label\nsample-1000,1\n")
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "before")
    dvc = Dvc(data)
    monkeypatch.setattr(dvc_experiments, "run_dvc", dvc)
    monkeypatch.setattr(dvc_experiments, "run_experiment", dvc.run_experiment)
    return dvc


def write_note(data: Path, *official: str) -> None:
    note = {"raw_sha256": "0123456789abcdef", "official_splits": {"splits": official}}
    (data / "dataset_note.json").write_text(json.dumps(note))


CHANGE = Change("tasks.workshop.train.epochs", "16")
FRESH = "tasks.workshop.prepare.split.seed=1"


def try_and_keep(*, unconfirmed: bool = False) -> LogRow:
    task = default_task("workshop")
    row = try_change(task, CHANGE, "more epochs")
    return keep_change(task, row, unconfirmed=unconfirmed)


def test_a_change_is_compared_with_the_pack_and_counted(dvc: Dvc) -> None:
    dvc.outcome = lambda _: RIGHT
    row = try_change(default_task("workshop"), CHANGE, "more epochs")
    assert dvc.runs == [["tasks.workshop.train.epochs=16"]]
    assert (row.before, row.after) == ("accuracy 0.0000 (n 100)", "accuracy 1.0000 (n 100)")
    assert (row.verdict, row.kept, row.p) == ("better", "no", "1e-06")
    assert (row.try_number, row.required_p) == ("1", "0.05")
    assert (row.split_seed, row.data, row.test_evaluations) == ("0", "01234567", "2")


def test_a_try_needs_a_smaller_p_value_after_others(dvc: Dvc) -> None:
    """Six samples fixed and none broken: p = 2 / 2^6 = 0.03125."""
    dvc.outcome = lambda _: [1] * 6 + [0] * 94
    task = default_task("workshop")
    for number in range(1, 8):
        row = try_change(task, CHANGE, "more epochs")
        append_to_log(task, row)
        assert (row.try_number, row.p) == (str(number), "0.0312")
    assert row.verdict.endswith(": p 0.031 is not enough after 7 tries: needs p below 0.0018")
    table = read_log(Path(LOG))
    assert [verdict.partition(":")[0] for verdict in table["verdict"]] == [
        "better",
        *["underpowered"] * 6,
    ]
    assert table["try_number"].tolist() == list("1234567")
    # The same change on the same model is one evaluation of test data, beside the pack's.
    assert table["test_evaluations"].tolist() == ["2"] * 7


def test_a_change_is_kept_if_a_fresh_draw_confirms_it(dvc: Dvc) -> None:
    dvc.outcome = lambda settings: RIGHT if str(CHANGE) in settings else WRONG
    row = try_and_keep()
    assert dvc.runs == [[str(CHANGE)], [FRESH], [FRESH, str(CHANGE)]]
    assert (row.kept, row.confirmation_seed) == ("yes", "1")
    assert row.confirmation == (
        "better: accuracy 0.0000 (n 100) before, accuracy 1.0000 (n 100) after, p 1e-06"
    )
    assert dvc.calls == [("exp", "apply", experiment_name([CHANGE]))]
    assert len(dvc_experiments.references(experiment_name([CHANGE]))) == 1
    assert not dvc_experiments.references(experiment_name([Change(*FRESH.split("="))]))


def test_luck_that_a_fresh_draw_does_not_confirm_is_not_kept(dvc: Dvc) -> None:
    dvc.outcome = lambda settings: RIGHT if settings == [str(CHANGE)] else WRONG
    row = try_and_keep()
    assert (row.verdict, row.kept, row.confirmation_seed) == ("better", "no", "1")
    assert "accuracy 0.0000 (n 100) after, p 1" in row.confirmation
    assert dvc.calls == []
    append_to_log(default_task("workshop"), row)
    assert try_and_keep().confirmation_seed == "2"  # that draw is used up


def test_test_samples_confirm_nothing(dvc: Dvc) -> None:
    """Of the 90 samples that the change gains on the fresh draw, 88 are test samples of the present one."""
    tested = "".join(f"sample-{number},1\n" for number in range(88))
    (dvc.data / "predictions.csv").write_text(f"id,label\n{tested}")
    commit(dvc.data, "test samples")
    dvc.outcome = lambda settings: [1] * 90 + [0] * 10 if str(CHANGE) in settings else WRONG
    row = try_and_keep()
    assert (row.verdict, row.kept) == ("better", "no")
    assert row.confirmation.startswith("underpowered: accuracy 0.0000 (n 12) before")


def test_a_confirmation_that_fails_keeps_nothing(dvc: Dvc) -> None:
    dvc.outcome = lambda settings: UserError("train: broken") if FRESH in settings else RIGHT
    row = try_and_keep()
    assert (row.kept, row.confirmation) == ("no", "failed: train: broken")


def test_official_validation_data_allow_no_confirmation(dvc: Dvc) -> None:
    write_note(dvc.data, "train", "validation")
    commit(dvc.data, "official splits")
    dvc.outcome = lambda _: RIGHT
    row = try_and_keep()
    assert (row.kept, row.confirmation_seed) == ("no", "")
    assert row.confirmation.startswith("not possible: the validation data are official")
    assert len(dvc.runs) == 1
    row = try_and_keep(unconfirmed=True)
    assert (row.kept, row.confirmation) == ("yes", "not asked for (--unconfirmed)")
    assert len(dvc.runs) == 2


def test_a_failed_run_is_logged_and_a_missing_reference_is_an_error(
    dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = default_task("workshop")
    dvc.outcome = lambda _: UserError("check@workshop: broken")
    row = try_change(task, CHANGE, "x")
    assert (row.verdict, row.after, row.kept) == ("failed: check@workshop: broken", "", "no")
    assert (row.p, row.try_number, row.test_evaluations) == ("", "1", "1")
    append_to_log(task, row)
    assert try_change(task, CHANGE, "x").try_number == "2"
    monkeypatch.setattr(
        dvc_experiments, "run_experiment", lambda changes, *_: (experiment_name(changes), "")
    )
    with pytest.raises(UserError, match="DVC has no experiment 'workshop-train-epochs-16-"):
        try_change(task, CHANGE, "x")


def test_a_pack_of_other_params_is_no_result_before_the_change(dvc: Dvc) -> None:
    path = dvc.data / "params.json"
    path.write_text(path.read_text().replace('"batch_size": 32', '"batch_size": 16'))
    with pytest.raises(UserError, match="other params; run dvc repro pack@workshop first"):
        try_change(default_task("workshop"), CHANGE, "x")


def test_an_interrupted_confirmation_leaves_the_row(
    dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(settings: list[str]) -> list[int]:
        if FRESH in settings:
            raise KeyboardInterrupt
        return RIGHT

    dvc.outcome = outcome
    arguments = make_parser("experiment").parse_args(
        ["workshop", "train.epochs=16", "--why", "x", "--keep"]
    )
    with pytest.raises(KeyboardInterrupt):
        arguments.run(arguments)
    assert read_log(Path(LOG))[["verdict", "kept"]].to_numpy().tolist() == [["better", "no"]]


def test_the_list_says_where_the_series_stands(dvc: Dvc) -> None:
    task = default_task("workshop")
    append_to_log(task, try_change(task, CHANGE, "more\tepochs"))
    header, row, path, series, evaluations = describe_log(task)
    assert header.split() == [
        *("date", "try", "change", "before", "after", "p", "needs", "below", "verdict", "kept"),
        "expected",
    ]
    for heading, cell in (("change", "train.epochs=16 "), ("expected", "more epochs")):
        assert row[header.index(heading) :].startswith(cell)
    assert path == f"all columns: {LOG}"
    assert series == (
        "tries on the present validation data (split seed 0, data 01234567): 1; "
        "the next needs p below 0.017"
    )
    assert evaluations == "evaluations of the present test data, with different params: 2"


def test_unconfirmed_is_for_keep(dvc: Dvc) -> None:
    arguments = make_parser("experiment").parse_args(
        ["workshop", "train.epochs=16", "--why", "x", "--unconfirmed"]
    )
    with pytest.raises(UserError, match="--unconfirmed is for --keep"):
        arguments.run(arguments)


@pytest.mark.slow
def test_a_change_that_breaks_training_is_logged(small: Path, tmp_path: Path) -> None:
    prepared = shutil.copytree(small, tmp_path / "project", symlinks=True)
    (prepared / LOG).write_text("")  # without the project's experiments
    commit(prepared, "no experiments")
    done = run(prepared, *COMMAND, "train.learning_rate=1000", "--why", "to see it break")
    output, progress = done.stdout, done.stderr
    assert re.search(
        r"^ +\d+ s  check workshop: failed with exit status \d+$", progress, re.MULTILINE
    )
    assert re.search(r"^change +tasks.workshop.train.learning_rate=1000$", output, re.MULTILINE)
    failure = r"^verdict +failed: check@workshop: one small batch can be overfitted"
    assert re.search(failure, output, re.MULTILINE)
    assert pd.read_csv(prepared / LOG)["kept"].tolist() == ["no"]
    page = "evidence/workshop/index.html"
    changed = run(prepared, "git", "diff", "--name-only").stdout.split()
    assert changed == ["dvc.lock", "evidence/workshop/README.md", LOG, page]
    assert "train.learning_rate=1000" in (prepared / page).read_text()
    assert run(prepared, "dvc", "status", "--quiet").returncode == 0


@pytest.mark.long
@pytest.mark.xdist_group("chain")
def test_a_better_change_is_applied_and_can_be_tried_again(prepared: Path) -> None:
    arguments = ("train.epochs=16", "--why", "four epochs are too few", "--keep")
    for _ in range(2):
        commit(prepared, "4 epochs")
        output = run(prepared, *COMMAND, *arguments).stdout
        assert re.search(r"^verdict +better\nkept +yes$", output, re.MULTILINE)
        confirmed = r"^confirmation seed +1\nconfirmation +better: accuracy "
        assert re.search(confirmed, output, re.MULTILINE)
        assert read_params(prepared)["tasks"]["workshop"]["train"]["epochs"] == 16
        packed = json.loads((prepared / "evidence/workshop/data/params.json").read_text())
        assert packed["train"]["epochs"] == 16
        run(prepared, "git", "checkout", "--quiet", ".")
    names = run(prepared, "dvc", "exp", "list", "--name-only").stdout.split()
    assert [name.startswith("workshop-train-epochs-16-") for name in names] == [True]
