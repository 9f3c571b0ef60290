"""Training as a process: killed, it resumes to the same bytes; one trainer at a time; two processes."""

import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from support.project import change_params, default_runtime, environment, run

from stages.core.errors import UserError
from stages.core.runtime import torch_device
from stages.training.checkpoints import exclusive_trainer, fingerprint
from stages.training.devices import launch_fabric

pytestmark = pytest.mark.xdist_group("chain")

TRAIN = ("python", "-m", "stages.train", "image")


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start_training(project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        TRAIN,
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_file(process: subprocess.Popen[bytes], project: Path, pattern: str) -> None:
    """Wait until a file exists, or the process has ended."""
    while not list(project.glob(pattern)) and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.long
def test_a_run_that_was_killed_twice_ends_in_the_same_bytes(prepared: Path) -> None:
    folder = prepared / "data/train/image"
    undisturbed = read_files(folder)
    shutil.rmtree(prepared / "data/train")
    for pattern in ("data/resume/*/fold 0, seed 0.*", "data/resume/*/fold 1, seed 0.*"):
        process = start_training(prepared)
        wait_for_file(process, prepared, pattern)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / "log.csv").exists()
    run(prepared, *TRAIN)
    assert read_files(folder) == undisturbed
    assert not list((prepared / "data/resume").glob("image-*"))


def test_a_second_trainer_of_a_task_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fabric: Any = SimpleNamespace(is_global_zero=True)
    with exclusive_trainer("image", fabric):
        message = rf"^another trainer \(process {os.getpid()}\) is writing data/train/image; wait"
        with pytest.raises(UserError, match=message), exclusive_trainer("image", fabric):
            pass
        with exclusive_trainer("photos", fabric):
            pass
    with exclusive_trainer("image", fabric):  # released
        pass


@pytest.mark.long
def test_two_processes_train_together(prepared: Path) -> None:
    def change(params: dict[str, Any]) -> None:
        params["runtime"].update(devices=2, threads=1)
        params["tasks"]["image"]["train"].update(seeds=[0], epochs=8)

    change_params(prepared, change)
    run(prepared, *TRAIN)
    log = pd.read_csv(prepared / "data/train/image/log.csv")
    for _, run_log in log.groupby("fold"):
        assert list(run_log["epoch"]) == list(range(8))
        assert run_log["validation_loss"].iloc[-1] < 0.7 * math.log(10)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_the_machine_lacks_is_named() -> None:
    runtime = default_runtime().model_copy(update={"device": "cuda"})
    with pytest.raises(UserError, match=r"^runtime\.device 'cuda', devices 1, precision .*auto$"):
        launch_fabric(runtime)
    with pytest.raises(
        UserError, match=r"^runtime\.device: given 'cuda', which this machine lacks"
    ):
        torch_device(runtime)


def test_a_fingerprint_changes_with_every_part(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"1")
    prints = {fingerprint("a", file), fingerprint("b", file), fingerprint("a"), fingerprint(file)}
    file.write_bytes(b"2")
    assert len(prints | {fingerprint("a", file)}) == 5
    assert fingerprint(SimpleNamespace(x=1)) == fingerprint(SimpleNamespace(x=1))
