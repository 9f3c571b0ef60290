"""Many commands: how many run at once, what each gives, and that all end with the iteration."""

import time
from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.core.process_pool import TIME_LIMIT_STATUS, run_pool


def test_each_command_gives_its_status_and_output(tmp_path: Path) -> None:
    commands = {
        str(status): (tmp_path, ("sh", "-c", f"echo out; pwd >&2; exit {status}"))
        for status in (0, 3)
    }
    ended = dict(run_pool(commands, 2))
    assert {name: command.status for name, command in ended.items()} == {"0": 0, "3": 3}
    assert ended["3"].output == "out\n"
    assert ended["3"].errors == f"{tmp_path}\n"
    assert dict(run_pool({}, 2)) == {}


@pytest.mark.parametrize("jobs", [1, 3])
def test_as_many_run_at_once_as_allowed(tmp_path: Path, jobs: int) -> None:
    script = "touch $0; ls | wc -l; sleep 0.5; rm $0"
    commands = {name: (tmp_path, ("sh", "-c", script, name)) for name in "abcdef"}
    counts = [int(command.output) for _, command in run_pool(commands, jobs)]
    assert len(counts) == 6
    assert max(counts) == jobs


def test_the_order_is_that_in_which_they_end(tmp_path: Path) -> None:
    commands = {name: (tmp_path, ("sleep", name)) for name in ("1.5", "0.1", "0.7")}
    assert [name for name, _ in run_pool(commands, 3)] == ["0.1", "0.7", "1.5"]


def test_a_command_is_ended_at_the_time_limit_with_its_children(tmp_path: Path) -> None:
    command = ("sh", "-c", "(sleep 2; touch late) & wait")
    start = time.monotonic()
    ((_, ended),) = run_pool({"slow": (tmp_path, command)}, 1, seconds=0.3)
    assert (ended.status, ended.errors) == (TIME_LIMIT_STATUS, "it took longer than 0.3 s")
    assert time.monotonic() - start < 1.9
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


def test_leaving_the_iteration_ends_all(tmp_path: Path) -> None:
    commands = {
        "quick": (tmp_path, ("true",)),
        "slow": (tmp_path, ("sh", "-c", "sleep 2; touch late")),
        "waiting": (tmp_path, ("touch", "never")),
    }
    pool = run_pool(commands, 2)
    assert next(pool)[0] == "quick"
    with pytest.raises(KeyboardInterrupt):
        pool.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    time.sleep(2.2)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-program is not installed"):
        list(run_pool({"a": (tmp_path, ("no-such-program",))}, 1))
