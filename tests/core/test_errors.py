"""An error of the user is one line and exit status 2; any other error is not hidden."""

import errno

import pytest

from stages.core.errors import (
    INTERRUPTED_STATUS,
    USER_ERROR_STATUS,
    UserError,
    exit_on_user_error,
)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("two\n  lines\tand more"), 2, "two lines and more"),
        (UserError("a\x1b[31mb"), 2, "a [31mb"),
        (UserError("\U0001f926\u200d\u2642\ufe0f"), 2, "\U0001f926\u200d\u2642\ufe0f"),
        (
            UserError("a" * 900 + "b" * 200_000 + "c" * 300),
            2,
            f"{'a' * 900} ... (200000 characters) ... {'c' * 300}",
        ),
        (UserError("a" * 1200), 2, "a" * 1200),
        *(
            (
                OSError(number, "full", "data/x.csv"),
                2,
                "no space to write data/x.csv (full); free disk space and run the same command again",
            )
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "data/x"),
            2,
            "data/x: Permission denied; check its permissions",
        ),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to resume"),
    ],
)
def test_an_error_of_the_user_is_one_line_and_an_exit_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    with pytest.raises(SystemExit) as stopped, exit_on_user_error("train@image"):
        raise error
    assert stopped.value.code == status
    assert capsys.readouterr() == ("", f"train@image: {line}\n")
    assert (USER_ERROR_STATUS, INTERRUPTED_STATUS) == (2, 130)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "a bad disk"), ValueError("a bug")])
def test_any_other_error_is_not_hidden(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    with pytest.raises(type(error)) as raised, exit_on_user_error("train@image"):
        raise error
    assert raised.value is error
    assert capsys.readouterr().err == ""


def test_a_command_without_an_error_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_on_user_error("train@image"):
        pass
    assert capsys.readouterr() == ("", "")
