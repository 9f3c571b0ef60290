"""The training log: a curve that grows with every epoch, and a disk on which files cannot grow."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

from stages.core.files import read_csv
from stages.train import _log

COMMAND = """
import resource, sys
from pathlib import Path
from stages.core.errors import exit_on_user_error
from stages.train import _log
import dvclive.live
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with exit_on_user_error("train@image"), _log(Path("log"), Path("live.csv"), "image", 2):
    print("went on")
"""


def test_a_limit_of_file_sizes_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    done = subprocess.run(
        [sys.executable, "-B", "-c", COMMAND],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "DVC_SITE_CACHE_DIR": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("train@image: DVC cannot write its database (")


def test_the_curve_of_a_run_is_written_after_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    monkeypatch.chdir(tmp_path)
    history = [{"epoch": float(epoch), "train_loss": 1 / (epoch + 1)} for epoch in range(3)]
    curve = Path("live/image/seed-0.csv")
    with _log(Path("log"), curve, "image", 3) as log:
        log([])
        assert not curve.exists()
        for count in range(1, 4):
            log(history[:count])
            assert read_csv(curve)["epoch"].tolist() == list(range(count))
    assert read_csv(curve)["train_loss"].tolist() == [1.0, 0.5, 0.333333]


def test_a_process_that_is_not_the_first_writes_nothing(tmp_path: Path) -> None:
    with _log(tmp_path / "log", tmp_path / "curve.csv", "image", 0) as log:
        log([{"epoch": 0.0, "train_loss": 1.0}])
    assert list(tmp_path.iterdir()) == []
