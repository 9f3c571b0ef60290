"""Why a program of a revision failed, from what it wrote."""

import re

from stages.core.processes import last_line

# A line of a program's output that says why it failed, in Python and elsewhere.
_ERROR_LINE = re.compile(r"([\w.]+(Error|Exception|Exit|Interrupt)\b|ERROR\b|[Ee]rror:|[Ff]atal:)")
_CONFINED = re.compile(
    r"Read-only file system|Permission denied|Network is unreachable|name resolution|"
    r"Connection ?(refused|Error)|Max retries|URLError|Could not resolve"
)


def failure_reason(errors: str, output: str, status: int) -> str:
    """Return why a program failed, in its own words: the last line that names an error.

    Args:
        errors: what it wrote to stderr.
        output: what it wrote to stdout.
        status: its exit status.
    """
    for text in (errors, output):
        lines = [line.strip() for line in text.split("\n")]
        reason = next((line for line in reversed(lines) if _ERROR_LINE.match(line)), "")
        if reason:
            break
    else:
        reason = last_line(errors) or last_line(output) or "no message"
    hint = "; it ran without network and could write to the clone only"
    return f"{reason} (exit status {status}{hint if _CONFINED.search(reason) else ''})"
