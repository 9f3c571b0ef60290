"""The survey of a folder of images: layout, classes, splits and hints, without a look at test data."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.images import make_folder, noise

from stages.core.errors import UserError
from stages.core.schema import Labels
from stages.datasets.images.survey import survey_images


def write(root: Path, *paths: str) -> None:
    for index, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        noise(index).save(root / path)


def test_classes_are_counted(tmp_path: Path) -> None:
    make_folder(tmp_path, "abc", 12)
    (tmp_path / "a/note.png").write_text("no image")
    survey = survey_images(tmp_path, "raw")
    assert (survey.layout, survey.labels, survey.split_counts) == ("classes", None, {})
    assert survey.counts == {"a": 13, "b": 12, "c": 12}
    assert (survey.unreadable, survey.side, survey.grey) == (1, 8, True)


def test_official_splits_are_counted_apart_and_test_data_are_not_looked_at(tmp_path: Path) -> None:
    for number, (split, count) in enumerate({"train": 20, "val": 5, "test": 30}.items()):
        make_folder(tmp_path / split, "ab", count, start=100 * number)
    for file in (tmp_path / "test").rglob("*.png"):  # of another size, colour and depth
        Image.new("RGB", (300, 300), (255, 0, 0)).save(file)
    survey = survey_images(tmp_path, "raw")
    assert survey.layout == "splits"
    assert survey.counts == {"a": 20, "b": 20}
    assert survey.split_counts == {
        "train": {"a": 20, "b": 20},
        "validation": {"a": 5, "b": 5},
        "test": {"a": 30, "b": 30},
    }
    assert (set(survey.sizes), survey.grey) == ({(8, 8)}, True)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("image,label", {"file": "image", "label": "label"}),
        ("image_id,dx,patient_id", {"file": "image_id", "label": "dx", "group": "patient_id"}),
        ("n,file,sort,set", {"file": "file", "label": "sort", "split": "set"}),
    ],
)
def test_the_columns_of_a_table_are_guessed(
    tmp_path: Path, header: str, columns: dict[str, str]
) -> None:
    write(tmp_path, *(f"images/{index:03}.png" for index in range(40)))
    names = header.split(",")
    lines = [header]
    for index in range(40):
        cells = {
            columns["file"]: f"{index:03}" if "id" in columns["file"] else f"{index:03}.png",
            columns["label"]: ["cat", "dog", "emu"][index % 3],
            columns.get("group", "-"): f"p{index // 2}",
            columns.get("split", "-"): "test" if index >= 30 else "train",
        }
        lines.append(",".join(cells.get(name, str(index * 7)) for name in names))
    (tmp_path / "meta.csv").write_text("\n".join(lines) + "\n")
    survey = survey_images(tmp_path, "raw")
    assert (survey.layout, survey.labels) == ("table", {"path": "meta.csv", **columns})
    train = 30 if "split" in columns else 40
    assert sum(survey.counts.values()) == train
    test = 10 if "split" in columns else 0
    assert sum(survey.split_counts.get("test", {}).values()) == test
    assert survey.group_hint is None


def test_problems_of_a_table_are_remarks(tmp_path: Path) -> None:
    write(tmp_path, *(f"{index:03}.png" for index in range(40)))
    rows = [f"{index:03}.png,{'ab'[index % 2]}" for index in range(35)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows, "x.png,a", "y.png,b"]))
    survey = survey_images(tmp_path, "raw", labels=Labels(path="t.csv", file="file", label="label"))
    assert survey.remarks == [
        "5 (035.png, 036.png, 037.png, ...): files in no row of t.csv are left out",
        "2 of 37 rows cannot be used: 2 no such file (t.csv row 36: 'x.png'; t.csv row 37: 'y.png')",
    ]


def test_a_table_with_faulty_rows_is_not_fatal_and_no_image_is(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(4):
            (tmp_path / name / f"{index}.png").write_text("no image")
    with pytest.raises(UserError, match="none of 8 sampled files is a readable image"):
        survey_images(tmp_path, "raw")


def test_sixteen_bit_files_with_twelve_bits_are_remarked(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(12):
            pixels = np.full((8, 8), 4000 - index, np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    assert any("use 12 bits" in remark for remark in survey_images(tmp_path, "raw").remarks)


# --- groups that names suggest
def patients(label: str, index: int) -> str:
    return f"{label}/patient{index % 12}_{index:03}.png"


def photographs(label: str, index: int) -> str:
    return f"{label}/IMG_{1000 * ord(label) + index // 3:04}-{index % 3}.jpg"


def scenes(label: str, index: int) -> str:
    return f"{label}/scene{index // 6}/frame{index:04}.png"


def numbers(label: str, index: int) -> str:
    return f"{label}/{index:04}.png"


def class_names(label: str, index: int) -> str:
    return f"{label}/{label}_{index:04}.png"


def prefixes(label: str, index: int) -> str:
    return f"{label}/image_{index:04}.png"


def unique(label: str, index: int) -> str:
    return f"{label}/{label}{index}x_1.png"


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (patients, {f"patient{n}" for n in range(12)}),
        (photographs, {f"IMG_{1000 * ord(label) + n:04}" for label in "ab" for n in range(16)}),
        (scenes, {f"scene{n}" for n in range(8)}),
        (numbers, None),
        (class_names, None),
        (prefixes, None),
        (unique, None),
    ],
)
def test_groups_are_suggested_where_names_have_them(
    tmp_path: Path, name: Callable[[str, int], str], groups: set[str] | None
) -> None:
    paths = [name(label, index) for label in "ab" for index in range(48)]
    write(tmp_path, *paths)
    hint = survey_images(tmp_path, "raw").group_hint
    if groups is None:
        assert hint is None
    else:
        assert hint is not None
        matches = [re.search(hint, path) for path in paths]
        assert {match[1] for match in matches if match} == groups


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(2, 4))
def test_a_suggested_pattern_always_makes_at_least_two_groups_and_at_most_half_as_many_as_files(
    tmp_path_factory: pytest.TempPathFactory, subjects: int, shots: int, classes: int
) -> None:
    root = tmp_path_factory.mktemp("groups")
    paths = [
        f"{'abcd'[(subject + shot) % classes]}/s{subject}_{shot}.png"
        for subject in range(subjects)
        for shot in range(shots)
    ]
    write(root, *paths)
    try:
        hint = survey_images(root, "raw").group_hint
    except UserError:  # fewer than two classes
        return
    if hint is not None:
        matches = [re.search(hint, path) for path in paths]
        groups = [match[1] for match in matches if match]
        assert 2 <= len(set(groups)) <= len(paths) / 2
