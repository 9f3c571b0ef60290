"""What a stage prints of the data."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from support.project import default_runtime

from stages.core.task import Task
from stages.evaluate import run
from stages.training.diagnostics import Diagnostic


def test_warnings_that_quote_the_data_print_no_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    kind = ModuleType("stages.kinds.colours.evaluate")
    evaluation = SimpleNamespace(
        warnings=[Diagnostic("never predicts class \x1b[31mred", "0 of 8\n", "more of \x1b]0;red")],
        files=lambda: {"a.txt": "b"},
    )
    vars(kind)["evaluate"] = lambda _: evaluation
    monkeypatch.setitem(sys.modules, kind.__name__, kind)
    run(Task("mine", "colours", None, default_runtime()))
    assert capsys.readouterr().err == (
        "evaluate@mine: never predicts class [31mred: 0 of 8 ; try first: more of ]0;red\n"
    )
    assert (tmp_path / "data/evaluate/mine/a.txt").read_text() == "b"
