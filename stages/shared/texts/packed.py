"""The packed array that a source's texts become, read by memory map.

All texts' UTF-8 bytes stand one after another; where each begins and ends stands beside them.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.files import sha256, writing
from stages.shared.packing import Ledger, Packed
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.texts.source import Passage

_WORD = 8  # bytes of a number in the file
_MARK = int.from_bytes(b"texts 1\n", "little")  # the file's first bytes
_WORDS = re.compile(r"\w+(?:'\w+)*")


def words(text: str) -> list[str]:
    """Return a text's words in small letters; an apostrophe inside a word belongs to it."""
    return _WORDS.findall(text.casefold().replace("\u2019", "'"))


class Texts:
    """Packed texts: a mark, how many texts, how many bytes; the bytes; where each text ends.

    Args:
        path: what `pack` wrote.

    Raises:
        Refusal: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            mark, count, length = (int(one) for one in data[: 3 * _WORD].view("<u8"))
            start, tail = 3 * _WORD, 3 * _WORD + length
            whole = mark == _MARK and len(data) == tail + _WORD * count
            self._bytes, self._ends = data[start:tail], data[tail:].view("<u8")
        except FileNotFoundError:
            raise Refusal(f"{path} is missing; make it with `dvc repro`") from None
        except (ValueError, IndexError):
            whole = False
        if not whole:
            raise Refusal(f"{path} is damaged (cut short); make it again with `dvc repro`")

    def __len__(self) -> int:
        return len(self._ends)

    def at(self, rows: Iterable[int]) -> list[str]:
        """Return the texts at `rows`."""
        return [self._at(int(row)) for row in rows]

    def __iter__(self) -> Iterator[str]:
        return (self._at(row) for row in range(len(self)))

    def _at(self, row: int) -> str:
        start = int(self._ends[row - 1]) if row else 0
        return self._bytes[start : int(self._ends[row])].tobytes().decode()


def pack(passages: "Iterable[Passage]", slices: tuple[str, ...], path: Path) -> Packed:
    """Write the distinct texts of a source into one file.

    Texts that differ in case and blanks only are the same. Memory stays flat: texts go to the file
    as they come.
    """
    ledger = Ledger(slices)
    ends = array("Q")
    with writing(path) as file:
        file.write(bytes(3 * _WORD))
        for passage in passages:
            same = " ".join(passage.text.casefold().split()).encode()
            names = (passage.name, passage.label, passage.group)
            if ledger.keep(*names, same, *passage.slices):
                data = passage.text.encode()
                file.write(data)
                ends.append((ends[-1] if ends else 0) + len(data))
        file.write(np.asarray(ends, dtype="<u8").tobytes())
        file.seek(0)
        header = [_MARK, len(ends), ends[-1] if ends else 0]
        file.write(np.array(header, dtype="<u8").tobytes())
    return ledger.closed(sha256(path))
