"""Groups in the paths of files: a pattern that would match for ever is stopped."""

import signal
import time

import pytest

from stages.core.errors import UserError
from stages.datasets.images import path_groups
from stages.datasets.images.path_groups import match_paths


def test_a_match_for_each_path() -> None:
    matches = match_paths(r"(w\d+)_", ["a/w1_2.png", "b/x.png", "b/w22_1.png"], "key")
    assert [match and match[1] for match in matches] == ["w1", None, "w22"]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "((a*)*)*c"])
def test_nested_repetition_is_stopped(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_groups, "_SECONDS", 0.2)
    before = signal.getsignal(signal.SIGVTALRM)
    start = time.process_time()
    with pytest.raises(UserError) as error:
        match_paths(pattern, ["x.png", f"{'a' * 60}!.png"], "tasks.image.prepare.group_pattern")
    assert time.process_time() - start < 2
    assert str(error.value).startswith(
        f"tasks.image.prepare.group_pattern: {pattern!r} takes too long to match 'aaaa"
    )
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0
