"""Emoji in texts: each is a word of its own, which has a name in plain English."""

import re
import unicodedata

# Technical symbols, dingbats, stars and all pictographs, but not the modifiers of skin colour.
EMOJI = "[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff]"
# What shapes or joins the emoji before it: the variation selector, the joiner, a skin colour.
_NAMED = re.compile(f"({EMOJI})[\ufe0f\u200d\U0001f3fb-\U0001f3ff]*")


def name_emoji(text: str) -> str:
    """Return `text` with Unicode's name of each emoji in its place: "thumbs up sign".

    A tokenizer whose vocabulary lacks emoji reads all of them as the same unknown token. Names never
    change; one that this Python does not know yet stays a symbol.
    """
    return _NAMED.sub(lambda match: f" {unicodedata.name(match[1], match[1]).lower()} ", text)
