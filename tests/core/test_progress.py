"""Progress: a line now and then without a terminal, a bar in one, nothing for short work."""

import io
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT, environment

from stages.core import progress as progress_module
from stages.core.progress import LINE_SECONDS, Lines, duration, progress


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def work(lines: Lines, clock: Clock, seconds: float, count: int, total: int | None) -> None:
    """Follow a loop of `count` items, each of which takes `seconds`."""
    for _ in lines.follow(range(count), "seed 0: epoch 3 of 12", total, 0):
        clock.now += seconds


def test_a_line_says_how_far_the_work_is_and_how_long_it_takes() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(clock, stream)
    lines.stage = "train@photos"
    work(lines, clock, 3, 100, 100)
    assert stream.getvalue().splitlines()[:2] == [
        "train@photos, seed 0: epoch 3 of 12, 10%, about 4 min left",  # 90 of 3 s
        "train@photos, seed 0: epoch 3 of 12, 20%, about 4 min left",  # 80 of 3 s
    ]
    assert len(stream.getvalue().splitlines()) == 9  # the 10th is due when the loop is over


def test_work_without_a_total_is_counted() -> None:
    clock, stream = Clock(), io.StringIO()
    work(Lines(clock, stream), clock, 0.0625, 500, None)
    assert stream.getvalue() == "seed 0: epoch 3 of 12, 480\n"


def test_many_short_loops_share_the_lines() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(clock, stream)
    for epoch in range(12):
        for _ in lines.follow(range(10), f"epoch {epoch + 1} of 12", 120, 10 * epoch):
            clock.now += 1
    assert stream.getvalue() == (
        "epoch 4 of 12, 25%\n"  # its first item: no rate yet
        "epoch 7 of 12, 50%\n"
        "epoch 10 of 12, 75%\n"
    )


def test_a_stage_that_begins_late_waits_for_its_first_line() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(clock, stream)
    clock.now += 1000
    lines.begin("check@photos")
    work(lines, clock, 1, 20, 20)
    assert stream.getvalue() == ""


@given(
    st.lists(st.floats(0, 40), max_size=50), st.integers(0, 5), st.one_of(st.none(), st.just(50))
)
def test_every_item_comes_through_and_lines_are_rare(
    steps: list[float], start: int, total: int | None
) -> None:
    clock, stream = Clock(), io.StringIO()
    items = []
    for item in Lines(clock, stream).follow(steps, "title", total, start):
        items.append(item)
        clock.now += item
    assert items == steps
    assert len(stream.getvalue().splitlines()) <= sum(steps) / LINE_SECONDS


def test_short_work_prints_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_LINES", Lines())  # of a process that has just started
    assert [*progress(range(1000), "title")] == [*range(1000)]
    assert capfd.readouterr() == ("", "")


def test_an_iterator_is_read_as_it_is_needed() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(5):
            read.append(number)
            yield number

    assert next(iter(progress(items(), "title"))) == 0
    assert read == [0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5300, "88 min"), (12_600, "3.5 h")],
)
def test_times_are_said_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("pause", "shown"), [(0.25, True), (0.0, False)])
def test_a_terminal_gets_a_bar_for_long_work_and_stdout_nothing(pause: float, shown: bool) -> None:
    code = (
        "import time\nfrom stages.core.progress import progress, set_stage\n"
        "set_stage('prepare@photos')\n"
        f"for _ in progress(range(12), 'reading images'): time.sleep({pause})\n"
    )
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = subprocess.run(
        (sys.executable, "-c", code),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=terminal,
        check=True,
    )
    os.write(terminal, b"end")
    output = b""
    while not output.endswith(b"end"):
        output += os.read(controller, 4096)
    os.close(terminal)
    os.close(controller)
    assert done.stdout == b""
    assert (b"prepare@photos, reading images" in output) is shown
