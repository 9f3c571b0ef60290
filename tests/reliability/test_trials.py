"""The measurement itself notices what it looks for."""

import json
import sys
import time
from pathlib import Path

import pytest

from reliability import trials
from reliability.bad_input import call, judge
from reliability.circumstances import refusal
from reliability.report import PAGE, RESULTS, page, record, summarise
from reliability.trials import Running, Trial, difference, file_digests
from stages.core.errors import UserError, exit_on_user_error


def start(folder: Path, code: str) -> Running:
    return Running(folder, (sys.executable, "-c", code), folder / "scratch")


CHILDREN = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("started", flush=True)
import time; time.sleep(60)
"""


def test_a_process_that_outlives_a_kill_is_noticed_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "SECONDS_TO_END", 0.3)
    running = start(tmp_path, CHILDREN)
    assert running.wait_for("started")
    assert len(running.processes()) == 2
    assert running.kill("group") == "the whole group"
    assert running.end_of_processes() is None
    time.sleep(0.1)
    assert running.processes() == []


def test_a_command_whose_child_was_killed_may_finish_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "SECONDS_TO_END", 0.3)
    code = "import subprocess, time; subprocess.call(['sleep', '60']); time.sleep(1); print('rest')"
    running = start(tmp_path, code)
    while len(running.processes()) < 2:
        time.sleep(0.01)
    assert running.kill("child") == "a child"
    assert running.end_of_processes() is not None
    assert running.finish() == (0, "rest")


def test_a_kill_hits_its_target(tmp_path: Path) -> None:
    code = "import subprocess, sys; sys.exit(subprocess.call(['sleep', '60']))"
    running = start(tmp_path, code)
    while len(running.processes()) < 2:
        time.sleep(0.01)
    assert running.kill("child") == "a child"
    assert running.end_of_processes() is not None
    assert running.finish()[0] == 247  # -SIGKILL, as the command passed it on
    assert running.kill("command") == "nothing: it had ended"


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    before = file_digests(tmp_path)
    assert difference(before, file_digests(tmp_path)) == ""
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("other")
    (tmp_path / ".new").write_text("")
    after = file_digests(tmp_path)
    assert difference(before, after) == "missing: a; left over: .new; other bytes: b"


def fail_with(error: Exception) -> None:
    with exit_on_user_error("prepare@x"):
        raise error


def test_only_one_clear_line_is_accepted() -> None:
    status, lines = call(lambda: fail_with(UserError("a.csv: row 3 is empty")))
    assert judge(status, lines, "prepare@x: ") == ("one line, exit status 2", "")
    status, lines = call(lambda: fail_with(ValueError("wrong")))
    assert "ValueError: wrong" in judge(status, lines, "prepare@x: ")[1]
    assert judge(2, ["Traceback", "prepare@x: wrong"], "prepare@x: ")[1]
    assert judge(2, ["prepare@x: \x1b[2J"], "prepare@x: ")[1]
    assert judge(2, [], "prepare@x: ")[1]
    assert judge(0, [], "prepare@x: ") == ("accepted", "")


def test_a_command_that_hangs_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reliability.bad_input.SECONDS", 0.2)
    status, lines = call(lambda: time.sleep(30))
    assert status == 1
    assert "no answer in 0.2 s" in lines[-1]


def test_a_refusal_needs_a_reason() -> None:
    assert refusal(255, "ERROR: failed to reproduce 'prepare@workshop'") == ""
    assert refusal(2, "train@workshop: no space to write x") == ""
    assert refusal(1, "Traceback (most recent call last):\nERROR: x")
    assert refusal(1, "nothing")


def test_results_are_counted_and_problems_listed() -> None:
    rows = [
        Trial("a", "same"),
        Trial("a", "same"),
        Trial("a", "", "left", "case 3"),
        Trial("b", "other"),
    ]
    result = summarise(rows, 7)
    assert [row["count"] for row in result["rows"]] == [3, 1]
    assert result["rows"][0] == {"row": "a", "count": 3, "outcomes": {"same": 2}, "problems": 1}
    assert result["problems"] == ["a: case 3: left"]
    text = page({"kills": [result]})
    assert "| a | 3 | 1 | 2 same |" in text
    assert "- a: case 3: left" in text
    assert "4 cases in 0 s, 1 problem. Seed 7." in text


def test_a_run_with_another_seed_is_added_and_one_with_the_same_replaced(tmp_path: Path) -> None:
    results, text = tmp_path / "results.json", tmp_path / "page.md"
    first, second, again = [Trial("a", "same")] * 2, [Trial("a", "other")], [Trial("a", "same")] * 3
    for seed, cases in ((1, second), (0, first), (0, again)):
        record("kills", summarise(cases, seed), results, text)
    assert [run["seed"] for run in json.loads(results.read_text())["kills"]] == [0, 1]
    assert "| a | 4 | 0 | 1 other; 3 same |" in text.read_text(encoding="utf-8")
    assert "4 cases, 0 problems.\n\n3 cases in 0 s" in text.read_text(encoding="utf-8")


def test_the_page_is_what_the_results_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RESULTS.read_text(encoding="utf-8")))
