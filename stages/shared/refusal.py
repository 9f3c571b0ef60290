"""The one way in which the project says no: a clear line, exit status 2, no traceback."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

REFUSED = 2
INTERRUPTED = 130
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}


class Refusal(Exception):
    """Bad input or a failed check; its text is the line that the user reads."""


def printable(text: str) -> str:
    """Return text on one line without what a terminal or a reader would act on."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@contextmanager
def refusing(who: str) -> Iterator[None]:
    """Run a command's body; turn a `Refusal`, a full disk or Ctrl-C into one line and an exit.

    Args:
        who: what is running, put before the line: `train@image`.

    Raises:
        SystemExit: 2 for a refusal or a full disk, 130 after Ctrl-C.
    """
    try:
        yield
    except Refusal as refusal:
        line = str(refusal)
    except OSError as error:
        if error.errno in _NO_ROOM:
            line = (
                f"no room to write {error.filename or 'an output'} ({error.strerror}); "
                "free some disk space and run the same command again, nothing else is lost"
            )
        elif error.errno in _NO_RIGHT:
            line = (
                f"{error.filename}: {error.strerror}; give yourself the right to read or write it"
            )
        else:
            raise
    except KeyboardInterrupt:
        print(f"{who}: stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    else:
        return
    print(f"{who}: {printable(line)}", file=sys.stderr)
    raise SystemExit(REFUSED)
