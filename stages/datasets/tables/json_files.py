"""Tables of JSON objects: one on each line (JSON Lines), or one list of all, compressed or not."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.datasets.tables.csv_files import Row, read_lines, text_fault
from stages.datasets.tables.faults import CELLS, Fault

SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
_SAMPLED = 1000  # objects whose keys are the columns
_DEEPEST = 8  # level of nested values that are columns
_NOT_JSON = "not a JSON object"


@dataclass(frozen=True)
class JsonTable:
    """A table whose rows are JSON objects.

    A column is a key, or the path to a value inside nested objects and lists: `doc.label`,
    `filtered_resps.0`. A list of one value is that value; null and NaN are empty cells.
    """

    path: Path

    def header(self) -> list[str]:
        """Return the columns of the first 1,000 objects, in the order in which they occur.

        Raises:
            UserError: the file cannot be read, is empty, or has no object among the first 1,000 rows.
        """
        columns: dict[str, None] = {}
        for _, _, content in islice(self._objects(), _SAMPLED):
            if isinstance(content, dict):
                columns |= dict.fromkeys(_leaves(content))
        if not columns:
            raise UserError(
                f"{self.path}: no JSON objects; each line must be one, with a key a column"
            )
        return list(columns)

    def select(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of these columns; what a row does not have is empty.

        Raises:
            UserError: the file cannot be read, or is damaged.
        """
        for number, line, content in self._objects():
            if isinstance(content, Fault):
                yield Row(number, line, [], content)
                continue
            values = [_lookup(content, column) for column in columns]
            nested = [
                name for name, value in zip(columns, values, strict=True) if _is_nested(value)
            ]
            if nested:
                detail = f"{nested[0]!r} holds several values; name one of them, as {nested[0]}.0"
                yield Row(number, line, [], Fault(CELLS, detail))
                continue
            cells = [_cell(value) for value in values]
            yield Row(number, line, cells, text_fault(cells))

    def _objects(self) -> Iterator[tuple[int, int, dict[str, Any] | Fault]]:
        """Yield number, line (0 in a list) and object of each row, in its place what is no object."""
        lines = read_lines(self.path)
        number = 0
        for line, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            if number == 0 and text.lstrip().startswith("["):
                content = _parse(text + "".join(lines))
                items = content if isinstance(content, list) else [content]
                for place, item in enumerate(items, start=1):
                    yield place, 0, item if isinstance(item, dict | Fault) else Fault(_NOT_JSON)
                return
            number += 1
            content = _parse(text)
            yield number, line, content if isinstance(content, dict | Fault) else Fault(_NOT_JSON)


def _parse(text: str) -> Any:
    """Return the value of a JSON text, or a fault."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Fault(_NOT_JSON, str(error))


def _leaves(value: Any, prefix: str = "", level: int = 0) -> Iterator[str]:
    """Yield the paths of all values in a JSON value; that of a list of one value too."""
    if isinstance(value, dict | list) and level < _DEEPEST:
        if _is_single(value):
            yield prefix
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key), level + 1)
    else:
        yield prefix


def _lookup(content: dict[str, Any], column: str) -> Any:
    """Return the value of a column: of the key of that name, or at the end of that path."""
    value: Any = content
    for key in [column] if column in content else column.split("."):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value[0] if _is_single(value) else value


def _is_single(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict | list)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _cell(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)
