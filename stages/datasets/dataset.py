"""A prepared dataset: the samples' table and the dataset note."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.files import read_csv, read_json

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.task import Task

SPLITS = ("train", "validation", "test")
EXCLUDED = "excluded"  # in a fold, a near duplicate of one of its held-out samples


@dataclass(frozen=True)
class Dataset:
    """Prepared samples.

    Attributes:
        samples: a row for each sample: row (in the packed array), id, label (index of its class),
            group, split, and the source's slice columns. With folds also `split_0`, `split_1`, ...: its
            split in each fold, or "excluded". As each sample is test data in one fold, `split` is "test"
            for all of them until a `fold` is selected.
        note: the dataset note; its "classes" are the names of the labels.
    """

    samples: "pd.DataFrame"
    note: dict[str, Any]

    @cached_property
    def classes(self) -> list[str]:
        """Return the names of the classes, in the order of their labels."""
        return list(self.note["classes"])

    @cached_property
    def folds(self) -> int:
        """Return the number of folds; 1: a single split."""
        return int(self.note.get("folds", 1))

    def fold(self, fold: int) -> "Dataset":
        """Return the samples of one fold, with its split."""
        split = self.samples[f"split_{fold}"]
        used = split != EXCLUDED
        return Dataset(
            self.samples[used].assign(split=split[used]).reset_index(drop=True), self.note
        )

    def test_folds(self) -> np.ndarray:
        """Return the fold in which each sample is test data, (n,), int64."""
        columns = [f"split_{fold}" for fold in range(self.folds)]
        tested = (self.samples[columns] == "test").to_numpy()
        folds: np.ndarray = tested.argmax(axis=1)
        return folds

    def part(self, split: str) -> "pd.DataFrame":
        """Return the samples of one split, in the order of the packed array."""
        return self.samples[self.samples["split"] == split].reset_index(drop=True)

    def labels(self, split: str) -> np.ndarray:
        """Return the labels of one split, (n,), int64."""
        return self.part(split)["label"].to_numpy(dtype=np.int64, copy=True)

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of the packed array that hold one split's samples, (n,), int64."""
        return self.part(split)["row"].to_numpy(dtype=np.int64, copy=True)

    def class_weights(self, rule: str | None) -> np.ndarray | None:
        """Return the weight of each class in the loss, (classes,), float32; None without a rule.

        Args:
            rule: "balanced": training samples over classes times those of the class, so that the samples
                of each class that occurs weigh the same in sum (King and Zeng, 2001); None.
        """
        if rule is None:
            return None
        counts = np.bincount(self.labels("train"), minlength=len(self.classes))
        weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
        weighted: np.ndarray = np.where(counts > 0, weights, 0.0).astype(np.float32)
        return weighted

    def draw(self, split: str, count: int, seed: int) -> np.ndarray:
        """Return at most `count` random positions within one split, sorted, (n,), int64."""
        order = np.random.default_rng(seed).permutation(len(self.part(split)))
        return np.sort(order[:count])


def read_dataset(task: "Task") -> Dataset:
    """Return the dataset that prepare wrote for a task; of one fold, its samples with its split.

    Raises:
        UserError: a file is missing or damaged.
    """
    dataset = read_prepared(task.folder("prepare"))
    return dataset if task.fold is None else dataset.fold(task.fold)


def read_prepared(folder: Path) -> Dataset:
    """Return the dataset that prepare wrote into `folder`.

    Raises:
        UserError: a file is missing or damaged.
    """
    types = {"row": "int64", "label": "int64", "split": "category"}
    table = read_csv(folder / "samples.csv", dtype=defaultdict(lambda: "str", types))
    return Dataset(table, read_json(folder / "dataset.json"))


def class_counts(samples: "pd.DataFrame", classes: list[str]) -> list[dict[str, Any]]:
    """Return the number of samples of each class in each split, a row for each class."""
    counts = samples.groupby(["label", "split"], observed=True).size().unstack(fill_value=0)
    return [
        {
            "class": name,
            **{
                split: int(counts[split].get(index, 0)) if split in counts else 0
                for split in SPLITS
            },
        }
        for index, name in enumerate(classes)
    ]
