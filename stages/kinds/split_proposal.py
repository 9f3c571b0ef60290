"""The split that `evidence new` proposes: shares of test and validation data, or folds."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from stages.datasets.dataset import SPLITS
from stages.kinds.plans import SplitSizes
from stages.kinds.proposal import ALPHA, Setting, commented_line

if TYPE_CHECKING:
    import numpy as np

# The shares of test and validation data, for fewer than so many samples.
_SHARES = ((500, 0.25, 0.15), (2000, 0.2, 0.1), (20_000, 0.15, 0.1))
_LARGE_SHARES = (0.1, 0.05)
_FEWEST_FOLDS, _MOST_FOLDS = 3, 7
_FEW_GROUPS = (
    30  # a fifth of them, a usual test split, are 6: fewer can show nothing at p below 0.05
)
_SEED = 0
_INDENT = 6  # blanks, of the section's key

GroupCounts = Mapping[tuple[str, str], int]  # samples of each (group, class)


@dataclass(frozen=True)
class SplitProposal:
    """A proposed split.

    Attributes:
        sizes: the expected number of samples in each split.
        section: the lines of `prepare.split`, for the template's placeholder `split_section`.
        setting: the same for the table of proposed params, with the reason.
        remarks: what the user should know of groups.
    """

    sizes: SplitSizes
    section: str
    setting: Setting
    remarks: tuple[str, ...] = ()


def propose_split(
    samples: int,
    official: Mapping[str, int],
    group_counts: GroupCounts = MappingProxyType({}),
) -> SplitProposal:
    """Return the split to propose: folds where few groups are known and no split is official.

    Args:
        samples: in all.
        official: the sizes of the splits that the data already have, by name; the others are drawn.
        group_counts: of samples in known groups; empty where no groups are known.
    """
    groups = len({group for group, _ in group_counts})
    if any(official.get(name) for name in SPLITS) or not 0 < groups <= _FEW_GROUPS:
        return _propose_shares(samples, official)
    folds = fold_count(group_counts)
    if folds > 1:
        return _propose_folds(samples, folds, groups)
    remark = (
        f"{groups} groups cannot fill {len(SPLITS)} splits: prepare will refuse them; --groups none leaves "
        "samples independent"
        if groups < len(SPLITS)
        else f"no folds over the {groups} groups: some would have no training samples of a class"
    )
    return _propose_shares(samples, official, (remark,))


def split_shares(samples: int) -> tuple[float, float]:
    """Return the shares of test and validation data: the more samples, the smaller."""
    return next(
        ((test, validation) for limit, test, validation in _SHARES if samples < limit),
        _LARGE_SHARES,
    )


def split_sizes(samples: int, official: Mapping[str, int]) -> SplitSizes:
    """Return the expected sizes of the splits, without folds.

    Args:
        samples: in all.
        official: the sizes of the splits that the data already have, by name; the others are drawn.
    """
    test_share, validation_share = split_shares(samples)
    test = official.get("test") or round(test_share * samples)
    rest = samples - test if official.get("test") else samples
    validation = official.get("validation") or round(validation_share * rest)
    validation, test = max(1, validation), max(1, test)
    return SplitSizes(max(1, samples - validation - test), validation, test)


def fold_count(group_counts: GroupCounts) -> int:
    """Return the number of folds for samples in groups: the largest from 3 to 7 that can be used; 1: none.

    Each part must have a group, and each fold training samples of every class. Whether that is so is told
    by the draw itself, with the proposed seed.
    """
    import numpy as np

    from stages.core.schema import Split
    from stages.datasets.splits import draw_folds

    counts = [*group_counts.values()]
    (groups, names), (labels, _) = (
        (np.repeat(codes, counts), values)
        for column in zip(*group_counts, strict=True)
        for values, codes in [np.unique(column, return_inverse=True)]
    )
    for folds in range(min(_MOST_FOLDS, len(names)), _FEWEST_FOLDS - 1, -1):
        part = draw_folds(groups, labels, Split(folds=folds, seed=_SEED))
        if _can_be_used(part, labels, folds):
            return folds
    return 1


def _can_be_used(part: "np.ndarray", labels: "np.ndarray", folds: int) -> bool:
    """Return whether each fold has test and validation samples, and trains on every class."""
    import numpy as np

    of_class = np.zeros((labels.max() + 1, folds), dtype=np.int64)
    np.add.at(of_class, (labels, part), 1)
    training = of_class.sum(axis=1, keepdims=True) - of_class - np.roll(of_class, -1, axis=1)
    return bool((of_class.sum(axis=0) > 0).all() and (training > 0).all())


def _propose_shares(
    samples: int, official: Mapping[str, int], remarks: tuple[str, ...] = ()
) -> SplitProposal:
    sizes = split_sizes(samples, official)
    test, validation = split_shares(samples)
    reason = (
        f"{samples} samples: about {sizes.train} to train on, {sizes.validation} and {sizes.test}"
        + "".join(f"; official {name} data stay" for name in SPLITS[1:] if official.get(name))
    )
    section = _section(
        "", (f"test: {test:g}", "share of groups held out"), (f"validation: {validation:g}", "")
    )
    setting = Setting("prepare.split", f"test {test:g}, validation {validation:g}", reason)
    return SplitProposal(sizes, section, setting, remarks)


def _propose_folds(samples: int, folds: int, groups: int) -> SplitProposal:
    from stages.evaluation.verdict import groups_needed

    validation = max(1, round(samples / folds))
    sizes = SplitSizes(max(1, samples - 2 * validation), validation, samples, folds)
    section = _section(
        "instead of folds: test and validation, shares of groups held out once",
        (f"folds: {folds}", "each part of the groups is tested by models that saw none of it"),
    )
    reason = (
        f"{groups} groups: each is tested once, by models of about {sizes.train} samples of others"
    )
    needed = groups_needed(ALPHA)
    remark = (
        f"{groups} groups: no test over fewer than {needed} can reach p below {ALPHA}, so the verdict will "
        "be *too few groups*"
    )
    return SplitProposal(
        sizes,
        section,
        Setting("prepare.split.folds", str(folds), reason),
        (remark,) if groups < needed else (),
    )


def _section(comment: str, *rows: tuple[str, str]) -> str:
    """Return the lines of `prepare.split`.

    Args:
        comment: beside its key.
        rows: (key and value, comment), without the seed.
    """
    seed = (f"seed: {_SEED}", "of the split, independent of the training seeds")
    return "\n".join(
        [
            commented_line(f"{'':{_INDENT}}split:", comment),
            *(commented_line(f"{'':{_INDENT + 2}}{code}", note) for code, note in (*rows, seed)),
        ]
    )
