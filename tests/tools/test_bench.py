"""`evidence bench`: the columns that it reads from metrics, and the arguments that it refuses."""

import json
from pathlib import Path

import pytest
from support.project import ROOT, TASKS, default_task, read_params, with_frozen_features

from stages.core.errors import UserError
from stages.kinds.params import check_params, load_params, load_tasks
from stages.kinds.registry import KINDS
from stages.tools.bench import TASK_GOALS, lock_dependencies
from stages.tools.cli import make_parser
from stages.tools.jobs.site import open_site
from stages.tools.repeats import (
    describe_outperforming,
    results,
    run_repeats,
    select_figures,
    variation,
)
from stages.tools.scratch import change_params, link_local_inputs


@pytest.mark.parametrize("name", TASKS)
def test_the_columns_of_a_kind_are_in_its_metrics(name: str) -> None:
    metrics = json.loads((ROOT / f"evidence/{name}/data/metrics.json").read_text())
    kind = KINDS[default_task(name).kind]
    figures = select_figures(metrics, kind.bench.columns)
    assert isinstance(figures[kind.bench.summary], float)
    assert figures["verdict"] == metrics["current"]["improvement"]["verdict"]
    assert kind.name in TASK_GOALS


def test_the_order_of_stages_is_that_of_the_lock() -> None:
    lock = {
        "stages": {
            "raw": {"outs": [{"path": "data/raw"}]},
            "fit": {"deps": [{"path": "data/raw/a.csv"}], "outs": [{"path": "data/fit/a"}]},
            "page": {"deps": [{"path": "data/fit"}, {"path": "data/rawest"}]},
        }
    }
    assert lock_dependencies(lock) == {"raw": set(), "fit": {"raw"}, "page": {"fit"}}


def test_a_star_gives_a_column_for_each_key() -> None:
    metrics = {"n": 3, "baselines": {"linear": {"accuracy": 0.5}, "prior": {"accuracy": 0.25}}}
    columns = {"n": "n", "accuracy of *": "baselines.*.accuracy"}
    assert select_figures(metrics, columns) == {
        "n": 3,
        "accuracy of linear": 0.5,
        "accuracy of prior": 0.25,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "1"], "--repeats: given 1; must be at least 2"),
        (["--repetitions", "0"], "--repetitions: given 0; must be at least 1"),
        (["--task", "image", "--pipeline"], "give either --task or --pipeline"),
        (["--on", "local", "--pipeline"], "give either --on or --pipeline"),
        (["--task", "images"], "given task 'images'; must be one of image"),
    ],
)
def test_an_argument_that_is_not_allowed_is_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    values = make_parser("bench").parse_args(arguments)
    with pytest.raises(UserError, match=message):
        values.run(values)


def test_a_repeat_has_a_split_and_a_training_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for name in TASKS:
        change_params(tmp_path, name, variation(7))
    for name, task in load_tasks(check_params(read_params(tmp_path))).items():
        assert (task.params.prepare.split.seed, task.params.train.seeds) == (7, [7])
        if name == "workshop":
            assert task.params.baseline.flatten_linear.seed == 7


def test_the_chance_to_outperform_is_said_with_its_interval() -> None:
    text = describe_outperforming([0.1] * 5 + [0.0], 0.95)
    assert text.startswith(
        "P(model > strongest baseline): 0.92, 95% interval 0.52 to 0.99, from 5 wins and 1 ties, which "
        "count half, in 6 repeats: better, and meaningfully so."
    )
    assert "who recommend 29 repeats" in text


@pytest.mark.long
@pytest.mark.xdist_group("chain")
def test_results_are_those_of_each_split_and_seed(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
    task = load_tasks()["workshop"]
    with open_site("", "bench", load_params(), [task]) as site:
        metrics = run_repeats([task], {task.name: 2}, site)
    text = results(task, KINDS[task.kind].bench, metrics["workshop"])
    rows = [line.split(" | ") for line in text.split("\n") if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| seed", "| ---", "| 0", "| 1"]
    assert rows[2][1:] != rows[3][1:]
    assert "over 2 repeats." in text
    assert "2 wins and 0 ties" in text


# --- scratch clones
def test_params_of_a_clone_are_changed_where_the_task_has_them(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    changes = {"train": {"epochs": 2, "scratch": {"layers": 1}}, "prepare": {"split": {"seed": 7}}}
    change_params(tmp_path, "image", changes)
    before, after = read_params(), read_params(tmp_path)
    before["tasks"]["image"]["train"]["epochs"] = 2
    before["tasks"]["image"]["prepare"]["split"]["seed"] = 7
    assert after == before


def test_data_that_git_does_not_have_are_linked_into_a_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, clone = tmp_path / "project", tmp_path / "clone"
    params = read_params()
    with_frozen_features(params["tasks"]["image"], "start.safetensors")
    task = load_tasks(check_params(params))["image"]
    (project / task.params.prepare.path).mkdir(parents=True)
    (project / "start.safetensors").touch()
    clone.mkdir()
    monkeypatch.chdir(project)
    link_local_inputs(clone, task)
    assert (clone / "start.safetensors").resolve() == project / "start.safetensors"
    link = clone / task.params.prepare.path
    assert link.resolve() == project / task.params.prepare.path
    link.unlink()
    link.mkdir()
    link_local_inputs(clone, task)  # what git has stays
    assert not link.is_symlink()
