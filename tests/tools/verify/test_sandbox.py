"""What a command in the sandbox can and cannot do."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from stages.tools.verify.sandbox import Limits, missing_protection, sandboxed

MISSING = missing_protection() if sys.platform == "linux" else ["everything"]
needs_sandbox = pytest.mark.skipif(bool(MISSING), reason=f"this system: {'; '.join(MISSING)}")


def run_confined(
    folder: Path,
    script: str,
    limits: Limits | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        sandboxed([sys.executable, "-c", script], [folder], limits),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(variables or {})},
    )


@needs_sandbox
def test_a_command_writes_to_its_folder_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (inside / "link").symlink_to(outside)
    script = f"""
import os, pathlib
inside, outside = pathlib.Path({str(inside)!r}), pathlib.Path({str(outside)!r})
(inside / "made").write_text("made")
os.rename(inside / "made", inside / "moved")
open(os.devnull, "w").write("x")
actions = dict(
    write=lambda: (outside / "new").write_text("x"),
    change=lambda: (outside / "precious").write_text("x"),
    through=lambda: (inside / "link/new").write_text("x"),
    delete=lambda: (outside / "precious").unlink(),
    mode=lambda: (outside / "precious").chmod(0o777),
    time=lambda: os.utime(outside / "precious", (0, 0)),
    move=lambda: os.rename(inside / "moved", outside / "moved"),
    hard=lambda: os.link(outside / "precious", inside / "precious"),
    home=lambda: (pathlib.Path.home() / "evil").write_text("x"),
)
for name, action in actions.items():
    try:
        action()
        print("allowed", name)
    except OSError:
        pass
"""
    result = run_confined(inside, script)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
    assert (inside / "moved").read_text() == "made"
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "precious"


@needs_sandbox
def test_a_command_has_no_network_but_loopback_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        assert run_confined(tmp_path, connect, Limits(network=True)).returncode == 0
        assert "ConnectionRefusedError" in run_confined(tmp_path, connect).stderr
    connect_to_itself = (
        "import socket; server = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(server.getsockname(), 5)"
    )
    assert run_confined(tmp_path, connect_to_itself).returncode == 0


@needs_sandbox
def test_no_process_outlives_a_command(tmp_path: Path) -> None:
    late = f"import time; time.sleep(3); open({str(tmp_path / 'late')!r}, 'w')"
    script = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {late!r}], start_new_session=True)\n"
    )
    start = time.monotonic()
    assert run_confined(tmp_path, script).returncode == 0
    assert time.monotonic() - start < 2.5
    time.sleep(3.5)
    assert not (tmp_path / "late").exists()


def test_limits_statuses_and_variables(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("limits of private memory are those of Linux")
    memory = run_confined(tmp_path, "bytearray(2**30)", Limits(memory=2**28))
    assert "MemoryError" in memory.stderr
    busy = run_confined(tmp_path, "while True: pass", Limits(processor=1))
    assert busy.returncode > 128
    assert run_confined(tmp_path, "raise SystemExit(3)").returncode == 3
    variables = {"MY_API_KEY": "secret", "GITHUB_TOKEN": "secret", "PLAIN": "kept"}
    shown = run_confined(
        tmp_path,
        "import os; print([os.environ.get(n) for n in ('MY_API_KEY', 'GITHUB_TOKEN', 'PLAIN')])",
        variables=variables,
    )
    assert shown.stdout == "[None, None, 'kept']\n"
