"""Why DVC failed, in one line. DVC prints several: the last ones give advice, or repeat that it failed."""

import re
from itertools import takewhile

_ERROR = "ERROR: "
_UNEXPECTED = "unexpected error - "
# Lines that end the text of an error.
_ADVICE = re.compile(
    r"Is your cache up to date\?|Having any troubles\?|<https?://|ERROR: |WARNING: |$"
)
_NOT_CHECKED_OUT = re.compile(r".*Checkout failed for following targets: (.*)")
_MISSING = "Missing cache files"


def dvc_error(errors: str) -> str:
    """Return why a DVC command failed, "" if it does not say.

    Objects that are damaged in a remote with `verify = true` are not taken from it. Of them DVC says only
    that a checkout failed, as of missing ones, which it also lists.

    Args:
        errors: what the command wrote to stderr.
    """
    lines = [line.strip() for line in errors.split("\n")]
    starts = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    if not starts:
        return ""
    first, *rest = lines[starts[0] :]
    text = " ".join([first, *takewhile(lambda line: not _ADVICE.match(line), rest)])
    text = text.removeprefix(_ERROR).removeprefix(_UNEXPECTED)
    targets = _NOT_CHECKED_OUT.fullmatch(text)
    if targets is None:
        return text
    state = "missing" if _MISSING in errors else "damaged"
    return f"{targets[1]}: {state} in the remote"
