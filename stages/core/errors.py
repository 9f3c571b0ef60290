"""Errors of the user: one clear line on stderr, an exit status, no traceback."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

USER_ERROR_STATUS = 2
EVIDENCE_ERROR_STATUS = 3
INTERRUPTED_STATUS = 130
_LONGEST_START, _LONGEST_END = 900, 300  # characters of a line that is too long to read
_JOINER = "\u200d"  # of an emoji's parts
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class UserError(Exception):
    """Bad input or a failed check; the text is the line that the user reads."""

    status = USER_ERROR_STATUS


class EvidenceError(UserError):
    """Stored results that contradict each other or their source: weights and log, data and hash.

    No machine makes honest results fail so. The exit status says this to `evidence verify`.
    """

    status = EVIDENCE_ERROR_STATUS


def printable(text: str) -> str:
    """Return `text` on one line, without control characters; emoji may have joined parts."""
    return " ".join("".join(c if c.isprintable() or c == _JOINER else " " for c in text).split())


def one_line(text: str) -> str:
    """Return `text` as a line that can be read: printable, and without the middle if it is very long."""
    line = printable(text)
    if len(line) <= _LONGEST_START + _LONGEST_END:
        return line
    left_out = len(line) - _LONGEST_START - _LONGEST_END
    return f"{line[:_LONGEST_START]} ... ({left_out} characters) ... {line[-_LONGEST_END:]}"


@contextmanager
def exit_on_user_error(command: str) -> Iterator[None]:
    """Run the body of a command; turn an error of the user into one line and an exit status.

    Args:
        command: the prefix of the line: `train@image`.

    Raises:
        SystemExit: 2 for a `UserError` (3 for an `EvidenceError`), a full disk or a missing
            permission; 130 after Ctrl-C.
    """
    status = USER_ERROR_STATUS
    try:
        yield
    except UserError as error:
        line, status = str(error), error.status
    except OSError as error:
        if error.errno in _DISK_FULL:
            line = (
                f"no space to write {error.filename or 'an output'} ({error.strerror}); free disk "
                "space and run the same command again"
            )
        elif error.errno in _NO_PERMISSION:
            line = f"{error.filename}: {error.strerror}; check its permissions"
        else:
            raise
    except KeyboardInterrupt:
        print(f"{command}: interrupted; run the same command again to resume", file=sys.stderr)
        raise SystemExit(INTERRUPTED_STATUS) from None
    else:
        return
    print(f"{command}: {one_line(line)}", file=sys.stderr)
    raise SystemExit(status)
