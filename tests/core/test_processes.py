"""Subprocesses: their environment, their errors, and clones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import ROOT, commit, run

from stages.core.errors import UserError
from stages.core.processes import last_line, run_command, run_commands, scratch_folder
from stages.core.repositories import clone_revision, git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    (folder / "a.txt").write_text("a\r\n")
    commit(folder, "first")
    return folder


def test_a_command_runs_in_its_folder_with_the_variables_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    script = 'pwd; echo "${GIT_DIR-unset} $EXTRA $PYTHONPATH"; echo wrong >&2; exit 3'
    result = run_command(tmp_path, "sh", "-c", script, extra_environment={"EXTRA": "1"})
    assert result.stdout == f"{tmp_path}\nunset 1 \n"
    assert (result.stderr, result.returncode) == ("wrong\n", 3)


def test_commands_run_at_the_same_time_and_keep_their_order(tmp_path: Path) -> None:
    """The first one waits for a file that the second one writes."""
    wait = "until test -e b; do sleep 0.01; done; echo a"
    commands = [(tmp_path, ("sh", "-c", wait)), (tmp_path, ("sh", "-c", "touch b; echo b"))]
    assert [result.stdout for result in run_commands(commands)] == ["a\n", "b\n"]


def test_lines_are_seen_while_the_command_runs(tmp_path: Path) -> None:
    """It waits for a file that only its own first line brings about."""
    script = "echo a; until test -e go; do sleep 0.01; done; echo b >&2; printf 'no end'"
    lines: list[str] = []

    def see(line: str) -> None:
        lines.append(line)
        (tmp_path / "go").touch()

    result = run_command(tmp_path, "sh", "-c", script, on_line=see)
    assert lines == ["a", "b"]
    assert (result.stdout, result.stderr) == ("a\nno end", "b\n")


def test_a_missing_command_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-command is not installed, or not on PATH"):
        run_command(tmp_path, "no-such-command")
    with pytest.raises(FileNotFoundError):
        run_command(tmp_path / "nowhere", "sh")


def test_an_error_of_git_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^git rev-parse: not a git repository .*$"):
        git(tmp_path, "rev-parse", "HEAD")


def test_a_clone_has_the_bytes_of_a_revision(repository: Path, tmp_path: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "a.txt").write_text("b")
    commit(repository, "second")
    run(repository, "git", "config", "core.autocrlf", "true")
    assert clone_revision(str(repository), "HEAD~1", tmp_path / "clone") == first
    assert (tmp_path / "clone/a.txt").read_bytes() == b"a\r\n"
    with pytest.raises(UserError, match="has no revision 'nowhere'"):
        clone_revision(str(repository), "nowhere", tmp_path / "other")


def test_the_last_line_is_not_blank() -> None:
    assert last_line("a\n b \n \n") == "b"
    assert last_line("\n") == ""


STAGE = (
    "import time; from stages.core.processes import end_with_launcher; end_with_launcher(); "
    "print('ready', flush=True); time.sleep(60)"
)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process that its parent has ended"
)
@pytest.mark.parametrize("variable", ["DVC_STAGE", "LOCAL_RANK", "NEITHER"])
def test_a_stage_ends_with_its_killed_launcher_but_not_with_a_terminal(variable: str) -> None:
    """A stage that a user has started goes on when the terminal is closed."""
    parent = (
        "import subprocess, sys; "
        f"stage = subprocess.Popen([sys.executable, '-c', {STAGE!r}]); print(stage.pid, flush=True); "
        "stage.wait()"
    )
    environment = {
        key: value for key, value in os.environ.items() if key not in {"DVC_STAGE", "LOCAL_RANK"}
    }
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=ROOT,
        env={**environment, variable: "train@image"},
        stdout=subprocess.PIPE,
        text=True,
    ) as dvc:
        assert dvc.stdout is not None
        stage = int(dvc.stdout.readline())
        assert dvc.stdout.readline() == "ready\n"
        dvc.kill()
        dvc.wait()
        if variable != "NEITHER":
            assert dvc.stdout.read() == ""  # the pipe ends with the stage, which holds it
        else:
            assert is_alive(stage)
            os.kill(stage, signal.SIGKILL)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process that its parent has ended"
)
@pytest.mark.parametrize(("leads", "output"), [(False, ""), (True, "ready\n")])
def test_a_stage_whose_launcher_has_ended_before_ends(leads: bool, output: str) -> None:
    """It has another parent then, of another group of processes; as in a group that it leads."""
    wait = "import os, sys, time\nwhile os.getppid() == int(sys.argv[1]): time.sleep(0.01)\n"
    stage = wait + STAGE.removesuffix("time.sleep(60)")
    launcher = (
        "import os, subprocess, sys; subprocess.Popen("
        f"[sys.executable, '-c', {stage!r}, str(os.getpid())], start_new_session={leads})"
    )
    done = subprocess.run(
        [sys.executable, "-c", launcher],
        cwd=ROOT,
        env={**os.environ, "DVC_STAGE": "train@image"},
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )  # returns when the pipe ends: with the stage
    assert (done.returncode, done.stdout) == (0, output)


def test_the_next_scratch_folder_deletes_those_of_killed_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = (
        "from stages.core.processes import scratch_folder\n"
        "with scratch_folder() as folder:\n"
        "    (folder / 'file').write_text('text')\n"
        "    print(folder, flush=True); input()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        abandoned = Path(process.stdout.readline().strip())
        os.utime(abandoned, (0, 0))
        with scratch_folder():
            assert abandoned.is_dir()  # its process runs
        process.send_signal(signal.SIGKILL)
        process.wait()
    notes = tmp_path / "evidence-notes"
    notes.mkdir()
    os.utime(notes, (0, 0))
    with scratch_folder() as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, notes])


def test_a_command_and_its_children_end_with_a_killed_process(tmp_path: Path) -> None:
    script = "sleep 60 & echo $$ $! > started; mv started pids; wait"
    command = (
        "from pathlib import Path; from stages.core.processes import run_command; "
        f"run_command(Path({str(tmp_path)!r}), 'sh', '-c', {script!r})"
    )
    with subprocess.Popen([sys.executable, "-c", command], cwd=ROOT) as process:
        while not (tmp_path / "pids").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
