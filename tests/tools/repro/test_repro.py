"""`evidence repro` on small pipelines: the files of `dvc repro`, failures, kills, and what it prints."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import ROOT, environment, run
from support.toy import EVIDENCE, FILES, PIPELINE, repro, write_project

# Four chains between two shared stages: what may run side by side.
WIDE = """
stages:
  begin:
    cmd: echo begin > begin.txt
    outs: [begin.txt]
  middle:
    foreach: [a, b, c, d]
    do:
      cmd: sleep 0.3 && cat begin.txt > ${item}.txt && echo ${item} >> ${item}.txt
      deps: [begin.txt]
      outs:
        - ${item}.txt
  end:
    cmd: cat a.txt b.txt c.txt d.txt > end.txt
    deps: [a.txt, b.txt, c.txt, d.txt]
    metrics: [end.txt: {cache: false}]
"""
SLOW = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(99)\n"


def lock(folder: Path) -> bytes:
    return (folder / "dvc.lock").read_bytes()


def make(folder: Path, pipeline: str, **files: str) -> Path:
    write_project(folder, {"dvc.yaml": pipeline, **files})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pipeline", "files"), [(PIPELINE, FILES), (WIDE, {})], ids=["chain", "wide"]
)
def test_the_files_are_those_of_dvc_repro(
    tmp_path: Path, pipeline: str, files: dict[str, str]
) -> None:
    ours, theirs = (make(tmp_path / name, pipeline, **files) for name in ("ours", "theirs"))
    repro(ours, "--jobs", "4")
    run(theirs, "dvc", "repro")
    names = {path.relative_to(theirs) for path in theirs.rglob("*") if _is_result(path)}
    assert names == {path.relative_to(ours) for path in ours.rglob("*") if _is_result(path)}
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert "up to date" in run(ours, "dvc", "status").stdout
    assert repro(theirs).stdout == f"{len(_entries(theirs))} stages are up to date\n"


def _is_result(path: Path) -> bool:
    return path.is_file() and not {".git", "tmp", "runs"} & set(path.parts)


def _entries(folder: Path) -> list[str]:
    return [
        line for line in lock(folder).decode().split("\n") if line[:2] == "  " and line[2:3] != " "
    ]


def test_stages_run_side_by_side(tmp_path: Path) -> None:
    folder = make(tmp_path / "toy", WIDE.replace("sleep 0.3", "sleep 1"))
    seconds = []
    for jobs in ("4", "1"):
        start = time.monotonic()
        repro(folder, "--jobs", jobs, "--force")
        seconds.append(time.monotonic() - start)
    assert seconds[1] - seconds[0] > 1.5  # three of the four seconds, less what the machine adds


def test_a_failure_is_named_last_and_leaves_the_rest_finished(tmp_path: Path) -> None:
    folder = make(tmp_path / "toy", WIDE)
    text = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(
        text.replace("cat begin.txt >", "test ${item} != b && cat begin.txt >")
    )
    done = repro(folder, "--jobs", "2", status=1)
    assert done.stderr.split("\n")[-2] == "middle@b failed (exit status 1)"
    assert "not run: end" in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "d.txt").exists()
    assert not (folder / "end.txt").exists()
    assert "middle@d" in lock(folder).decode()
    assert "middle@b" not in lock(folder).decode()


def test_a_stage_without_its_output_is_a_failure(tmp_path: Path) -> None:
    folder = make(tmp_path / "toy", "stages:\n  a:\n    cmd: 'true'\n    outs: [a.txt]\n")
    done = repro(folder, status=2)
    assert "a.txt" in done.stdout
    assert done.stderr.split("\n")[-2] == "a failed (exit status 2)"


def test_what_a_stage_prints_is_shown(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "toy",
        "stages:\n  a:\n    cmd: printf 'one\\033[31m\\ntwo\\n' && echo x > a.txt\n    outs: [a.txt]\n",
    )
    lines = repro(folder).stdout.split("\n")
    assert re.fullmatch(r"a: \d+\.\d s", lines[0])
    assert lines[1:3] == ["  one [31m", "  two"]


def test_a_second_run_names_the_first_and_touches_nothing(tmp_path: Path) -> None:
    pipeline = "stages:\n  a:\n    cmd: python slow.py\n    deps: [slow.py]\n    outs: [a.txt]\n"
    folder = make(tmp_path / "toy", pipeline, **{"slow.py": SLOW})
    command = [sys.executable, "-c", EVIDENCE, str(ROOT), "repro"]
    first = subprocess.Popen(
        command, cwd=folder, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        while not (folder / "pid").exists() and first.poll() is None:
            time.sleep(0.05)
        line = repro(folder, status=2).stderr
        assert line == (
            f"evidence repro: another command (process {first.pid}) uses this project: wait until it "
            "ends, or stop it\n"
        )
        assert not (folder / "dvc.lock").exists()
    finally:
        os.killpg(first.pid, signal.SIGTERM)
        first.wait()


@pytest.mark.slow
def test_results_of_an_earlier_run_come_from_the_cache(tmp_path: Path) -> None:
    folder = make(tmp_path / "toy", PIPELINE, **FILES)
    repro(folder)
    (folder / "raw.txt").write_text("other")
    repro(folder)
    (folder / "raw.txt").write_text("abc")
    assert "upper: taken from the cache\n" in repro(folder).stdout
    assert (folder / "upper.txt").read_text() == "ABC"


@pytest.mark.long
def test_data_that_dvc_tracks_are_taken_as_they_are_now(tmp_path: Path) -> None:
    folders = [make(tmp_path / name, PIPELINE, **FILES) for name in ("ours", "theirs")]
    for folder in folders:
        run(folder, "dvc", "add", "--quiet", "raw.txt")
        run(folder, "dvc", "repro")
        (folder / "raw.txt").write_text("other")
    ours, theirs = folders
    repro(ours)
    run(theirs, "dvc", "repro")
    for name in ("raw.txt.dvc", "dvc.lock", "upper.txt"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert (ours / "upper.txt").read_text() == "OTHER"
    assert "up to date" in run(ours, "dvc", "status").stdout


def test_only_what_a_target_needs_runs(tmp_path: Path) -> None:
    folder = make(tmp_path / "toy", WIDE)
    repro(folder, "middle@a")
    assert (folder / "a.txt").exists()
    assert not (folder / "b.txt").exists()
    repro(folder, "--glob", "middle@[bc]")
    assert (folder / "c.txt").exists()
    assert not (folder / "d.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs", "0"], "--jobs: given 0; must be 1 or more"),
        (["nowhere"], "nowhere"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    folder = make(tmp_path / "toy", WIDE)
    done = repro(folder, *arguments, status=2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bomb_in_the_params_is_refused_before_dvc_reads_them(tmp_path: Path) -> None:
    """DVC itself reads it for half a minute."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    folder = make(tmp_path / "toy", WIDE, **{"params.yaml": "\n".join(lines), "stages/a.py": ""})
    start = time.monotonic()
    done = repro(folder, status=2)
    assert time.monotonic() - start < 10
    assert "values once its aliases are replaced" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_goes_on_after_the_end(tmp_path: Path, number: signal.Signals) -> None:
    pipeline = "stages:\n  a:\n    cmd: python slow.py\n    outs: [a.txt]\n"
    folder = make(tmp_path / "toy", pipeline, **{"slow.py": SLOW})
    # A shell lets what it runs in the background ignore Ctrl-C, also a run of these tests.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", heed + EVIDENCE, str(ROOT), "repro"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        pid = _wait_for(folder / "pid")
        process.send_signal(number)
        process.wait(30)
    deadline = time.monotonic() + 10
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (folder / "slow.py").write_text("open('a.txt', 'w').write('a')\n")
    repro(folder)
    assert (folder / "a.txt").read_text() == "a"


def _wait_for(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
