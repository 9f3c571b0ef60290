"""What killed experiments leave is deleted by the next one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.tools.dvc_experiments import delete_abandoned_folders

FOLDERS = Path(".dvc/tmp/exps/standalone")


def make_folder(name: str, *, old: bool = True) -> Path:
    folder = FOLDERS / name
    (folder / "data").mkdir(parents=True)
    (folder / "data/weights.safetensors").write_bytes(bytes(100))
    if old:
        os.utime(folder, (0, 0))
    return folder


def test_only_old_folders_in_which_no_process_runs_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    delete_abandoned_folders()  # there is none
    abandoned, running, starting = (
        make_folder("tmp1"),
        make_folder("tmp2"),
        make_folder("tmp3", old=False),
    )
    (FOLDERS / "run").mkdir()  # DVC's own
    os.utime(FOLDERS / "run", (0, 0))
    command = [sys.executable, "-c", "print('ready', flush=True); input()"]
    with subprocess.Popen(
        command, cwd=running / "data", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        delete_abandoned_folders()
        assert sorted(FOLDERS.iterdir()) == [FOLDERS / "run", running, starting]
        process.kill()
        process.wait()
        delete_abandoned_folders()
    assert not abandoned.exists()
    assert sorted(FOLDERS.iterdir()) == [FOLDERS / "run", starting]
