"""dvc.lock, written after each stage: the bytes that DVC writes, in a fraction of the time.

DVC parses the whole file with all its formatting and writes it anew for each stage, which takes seconds for
some thousand dependencies. Here the text of each entry is kept, and only that of the stage is made anew.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from stages.core.files import write

_SCHEMA = "2.0"
_HEADING = "stages:\n"
_ENTRY = re.compile(r"^  (\S.*):\n", re.MULTILINE)


class LockFile:
    """The entries of a dvc.lock. It is replaced as a whole, so that a kill leaves the old or the new one.

    Args:
        path: of the file, which may be missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: dict[str, Any] = {}
        self._texts: dict[str, str] = {}  # of entries, by stage
        self._state: tuple[int, int] | None = None  # of the file as it was read or written

    def set(self, name: str, entry: Mapping[str, Any]) -> None:
        """Write the entry of a stage."""
        self._read()
        self._content.setdefault("stages", {})[name] = entry
        self._texts.pop(name, None)
        self._write()

    def sort(self, names: Iterable[str]) -> None:
        """Put the entries of stages in an order, those of others before them."""
        self._read()
        entries = self._content.get("stages", {})
        for name in names:
            if name in entries:
                entries[name] = entries.pop(name)
        self._write()

    def _read(self) -> None:
        """Read the file if another program has changed it."""
        from dvc.utils.serialize import load_yaml

        if self._state is not None and self._state == self._current_state():
            return
        exists = self.path.exists()
        self._content = load_yaml(str(self.path)) if exists else {"schema": _SCHEMA}
        self._texts = entry_texts(self.path.read_text(encoding="utf-8")) if exists else {}
        if [*self._texts] != [*self._content.get("stages", {})]:
            self._texts = {}  # it is not laid out as DVC writes it

    def _write(self) -> None:
        write(self.path, self._text())
        self._state = self._current_state()

    def _text(self) -> str:
        from dvc.utils.serialize import dumps_yaml

        if [*self._content] != ["schema", "stages"]:
            return str(dumps_yaml(self._content))
        for name, entry in self._content["stages"].items():
            if name not in self._texts:
                text: str = dumps_yaml({"stages": {name: entry}})
                self._texts[name] = text.removeprefix(_HEADING)
        texts = (self._texts[name] for name in self._content["stages"])
        return "".join([dumps_yaml({"schema": self._content["schema"]}), _HEADING, *texts])

    def _current_state(self) -> tuple[int, int] | None:
        if not self.path.exists():
            return None
        info = self.path.stat()
        return info.st_ino, info.st_mtime_ns


def entry_texts(text: str) -> dict[str, str]:
    """Return by stage the lines of its entry in a dvc.lock, as DVC lays it out.

    Args:
        text: of the file.
    """
    stages = text.partition(f"\n{_HEADING}")[2]
    starts = [*_ENTRY.finditer(stages)]
    bounds = pairwise([*(start.start() for start in starts), len(stages)])
    return {start[1]: stages[begin:end] for start, (begin, end) in zip(starts, bounds, strict=True)}
