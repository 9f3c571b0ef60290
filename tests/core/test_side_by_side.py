"""Training runs in processes of their own: at the same time, no more than there are slots, same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from reliability.trials import file_digests
from support.project import environment

from stages.core.errors import UserError
from stages.core.side_by_side import run_side_by_side
from stages.core.slots import VARIABLE, Slots

SECONDS = 20  # that a run waits for another


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "running").mkdir()


def _running() -> int:
    return sum(1 for _ in Path("running").iterdir())


def run_beside(name: str, others: int) -> Callable[[], None]:
    """Return a run that notes how many ran at the same time, once `others` do or some time has passed."""

    def run() -> None:
        (Path("running") / name).touch()
        deadline = time.monotonic() + (SECONDS if others else 0.3)
        while _running() <= others and time.monotonic() < deadline:
            time.sleep(0.01)
        Path(f"{name}.count").write_text(f"{_running()} {os.getpid()}")
        time.sleep(0.2)
        (Path("running") / name).unlink()

    return run


@pytest.mark.parametrize(("slots", "beside"), [(1, 0), (3, 2)])
def test_runs_fill_the_slots(monkeypatch: pytest.MonkeyPatch, slots: int, beside: int) -> None:
    monkeypatch.setenv(VARIABLE, str(slots))
    own_slot = Slots(slots).take()  # as of the program that runs this stage
    assert own_slot is not None
    assert [*run_side_by_side([run_beside(name, beside) for name in "abc"])] == [0, 0, 0]
    notes = [Path(f"{name}.count").read_text().split() for name in "abc"]
    assert max(int(count) for count, _ in notes) == beside + 1
    assert len({process for _, process in notes}) == 3
    assert str(os.getpid()) not in {process for _, process in notes}


def test_a_run_that_fails_leaves_the_others_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")  # one after the other

    def fail() -> None:
        raise UserError("not finite")

    assert [*run_side_by_side([fail, Path("finished").touch])] == [1, 0]
    assert Path("finished").exists()


def test_no_more_run_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    assert [*run_side_by_side([run_beside(name, 0) for name in "abc"], limit=2)] == [0, 0, 0]
    assert max(int(Path(f"{name}.count").read_text().split()[0]) for name in "abc") == 2


def test_a_killed_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")  # one after the other
    killed = partial(signal.raise_signal, signal.SIGKILL)
    assert [*run_side_by_side([killed, Path("finished").touch])] == [-signal.SIGKILL, 0]


def test_one_run_needs_no_process_of_its_own() -> None:
    assert not [*run_side_by_side([lambda: pytest.fail("it is called by the stage itself")])]


@pytest.mark.long
@pytest.mark.xdist_group("chain")
def test_the_number_of_processes_changes_no_byte(prepared: Path) -> None:
    digests = []
    for slots in ("1", "3"):
        shutil.rmtree(prepared / "data/train/workshop")
        command = [sys.executable, "-m", "stages.train", "workshop"]
        variables = {**environment(), VARIABLE: slots}
        subprocess.run(command, cwd=prepared, env=variables, check=True)
        digests.append(file_digests(prepared / "data/train/workshop"))
        assert not list((prepared / "data/resume").glob("workshop-*"))
    assert digests[0] == digests[1]
    assert sum(name.startswith("weights-") for name in digests[0]) > 1
