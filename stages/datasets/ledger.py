"""A source's description, and the ledger that is kept while its samples are packed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.datasets.dataset import SPLITS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SourceNote:
    """A source's part of the dataset note.

    Attributes:
        origin: where the samples come from.
        licence: the terms of use.
        label_rules: what a label means.
        raw_sha256: of the raw bytes; None: the digest of the packed array is used.
        limits: what results on these samples do not show, for the pack: term -> explanation.
        remarks: sentences on what is left out or unusual, for the user.
        synthetic: whether the samples are drawn for their labels, which are right by construction.
    """

    origin: str
    licence: str
    label_rules: str
    raw_sha256: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    synthetic: bool = False


@dataclass
class PackedSamples:
    """The result of packing a source.

    Attributes:
        samples: a row for each sample of the packed array: row, id, label (its name), group,
            official_split, and the source's slice columns.
        unreadable: a row for each sample that could not be read: id, label, problem.
        duplicates: a row for each exact duplicate, which is left out: id, label, same_as (the id of
            the sample that is kept), same_as_label.
        sha256: of the packed array's file.
    """

    samples: "pd.DataFrame"
    unreadable: "pd.DataFrame"
    duplicates: "pd.DataFrame"
    sha256: str


@dataclass
class PackingLedger:
    """The record of every sample that is packed or left out; it has names and digests, no content.

    Attributes:
        slices: the names of the source's slice columns.
    """

    slices: tuple[str, ...] = ()
    _packed: list[tuple[str, ...]] = field(default_factory=list)
    _unreadable: list[tuple[str, str, str]] = field(default_factory=list)
    _duplicates: list[tuple[str, str, int]] = field(default_factory=list)
    _digests: dict[bytes, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._packed)

    def exclude(self, name: str, label: str, problem: str) -> None:
        """Record a sample that cannot be read, and why."""
        self._unreadable.append((name, label, problem))

    def add(
        self,
        name: str,
        label: str,
        group: str,
        content: bytes,
        *slice_values: str,
        official_split: str = "",
    ) -> bool:
        """Record a sample; return whether to pack its content: False if it repeats an earlier one's.

        Of exact duplicates the first is kept, but official test data before validation data before
        training data: then the packed content becomes that of the later sample.

        Args:
            name: its id.
            label: the name of its class.
            group: its group, or "".
            content: bytes that equal samples have in common.
            slice_values: its values in the slice columns.
            official_split: "train", "validation" or "test" where the source gives it one, or "".
        """
        sample = (name, label, group, official_split, *slice_values)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        row = self._digests.setdefault(digest, len(self._packed))
        if row == len(self._packed):
            self._packed.append(sample)
            return True
        if _rank(sample) > _rank(self._packed[row]):
            sample, self._packed[row] = self._packed[row], sample
        self._duplicates.append((sample[0], sample[1], row))
        return False

    def finish(self, sha256: str) -> PackedSamples:
        """Return the record as tables, once the packed array with this digest is written."""
        import pandas as pd

        columns = ["id", "label", "group", "official_split", *self.slices]
        samples = pd.DataFrame(self._packed, columns=columns)
        duplicates = [
            (name, label, *self._packed[row][:2]) for name, label, row in self._duplicates
        ]
        samples.insert(0, "row", range(len(samples)))
        return PackedSamples(
            samples,
            pd.DataFrame(self._unreadable, columns=["id", "label", "problem"]),
            pd.DataFrame(duplicates, columns=["id", "label", "same_as", "same_as_label"]),
            sha256,
        )


def _rank(sample: tuple[str, ...]) -> int:
    """Return the place of a sample's official split in `SPLITS`; that of "train" where it has none."""
    official_split = sample[3]
    return SPLITS.index(official_split) if official_split else 0
