"""Characters that steer a terminal or reorder a line, written so that a reader sees them."""

import re

# C0 and C1 without tab and line ends, and the embeddings, overrides and isolates of bidirectional text.
CONTROLS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Return text with control characters as escapes: an escape character as `\x1b`."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
