"""A few cases of each part of the measurement; `make reliability` runs all of them."""

import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support.project import change_params

from reliability.bad_input import mutated_data, mutated_params
from reliability.circumstances import (
    circumstances,
    try_circumstance,
    try_full_disk,
    try_two_at_once,
)
from reliability.kills import TARGETS, Project, kill_pipeline
from reliability.tool_kills import Tools, kill_experiment, kill_verify
from reliability.trials import Running, Trial

SEED = 1  # the measurement has 0


def problems(trials: Iterable[Trial]) -> list[str]:
    return [f"{trial.row}: {trial.case}: {trial.problem}" for trial in trials if trial.problem]


def test_mutated_params_get_a_line_and_change_nothing(tmp_path: Path) -> None:
    assert problems(mutated_params(tmp_path, 40, SEED, processes=False)) == []


def test_mutated_data_get_a_line_and_stay_as_they_are(tmp_path: Path) -> None:
    assert problems(mutated_data(tmp_path, 28, SEED)) == []


@pytest.mark.long
def test_more_mutated_params_also_through_dvc(tmp_path: Path) -> None:
    assert problems(mutated_params(tmp_path, 150, SEED + 1)) == []


@pytest.mark.long
def test_more_mutated_data(tmp_path: Path) -> None:
    assert problems(mutated_data(tmp_path, 105, SEED + 1)) == []


@pytest.mark.long
def test_kills_end_in_the_same_bytes_and_leave_nothing(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    tools = Tools.build(tmp_path / "tools")
    assert problems(kill_pipeline(tools.project, draw, target) for target in TARGETS * 2) == []
    assert problems(kill_verify(tools, draw, target) for target in TARGETS) == []
    assert problems(kill_experiment(tools, draw, target) for target in TARGETS) == []


@pytest.mark.long
@pytest.mark.xdist_group("chain")
def test_training_processes_end_with_a_killed_first_one(prepared: Path) -> None:
    def change(params: dict[str, Any]) -> None:
        params["runtime"].update(devices=2, threads=1)
        params["tasks"]["workshop"]["train"].update(epochs=100)

    change_params(prepared, change)
    command = (sys.executable, "-m", "stages.train", "workshop")
    for seconds in (0.0, 0.5, 3.0):  # while the second one starts, and while both train
        running = Running(prepared, command, prepared.parent / "scratch")
        while len(running.processes()) < 2:
            time.sleep(0.01)
        running.sleep(seconds)
        assert running.kill("command") == "the command alone"
        assert running.end_of_processes() is not None


@pytest.mark.long
def test_unfriendly_circumstances_are_survived_or_refused(tmp_path: Path) -> None:
    project = Project.build(tmp_path / "workshop", ("workshop",))
    names = {"umask 077", "a path with blanks, a quote and other letters", "no git identity"}
    chosen = [circumstance for circumstance in circumstances() if circumstance.name in names]
    assert len(chosen) == len(names)
    assert (
        problems(try_circumstance(project, circumstance, tmp_path) for circumstance in chosen) == []
    )
    assert problems([try_two_at_once(project, tmp_path)]) == []
    trial = try_full_disk(project, tmp_path, 0.3)
    assert problems([trial]) == []
    assert "same bytes" in trial.outcome or "not tried" in trial.outcome
