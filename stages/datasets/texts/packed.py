"""A source's texts packed into one file that is read by memory map."""

import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import UserError
from stages.core.files import atomic_writer, sha256
from stages.core.progress import progress
from stages.datasets.ledger import PackedSamples, PackingLedger
from stages.datasets.tables.faults import FaultyRow
from stages.datasets.texts.emoji import EMOJI

if TYPE_CHECKING:
    from stages.datasets.texts.sources import TextSample

_INTEGER = 8  # bytes of an integer in the file
_HEADER = 3 * _INTEGER
_MAGIC = int.from_bytes(b"texts 1\n", "little")  # the first bytes of the file
_WORD = re.compile(rf"\w+(?:'\w+)*|{EMOJI}")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, and its emoji; an apostrophe is a part of its word."""
    return _WORD.findall(text.casefold().replace("\u2019", "'"))


class PackedTexts:
    """The texts in a packed file.

    The file holds three integers (a magic number, the number of texts, the number of bytes), the UTF-8
    bytes of all texts one after another, and the position at which each text ends. Integers are
    64-bit and little-endian.

    Args:
        path: a file that `pack_texts` wrote.

    Raises:
        UserError: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            magic, count, length = (int(value) for value in data[:_HEADER].view("<u8"))
            end = _HEADER + length
            intact = magic == _MAGIC and len(data) == end + _INTEGER * count
            self._bytes, self._ends = data[_HEADER:end], data[end:].view("<u8")
        except FileNotFoundError:
            raise UserError(f"{path} is missing; make it with `dvc repro`") from None
        except (ValueError, IndexError):
            intact = False
        if not intact:
            raise UserError(f"{path} is damaged (cut short); make it again with `dvc repro`")

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        return (self._text(row) for row in range(len(self)))

    def at(self, rows: Iterable[int]) -> list[str]:
        """Return the texts at `rows`."""
        return [self._text(int(row)) for row in rows]

    def _text(self, row: int) -> str:
        start = int(self._ends[row - 1]) if row else 0
        return self._bytes[start : int(self._ends[row])].tobytes().decode()


def pack_texts(
    samples: "Iterable[TextSample | FaultyRow]", slices: tuple[str, ...], path: Path
) -> PackedSamples:
    """Write the distinct texts of a source into one file, and return the account of it.

    Texts that differ only in case and white space count as equal. Each text is written as it comes,
    so that memory does not grow with the texts' length.

    Args:
        samples: the source's texts, and in their places the rows without a usable one; read once.
        slices: the names of the samples' `slices`.
        path: of the file.
    """
    ledger = PackingLedger(slices)
    ends = array("Q")
    with atomic_writer(path) as file:
        file.write(bytes(_HEADER))
        for sample in progress(samples, "packing texts"):
            if isinstance(sample, FaultyRow):
                ledger.exclude(sample.name, sample.label, str(sample.fault))
                continue
            normalised = " ".join(sample.text.casefold().split()).encode()
            names = (sample.name, sample.label, sample.group)
            if ledger.add(*names, normalised, *sample.slices, official_split=sample.split):
                data = sample.text.encode()
                file.write(data)
                ends.append((ends[-1] if ends else 0) + len(data))
        file.write(np.asarray(ends, dtype="<u8").tobytes())
        file.seek(0)
        header = [_MAGIC, len(ends), ends[-1] if ends else 0]
        file.write(np.array(header, dtype="<u8").tobytes())
    return ledger.finish(sha256(path))
