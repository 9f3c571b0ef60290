"""The training log where files cannot grow."""

import subprocess
import sys
from pathlib import Path

from support.project import ROOT

COMMAND = """
import resource, sys
from pathlib import Path
from stages.core.errors import exit_on_user_error
from stages.train import _log
import dvclive.live
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with exit_on_user_error("train@image"), _log(Path("log"), "image", 2):
    print("went on")
"""


def test_a_limit_of_file_sizes_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
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
