"""`evidence predict`: labelled lines in a terminal, tabs in a pipe, JSON."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import environment

from stages.kinds.prediction import Prediction
from stages.tools.predict import as_json, labelled_lines, tabbed_line

PREDICTION = Prediction(
    "seven\t\x1b[31m.png",
    {"1": 0.02, "7": 0.9, "9": 0.05, "4": 0.03},
    {"words": "a, b"},
    "unlike the training data",
)


def test_a_reader_gets_labelled_lines_with_three_classes() -> None:
    assert labelled_lines(PREDICTION) == [
        "seven [31m.png",
        "  class    7 (90.0%)",
        "  then     9 (5.0%), 4 (3.0%)",
        "  words    a, b",
        "  warning  unlike the training data",
    ]
    assert labelled_lines(Prediction("x", {"only": 1.0})) == ["x", "  class  only (100.0%)"]


def test_a_pipe_gets_tabs() -> None:
    line = "seven [31m.png\t7\t0.900\ta, b\tunlike the training data"
    assert tabbed_line(PREDICTION) == line
    assert tabbed_line(Prediction("x", {"only": 1.0})) == "x\tonly\t1.000\t"


def test_json_has_all_of_it() -> None:
    content = as_json(PREDICTION)
    assert [row["class"] for row in content["classes"]] == ["7", "9", "4"]
    assert content["confidence"] == 0.9
    assert content["warning"] == PREDICTION.warning
    assert content["details"] == {"words": "a, b"}


@pytest.mark.xdist_group("chain")
def test_a_terminal_is_told_from_a_pipe(chain: Path) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "stages.tools", "predict", "workshop"]
    with subprocess.Popen(
        [*command, "evidence/workshop/data/demo.png"], cwd=chain, env=environment(), stdout=terminal
    ) as process:
        os.close(terminal)
        printed = b""
        while process.poll() is None or printed.count(b"\n") < 3:
            try:
                printed += os.read(controller, 4096)
            except OSError:  # Linux's way to say that the terminal is closed
                break
    os.close(controller)
    name, first, then, *_ = printed.decode().replace("\r\n", "\n").split("\n")
    assert name == "evidence/workshop/data/demo.png"
    assert first.startswith("  class  ")
    assert then.count("%") == 2
