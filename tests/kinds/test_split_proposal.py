"""Which split is proposed: folds where few groups are known, otherwise shares."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import ROOT, read_params

from stages.core.params import parse_yaml
from stages.core.schema import Split
from stages.datasets.splits import draw_folds
from stages.evaluation.verdict import groups_needed, smallest_p
from stages.kinds.plans import SplitSizes
from stages.kinds.proposal import fill_template, read_template
from stages.kinds.split_proposal import (
    SplitProposal,
    fold_count,
    propose_split,
    split_shares,
    split_sizes,
)

PARAMS = (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("samples", "shares"),
    [
        (100, (0.25, 0.15)),
        (500, (0.2, 0.1)),
        (2000, (0.15, 0.1)),
        (20_000, (0.1, 0.05)),
        (10**6, (0.1, 0.05)),
    ],
)
def test_the_more_samples_the_smaller_the_held_out_share(
    samples: int, shares: tuple[float, float]
) -> None:
    assert split_shares(samples) == shares


@pytest.mark.parametrize(
    ("official", "sizes"),
    [
        ({}, SplitSizes(750, 100, 150)),
        ({"": 1000}, SplitSizes(750, 100, 150)),
        # Validation data are drawn from what is no test data: 10% of 800.
        ({"train": 800, "test": 200}, SplitSizes(720, 80, 200)),
        ({"train": 700, "validation": 100, "test": 200}, SplitSizes(700, 100, 200)),
    ],
)
def test_official_splits_keep_their_size(official: dict[str, int], sizes: SplitSizes) -> None:
    scale = 10
    scaled = {name: scale * count for name, count in official.items()}
    expected = SplitSizes(scale * sizes.train, scale * sizes.validation, scale * sizes.test)
    assert split_sizes(1000 * scale, scaled) == expected
    assert propose_split(1000 * scale, scaled).sizes == expected


@given(st.integers(3, 10**6))
def test_every_split_has_a_sample(samples: int) -> None:
    sizes = split_sizes(samples, {})
    assert min(sizes.train, sizes.validation, sizes.test) >= 1
    assert abs(sizes.train + sizes.validation + sizes.test - samples) <= 1


def test_official_data_are_named() -> None:
    official = {"train": 500, "test": 100}
    assert propose_split(600, official).setting.reason.endswith(" and 100; official test data stay")
    official["validation"] = 50
    reason = propose_split(600, official).setting.reason
    assert reason.endswith("; official validation data stay; official test data stay")


# --- folds
def people(count: int, images: int = 6, classes: str = "ab") -> Counter[tuple[str, str]]:
    """Return the counts of people of whom there are so many images of each class."""
    return Counter({(f"p{n}", name): images for n in range(count) for name in classes})


def written(split: SplitProposal) -> dict[str, float]:
    values: dict[str, float] = parse_yaml(split.section)["split"]
    Split.model_validate(values)
    return values


@pytest.mark.parametrize(
    ("groups", "folds"),
    [(3, 3), (4, 4), (6, 6), (7, 7), (8, 7), (14, 7), (30, 7), (31, 1), (40, 1), (1, 1), (2, 1)],
)
def test_few_groups_are_each_tested_once(groups: int, folds: int) -> None:
    counts = people(groups)
    split = propose_split(counts.total(), {}, counts)
    assert split.sizes.folds == folds
    if folds > 1:
        assert written(split) == {"folds": folds, "seed": 0}
        assert (split.setting.key, split.setting.value) == ("prepare.split.folds", str(folds))
        assert split.setting.reason.startswith(f"{groups} groups: each is tested once")
    else:
        assert written(split) == {"test": 0.25, "validation": 0.15, "seed": 0}


def test_sizes_of_folds_are_those_of_each_fold_and_all_are_tested() -> None:
    assert propose_split(1400, {}, people(14, 50)).sizes == SplitSizes(1000, 200, 1400, folds=7)


def test_official_splits_have_no_folds() -> None:
    official = {"train": 100, "test": 20}
    assert propose_split(120, official, people(10)) == propose_split(120, official)


@pytest.mark.parametrize("groups", range(1, 12))
def test_groups_too_few_for_any_verdict_are_said(groups: int) -> None:
    counts = people(groups)
    remarks = propose_split(counts.total(), {}, counts).remarks
    if groups < 3:
        assert remarks[0].startswith(f"{groups} groups cannot fill 3 splits")
    elif smallest_p(groups) >= 0.05:
        assert "no test over fewer than 6" in remarks[0]
        assert "the verdict will be *too few groups*" in remarks[0]
    else:
        assert not remarks
        assert groups >= groups_needed(0.05)


def test_no_folds_are_proposed_where_some_would_lack_a_class() -> None:
    # Three groups have the class c, so of three folds each trains on one of them, and of seven all do.
    assert fold_count(people(9) + Counter({(f"p{n}", "c"): 6 for n in range(3)})) == 7
    # With one group of class c, the fold that tests it has none to train on.
    counts = people(9) + Counter({("p0", "c"): 6})
    assert fold_count(counts) == 1
    split = propose_split(counts.total(), {}, counts)
    assert written(split) == {"test": 0.25, "validation": 0.15, "seed": 0}
    assert split.remarks == (
        "no folds over the 9 groups: some would have no training samples of a class",
    )


grouped = st.dictionaries(
    st.tuples(st.text("pqrstu", max_size=2).map("g".__add__), st.sampled_from("abc")),
    st.integers(1, 40),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(grouped)
def test_each_proposed_fold_tests_a_group_and_trains_on_every_class(
    counts: dict[tuple[str, str], int],
) -> None:
    folds = fold_count(counts)
    groups, labels = np.array([key for key, count in counts.items() for _ in range(count)]).T
    if folds == 1:
        return
    assert 3 <= folds <= min(7, len({*groups}))
    part = draw_folds(groups, labels, Split(folds=folds, seed=0))
    for fold in range(folds):
        assert (part == fold).any()
        training = ~np.isin(part, [fold, (fold + 1) % folds])
        assert {*labels[training]} == {*labels}


@settings(deadline=None)
@given(grouped, st.sampled_from([{}, {"test": 20}, {"train": 50, "validation": 9}]))
def test_every_proposed_split_is_allowed(
    counts: dict[tuple[str, str], int], official: dict[str, int]
) -> None:
    split = propose_split(sum(counts.values()) + sum(official.values()), official, counts)
    assert written(split)["seed"] == 0
    sizes = split.sizes
    assert min(sizes.train, sizes.validation, sizes.test) >= 1
    assert (sizes.folds > 1) == ("folds" in written(split))


@pytest.mark.parametrize("kind", ["image_classification", "text_classification"])
@pytest.mark.parametrize("groups", [0, 9])
def test_the_section_has_the_comments_of_the_tasks_that_ship(kind: str, groups: int) -> None:
    section = propose_split(1000, {}, people(groups)).section
    template = read_template(kind, "template.yaml")
    assert "\n{split_section}\n" in template
    assert fill_template("{split_section}", {"split_section": section}) == f"{section}\n"
    shipped = PARAMS.replace(" (digits: writers)", "").splitlines()
    for line in section.splitlines():
        code, _, comment = line.partition(" # ")
        key = code.split(":")[0]
        assert any(
            other.startswith(f"{key}:") and other.partition(" # ")[2] == comment
            for other in shipped
        ), line
        assert "#" not in line or line.index("#") == 26
    assert read_params()["tasks"]["image"]["prepare"]["split"]["folds"] > 1
