"""Folds: each group is test data once, and no fold's models see their test data."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import draw_noise, image_task

from stages.core.errors import UserError
from stages.core.files import write_all
from stages.core.schema import Split
from stages.datasets.dataset import EXCLUDED, Dataset, read_prepared
from stages.datasets.splits import draw_folds, split_of_fold
from stages.kinds.image_classification.prepare import prepare
from stages.kinds.params import load_tasks
from stages.training.sanity_checks.data import data_checks


@st.composite
def grouped_samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Split]:
    folds = draw(st.integers(3, 8))
    sizes = draw(st.lists(st.integers(1, 6), min_size=folds, max_size=30))
    groups = np.repeat([f"writer-{number}" for number in range(len(sizes))], sizes)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    order = random.permutation(len(groups))
    labels = random.integers(0, 3, len(groups))
    return groups[order], labels, Split(folds=folds, seed=draw(st.integers(0, 1000)))


@settings(max_examples=50, deadline=None)
@given(grouped_samples())
def test_each_group_is_test_data_once_and_validation_data_once(
    samples: tuple[np.ndarray, np.ndarray, Split],
) -> None:
    groups, labels, params = samples
    part = draw_folds(groups, labels, params)
    no_pairs = np.empty((0, 2), dtype=np.int64)
    splits = np.array(
        [split_of_fold(part, fold, params.folds, no_pairs) for fold in range(params.folds)]
    )
    for name, times in (("test", 1), ("validation", 1), ("train", params.folds - 2)):
        assert ((splits == name).sum(axis=0) == times).all()
    for split in splits:
        for group in np.unique(groups):
            assert len(set(split[groups == group])) == 1
        assert {"train", "validation", "test"} == set(split)


def test_a_near_duplicate_of_a_held_out_sample_is_excluded_in_that_fold_only() -> None:
    part = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    pairs = np.array([[0, 3]])  # of parts 0 and 3
    splits = [split_of_fold(part, fold, 4, pairs) for fold in range(4)]
    assert [split[0] for split in splits] == ["test", "train", EXCLUDED, EXCLUDED]
    # Fold 0 tests part 0, fold 3 tests part 3 and validates on part 0, fold 2 validates on part 3.
    assert [split[3] for split in splits] == [EXCLUDED, "train", "validation", "test"]
    assert all((split[[1, 2, 4, 5, 6, 7]] != EXCLUDED).all() for split in splits)


def test_too_few_groups_for_the_folds_are_an_error() -> None:
    groups, labels = np.array(["a", "a", "b", "b", "c"]), np.array([0, 1, 0, 1, 0])
    with pytest.raises(UserError, match="3 groups cannot fill 4 folds"):
        draw_folds(groups, labels, Split(folds=4, seed=0))


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ({"folds": 2}, "at least 3"),
        ({"folds": 5, "test": 0.2}, "must be absent with folds"),
        ({"folds": 5, "validation": 0.2}, "must be absent with folds"),
        ({"test": 0.2}, "test and validation, or folds"),
        ({}, "test and validation, or folds"),
        ({"test": 0.5, "validation": 0.5}, "leave a share"),
    ],
)
def test_a_split_is_either_shares_or_folds(split: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Split.model_validate({**split, "seed": 0})


def folds_of(folder: Path, source: Path, folds: int) -> tuple[Dataset, list[Dataset]]:
    """Prepare the images below `source`; return the whole dataset and each fold, as stages read them."""
    task = image_task(source, near_duplicate=0.0, split={"folds": folds, "seed": 0})
    write_all(folder, prepare(task, folder).files())
    dataset = read_prepared(folder)
    return dataset, [dataset.fold(fold) for fold in range(folds)]


def test_prepared_folds_pass_the_checks_and_cover_all_samples(tmp_path: Path) -> None:
    dataset, folds = folds_of(tmp_path / "out", draw_noise(tmp_path / "raw"), 4)
    assert (dataset.samples["split"] == "test").all()
    tested = np.concatenate([fold.rows("test") for fold in folds])
    assert sorted(tested) == sorted(dataset.samples["row"])
    assert dataset.note["folds"] == dataset.folds == 4
    assert dataset.note["counts"]["test"] == len(dataset.samples)
    assert dataset.note["counts"]["train"] == len(folds[0].rows("train"))
    for number, fold in enumerate(folds):
        assert (dataset.test_folds()[fold.samples.query("split == 'test'").index] >= 0).all()
        assert set(fold.rows("test")) == set(dataset.samples["row"][dataset.test_folds() == number])
    checks = data_checks(folds, np.empty((0, 2), dtype=np.int64))
    assert all(check.passed for check in checks)
    assert checks[-1].name == "every sample is test data in one fold"


def test_a_leak_in_any_fold_fails_the_checks(tmp_path: Path) -> None:
    _, folds = folds_of(tmp_path / "out", draw_noise(tmp_path / "raw"), 4)
    leaking = folds[2].samples.copy()
    first = leaking.index[leaking["split"] == "test"][0]
    second = leaking.index[leaking["split"] == "train"][0]
    leaking.loc[second, "group"] = leaking.loc[first, "group"]
    folds[2] = Dataset(leaking, folds[2].note)
    checks = {check.name: check for check in data_checks(folds, np.empty((0, 2), dtype=np.int64))}
    failed = checks["no group across splits"]
    assert not failed.passed
    assert failed.observed.startswith("fold 2: groups in more than one split: 1")


def test_near_duplicate_pairs_across_the_splits_of_a_fold_fail_the_checks(tmp_path: Path) -> None:
    _, folds = folds_of(tmp_path / "out", draw_noise(tmp_path / "raw"), 4)
    pair = np.array([[folds[1].rows("test")[0], folds[1].rows("train")[0]]])
    checks = {check.name: check for check in data_checks(folds, pair)}
    assert not checks["no duplicate across splits"].passed


def test_official_splits_are_not_mixed_into_folds(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    for split in ("train", "test"):
        draw_noise(source / split)
    with pytest.raises(UserError, match=r"prepare\.split\.folds: given 4; the source has official"):
        folds_of(tmp_path / "out", source, 4)


def test_generation_has_no_folds() -> None:
    task = load_tasks()["generative"]
    changed = task.params.model_dump()
    changed["prepare"]["split"] = {"folds": 4, "seed": 0}
    with pytest.raises(ValueError, match="must be 1 or absent"):
        type(task.params).model_validate(changed)


def test_a_fold_has_its_own_folder_for_what_it_fits() -> None:
    task = load_tasks()["image"]
    folds = task.folds()
    assert [fold.fold for fold in folds] == list(range(task.params.prepare.split.folds))
    assert folds[2].folder("train").as_posix() == "data/train/image/fold-2"
    assert folds[2].folder("prepare") == task.folder("prepare")
    assert folds[2].folds() == [folds[2]]
    assert folds[2].run_name(0) == "fold 2, seed 0"
