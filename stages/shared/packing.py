"""What a source says of itself, and what becomes of its samples as they are packed."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Origin:
    """What the dataset note says of a source.

    Attributes:
        origin: where the samples come from.
        licence: under which terms.
        label_rules: what a label means.
        raw_sha256: of the raw bytes; None where the packed array's stands for them.
    """

    origin: str
    licence: str
    label_rules: str
    raw_sha256: str | None = None


@dataclass
class Packed:
    """What packing a source gave.

    Attributes:
        samples: a row a sample of the packed array: row, id, label (by name), group,
            official_test, and the columns by which the source slices.
        unreadable: a row a sample that could not be read: id, label, problem.
        repeated: a row an exact repetition, left out: id, label, same_as, same_label.
        sha256: of the packed array's file.
    """

    samples: "pd.DataFrame"
    unreadable: "pd.DataFrame"
    repeated: "pd.DataFrame"
    sha256: str


@dataclass
class Ledger:
    """The account that is kept while samples stream by: of each, its names and a digest only.

    Attributes:
        slices: names of further columns.
    """

    slices: tuple[str, ...] = ()
    _kept: list[tuple[str | bool, ...]] = field(default_factory=list)
    _unreadable: list[tuple[str, str, str]] = field(default_factory=list)
    _repeated: list[tuple[str, str, str, bool]] = field(default_factory=list)
    _seen: dict[bytes, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._kept)

    def leave_out(self, name: str, label: str, problem: str) -> None:
        """Note a sample that cannot be read, and why."""
        self._unreadable.append((name, label, problem))

    def keep(
        self,
        name: str,
        label: str,
        group: str,
        content: bytes,
        *more: str,
        official_test: bool = False,
    ) -> bool:
        """Note a sample; return whether its content is new, so that it is to be packed."""
        digest = hashlib.blake2b(content, digest_size=16).digest()
        first = self._seen.setdefault(digest, len(self._kept))
        if first < len(self._kept):
            other = self._kept[first]
            self._repeated.append((name, label, str(other[0]), other[1] == label))
            return False
        self._kept.append((name, label, group, official_test, *more))
        return True

    def closed(self, sha256: str) -> Packed:
        """Return the account, once the packed array is written."""
        import pandas as pd

        columns = ["id", "label", "group", "official_test", *self.slices]
        samples = pd.DataFrame(self._kept, columns=columns)
        samples.insert(0, "row", range(len(samples)))
        return Packed(
            samples,
            pd.DataFrame(self._unreadable, columns=["id", "label", "problem"]),
            pd.DataFrame(self._repeated, columns=["id", "label", "same_as", "same_label"]),
            sha256,
        )
