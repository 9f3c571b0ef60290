"""Slots: no more at a time than there are, and none that stays descriptors."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.core.slots import VARIABLE, Slots, core_count

HOLD = (
    "import time\nfrom stages.core.slots import Slots\n"
    "print(Slots(2).take(), flush=True)\ntime.sleep(60)\n"
)


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_are_as_many_as_the_program_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert Slots.inherited().count == core_count()
    for name, value in Slots(3).environment().items():
        monkeypatch.setenv(name, value)
    slots = Slots.inherited()
    descriptors = [slots.take() for _ in range(4)]
    assert descriptors[3] is None
    assert None not in descriptors[:3]
    for descriptor in descriptors[:3]:
        assert descriptor is not None
        slots.release(descriptor)
    again = slots.take()
    assert again is not None
    slots.release(again)


def test_a_slot_that_a_copy_of_the_process_has_inherited_is_freed() -> None:
    slots = Slots(1)
    descriptor = slots.take()
    assert descriptor is not None
    child = os.fork()
    if not child:
        time.sleep(0.5)
        os._exit(0)
    slots.release(descriptor)
    again = slots.take()
    os.waitpid(child, 0)
    assert again is not None
    slots.release(again)


def test_the_end_of_a_process_frees_its_slot(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        slots = Slots(2)
        first_slot = slots.take()
        assert first_slot is not None
        assert slots.take() is None
        process.kill()
    again = slots.take()
    assert again is not None
    slots.release(again)
    slots.release(first_slot)
