"""The pictures of samples, taken from the page of a pack: git holds no other pixels of them."""

import base64
import binascii
from collections.abc import Iterable
from html.parser import HTMLParser

_URL = "data:image/png;base64,"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_BYTES = 200_000  # of a picture


def find_pictures(page: str, ids: Iterable[str]) -> dict[str, bytes]:
    """Return the PNG pictures of samples on a page, by id.

    On the pages of packs, a failure case is an item of a list that holds its picture and, as a text of
    its own, its id.

    Args:
        page: HTML, perhaps of a stranger; nothing else of it is used.
        ids: of samples.
    """
    parser = _CaseParser(set(ids))
    parser.feed(page)
    return parser.pictures


class _CaseParser(HTMLParser):
    """Collects the first picture of each list item that names a sample."""

    def __init__(self, ids: set[str]) -> None:
        super().__init__()
        self.pictures: dict[str, bytes] = {}
        self._ids = ids
        self._items: list[str] = []  # the picture of each item that is open, "" for none so far

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "li":
            self._items.append("")
        elif tag == "img" and self._items and not self._items[-1]:
            self._items[-1] = dict(attrs).get("src") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "li" and self._items:
            self._items.pop()

    def handle_data(self, data: str) -> None:
        name = data.strip()
        if name in self._ids and name not in self.pictures and self._items:
            picture = _decode(self._items[-1])
            if picture:
                self.pictures[name] = picture


def _decode(url: str) -> bytes:
    """Return the bytes of a PNG picture in a data URL, none of anything else."""
    if not url.startswith(_URL) or len(url) > 2 * _MOST_BYTES:
        return b""
    try:
        data = base64.b64decode(url.removeprefix(_URL), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if data.startswith(_SIGNATURE) and len(data) <= _MOST_BYTES else b""
