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
_WORDS = re.compile(r"\w+(?:'\w+)*")


def words(text: str) -> list[str]:
    """Return a text's words in small letters; an apostrophe inside a word belongs to it."""
    return _WORDS.findall(text.casefold().replace("\u2019", "'"))


class Texts:
    """Packed texts: how many, their bytes, and where each ends.

    Args:
        path: what `pack` wrote.

    Raises:
        Refusal: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            count = int(data[:_WORD].view("<u8")[0])
            tail = len(data) - _WORD * count
            self._bytes, self._ends = data[_WORD:tail], data[tail:].view("<u8")
            whole = tail >= _WORD and (count == 0 or int(self._ends[-1]) == len(self._bytes))
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
        file.write(bytes(_WORD))
        for passage in passages:
            same = " ".join(passage.text.casefold().split()).encode()
            names = (passage.name, passage.label, passage.group)
            if ledger.keep(*names, same, *passage.slices):
                data = passage.text.encode()
                file.write(data)
                ends.append((ends[-1] if ends else 0) + len(data))
        file.write(np.asarray(ends, dtype="<u8").tobytes())
        file.seek(0)
        file.write(len(ends).to_bytes(_WORD, "little"))
    return ledger.closed(sha256(path))
