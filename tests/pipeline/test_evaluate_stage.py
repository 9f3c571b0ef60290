"""What the stage evaluate prints of the data, and with how many threads it computes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from support.project import default_runtime

from stages.core.task import Task
from stages.evaluate import run
from stages.training.diagnostics import Diagnostic


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Restore torch's number of threads, which the stage sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def task_with_threads(threads: int | None) -> Task:
    params = SimpleNamespace(train=SimpleNamespace(threads=threads))
    return Task("mine", "colours", params, default_runtime())


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
    run(task_with_threads(None))
    assert capsys.readouterr().err == (
        "evaluate@mine: never predicts class [31mred: 0 of 8 ; try first: more of ]0;red\n"
    )
    assert (tmp_path / "data/evaluate/mine/a.txt").read_text() == "b"


@pytest.mark.parametrize(("threads", "used"), [(3, 3), (None, default_runtime().threads)])
def test_the_model_predicts_with_the_threads_of_its_training(
    threads: int | None, used: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []

    def evaluate(_: Task) -> SimpleNamespace:
        seen.append(torch.get_num_threads())
        return SimpleNamespace(warnings=[], files=dict)

    kind = ModuleType("stages.kinds.colours.evaluate")
    vars(kind)["evaluate"] = evaluate
    monkeypatch.setitem(sys.modules, kind.__name__, kind)
    run(task_with_threads(threads))
    assert seen == [used]
