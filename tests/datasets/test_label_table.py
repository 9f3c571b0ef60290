"""A table of labels: which file a row names, all faults at once, and columns that are guessed."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import excluded_samples, noise, prepare_images

from stages.core.errors import UserError
from stages.core.schema import Labels
from stages.datasets.dataset import SPLITS
from stages.datasets.images.folder_tree import FolderTree
from stages.datasets.images.label_table import file_finder
from stages.datasets.images.layouts import read_folder

LABELS: dict[str, Any] = {"path": "labels.csv", "file": "image", "label": "kind"}


def make_flat(root: Path, count: int = 30, folder: str = "images") -> list[str]:
    """Write `count` images into one folder; return their names."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    names = [f"img_{index:03}.png" for index in range(count)]
    for index, name in enumerate(names):
        noise(index).save(root / folder / name)
    return names


def write_table(file: Path, rows: list[list[str]], separator: str = ",") -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    file.write_text(text.getvalue())


def table(root: Path, names: list[str], *extra: list[str]) -> None:
    """Write a table of two classes, every other file of each, and more rows."""
    rows = [[name, "cat" if index % 2 else "dog"] for index, name in enumerate(names)]
    write_table(root / "labels.csv", [["image", "kind"], *rows, *extra])


# --- good tables
@pytest.mark.parametrize(
    "form",
    [
        "{name}",
        "{stem}",
        "images/{name}",
        "images/{stem}",
        "./images/{name}",
        "images\\{name}",
        "/home/somebody/data/images/{name}",
        " {name} ",
    ],
)
def test_a_row_names_a_file_in_the_ways_of_people(tmp_path: Path, form: str) -> None:
    names = make_flat(tmp_path / "raw")
    table(tmp_path / "raw", [form.format(name=n, stem=n.partition(".")[0]) for n in names])
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS)
    assert sorted(samples["id"]) == [f"images/{name}" for name in names]
    kinds = samples["id"].str[-7:-4].astype(int) % 2
    assert (samples["name"] == kinds.map({0: "dog", 1: "cat"})).all()
    assert (note["layout"], note["classes"]) == ("table", ["cat", "dog"])
    assert note["label_rules"] == "column 'kind' of labels.csv"


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_groups_and_splits_come_from_the_table(tmp_path: Path, suffix: str, separator: str) -> None:
    names = make_flat(tmp_path / "raw", 60)
    split = ["train", "Training", "train", "test", "TESTING", "val"]
    rows = [
        [name, "cat" if index % 2 else "dog", f"p{index // 6}", split[index // 10]]
        for index, name in enumerate(names)
    ]
    header = ["image", "kind", "patient", "part"]
    write_table(tmp_path / f"raw/labels.{suffix}", [header, *rows], separator)
    labels = {**LABELS, "path": f"labels.{suffix}", "group": "patient", "split": "part"}
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", labels=labels)
    assert note["official_splits"]["splits"] == list(SPLITS)
    assert samples[["group", "split"]].drop_duplicates()["group"].is_unique
    number = samples["id"].str[-7:-4].astype(int)
    assert set(samples.loc[number < 30, "split"]) == {"train"}
    assert set(samples.loc[(number >= 30) & (number < 48), "split"]) == {"test"}
    # Patient 8 has images of test and of validation data: test data win.
    assert set(samples.loc[(number >= 48) & (number < 54), "split"]) == {"test"}
    assert set(samples.loc[number >= 54, "split"]) == {"validation"}
    assert note["official_splits"]["moved_by_group"] == {"validation": 0, "test": 4}


def test_without_a_split_column_splits_are_drawn_and_the_row_order_does_not_matter(
    tmp_path: Path,
) -> None:
    names = make_flat(tmp_path / "raw")
    results = []
    for order in (names, names[::-1]):
        rows = [[name, str(int(name[4:7]) % 3)] for name in order]
        write_table(tmp_path / "raw/labels.csv", [["image", "kind"], *rows])
        prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS)
        results.append((tmp_path / "out/samples.csv").read_bytes())
    assert results[0] == results[1]


def test_files_in_no_row_are_left_out_and_said(tmp_path: Path) -> None:
    names = make_flat(tmp_path / "raw", 33)
    table(tmp_path / "raw", names[:30])
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS)
    assert len(samples) == 30
    assert note["remarks"][0] == (
        "3 (images/img_030.png, images/img_031.png, images/img_032.png): files in no row of labels.csv "
        "are left out"
    )


# --- faults
FAULTS = [
    ["", "cat"],
    ["nowhere.png", "cat"],
    ["gone.png", "dog"],
    ["img_030.png", ""],
    ["img_000.png", "dog"],  # as another row says
    ["img_031.png", "cat"],
    ["img_031.png", "dog"],
    ["img_032.png", "cat", "too many"],
    ["twice.png", "cat"],
]


def make_faulty(root: Path) -> None:
    names = make_flat(root, 34)
    for folder in ("images", "masks"):
        (root / folder).mkdir(exist_ok=True)
        noise(99).save(root / folder / "twice.png")
    table(root, names[:30], *FAULTS)


def test_all_faults_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    make_faulty(tmp_path / "raw")
    with pytest.raises(UserError) as error:
        prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS, unreadable="refuse")
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'raw'}: 9 files or rows cannot be used: 2 no such file (")
    for part in (
        "2 no such file (labels.csv row 32: 'nowhere.png'; labels.csv row 33: 'gone.png')",
        "2 file in two classes (labels.csv row 36: images/img_031.png (cat and dog); labels.csv row 37",
        "1 no file name (labels.csv row 31)",
        "1 empty label (labels.csv row 34: 'img_030.png')",
        "1 file in two rows (labels.csv row 35: images/img_000.png, as row 1)",
        "1 wrong number of cells (labels.csv row 38: given 3 cells, the header has 2)",
        "1 several such files (labels.csv row 39: 'twice.png' is images/twice.png and masks/twice.png)",
        "set tasks.image.prepare.unreadable: list to continue without them",
    ):
        assert part in line
    assert not (tmp_path / "out").exists()


def test_faulty_rows_can_be_left_out(tmp_path: Path) -> None:
    make_faulty(tmp_path / "raw")
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS)
    assert (len(samples), note["unreadable"]) == (30, 9)
    assert note["unreadable_kinds"]["no such file"] == 2
    excluded = excluded_samples(tmp_path / "out")
    assert set(excluded) == {f"labels.csv row {number}" for number in range(31, 40)}
    assert excluded["labels.csv row 34"] == ("unreadable", "empty label: 'img_030.png'")
    assert any(
        "images that cannot be used, and are listed: 9 (" in remark for remark in note["remarks"]
    )


def test_unknown_splits_and_empty_groups_are_faults_and_empty_splits_are_not(
    tmp_path: Path,
) -> None:
    names = make_flat(tmp_path / "raw", 32)
    rows = [[name, "ab"[index % 2], "g" + name, ""] for index, name in enumerate(names)]
    rows[0][3], rows[1][2] = "fold 1", ""
    write_table(tmp_path / "raw/labels.csv", [["image", "kind", "group", "split"], *rows])
    labels = {**LABELS, "group": "group", "split": "split"}
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", labels=labels)
    assert len(samples) == 30
    assert set(samples["split"]) == set(SPLITS)
    assert excluded_samples(tmp_path / "out") == {
        "labels.csv row 1": ("unreadable", "unknown split: 'fold 1'"),
        "labels.csv row 2": ("unreadable", "empty group: 'img_001.png'"),
    }
    assert note["official_splits"]["splits"] == []


@pytest.mark.parametrize(
    ("changes", "content", "message"),
    [
        ({"path": "none.csv"}, None, r"labels\.path: given 'none\.csv'; no such file in"),
        ({}, "", "the file is empty"),
        (
            {"file": "x", "label": "y"},
            None,
            r"file: column 'x' is missing; .*'y' is missing; the hea",
        ),
        ({}, "image,image,kind\n", r"file: column 'image' occurs twice"),
        ({}, "image,kind\nimg_000.png,a\nimg_001.png,a\n", "1 classes; at least 2 are needed"),
        (
            {},
            "image,kind\nimg_000.png,Cat\nimg_001.png,cat\n",
            "'Cat' and 'cat' differ only in case",
        ),
    ],
)
def test_a_table_that_cannot_be_used_gets_one_line(
    tmp_path: Path, changes: dict[str, str], content: str | None, message: str
) -> None:
    table(tmp_path / "raw", make_flat(tmp_path / "raw"))
    if content is not None:
        (tmp_path / "raw/labels.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        prepare_images(tmp_path / "raw", tmp_path / "out", labels={**LABELS, **changes})


def test_a_table_that_changes_while_it_is_read_stops_prepare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    table(raw, make_flat(raw))

    def disturb(*arguments: Any) -> Any:
        contents = read_folder(*arguments)
        (raw / "labels.csv").write_text("image,kind\n")
        return contents

    monkeypatch.setattr("stages.datasets.images.folder.read_folder", disturb)
    with pytest.raises(UserError, match=r"labels\.csv changed while it was read"):
        prepare_images(raw, tmp_path / "out", labels=LABELS)


# --- detection
def test_a_flat_folder_with_a_table_asks_for_its_columns(tmp_path: Path) -> None:
    table(tmp_path / "raw", make_flat(tmp_path / "raw"))
    with pytest.raises(UserError) as error:
        prepare_images(tmp_path / "raw", tmp_path / "out")
    assert (
        "labels.csv seems to name the files and their classes: set tasks.image.prepare.labels: {path: "
        "labels.csv, file: image, label: kind}, if these are its columns"
    ) in str(error.value)


def test_class_folders_beside_a_table_of_other_classes_are_ambiguous(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = make_flat(raw, folder="part_1")
    for index in range(30, 40):
        (raw / "part_2").mkdir(exist_ok=True)
        noise(index).save(raw / f"part_2/img_{index:03}.png")
    table(raw, names)
    with pytest.raises(
        UserError,
        match=r"2 ways.*classes: part_1 and part_2 are.*table gives the classes \(labels\.csv",
    ):
        prepare_images(raw, tmp_path / "out")
    _, note = prepare_images(raw, tmp_path / "out", layout="classes")
    assert note["classes"] == ["part_1", "part_2"]


def test_a_table_of_other_columns_beside_class_folders_does_not_matter(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = [f"{label}/{index}.png" for label in "ab" for index in range(12)]
    for index, name in enumerate(names):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        noise(index).save(raw / name)
    rows = [[name, "fm"[index % 2]] for index, name in enumerate(names)]
    write_table(raw / "people.csv", [["file", "sex"], *rows])
    _, note = prepare_images(raw, tmp_path / "out")
    assert (note["layout"], note["classes"]) == ("classes", ["a", "b"])


def test_several_columns_or_tables_of_classes_are_refused(tmp_path: Path) -> None:
    names = make_flat(tmp_path / "one hot")
    rows = [
        [name, *(str(int(index % 3 == n)) for n in range(3))] for index, name in enumerate(names)
    ]
    write_table(tmp_path / "one hot/truth.csv", [["image", "mel", "nv", "bcc"], *rows])
    make_flat(tmp_path / "two")
    for part in (names[:15], names[15:]):
        rows = [[name, "ab"[index % 2]] for index, name in enumerate(part)]
        write_table(tmp_path / f"two/{part[0]}.csv", [["image", "label"], *rows])
    for folder, columns in (
        ("one hot", "truth.csv, column 'mel' or truth.csv, column 'nv' or truth.csv, column 'bcc'"),
        ("two", "img_000.png.csv, column 'label' or img_015.png.csv, column 'label'"),
    ):
        with pytest.raises(UserError) as error:
            prepare_images(tmp_path / folder, tmp_path / "out")
        assert f"may give the classes: {columns}; " in str(error.value)


def test_of_a_number_and_a_name_of_the_class_the_name_is_meant(tmp_path: Path) -> None:
    names = make_flat(tmp_path / "raw")
    rows = [[name, str(index % 3), "abc"[index % 3]] for index, name in enumerate(names)]
    write_table(tmp_path / "raw/t.csv", [["image", "class_id", "class_name"], *rows])
    with pytest.raises(UserError, match="file: image, label: class_name"):
        prepare_images(tmp_path / "raw", tmp_path / "out")


def test_a_table_is_the_only_reading_of_folders_of_splits_without_classes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = make_flat(raw, folder="train")
    (raw / "test").mkdir()
    noise(500).save(raw / "test/unknown.png")
    rows = [[name.removesuffix(".png"), "ab"[index % 2]] for index, name in enumerate(names)]
    write_table(raw / "train.csv", [["id", "label"], *rows])
    write_table(raw / "sample_submission.csv", [["id", "label"], ["unknown", "a"]])
    with pytest.raises(UserError, match=r"labels: \{path: train\.csv, file: id, label: label\}"):
        prepare_images(raw, tmp_path / "out")


def test_a_table_in_another_encoding_is_told_row_by_row(tmp_path: Path) -> None:
    make_flat(tmp_path / "raw")
    rows = [f"img_{index:03}.png,{'grün' if index % 2 else 'rot'}" for index in range(30)]
    (tmp_path / "raw/labels.csv").write_bytes("\n".join(["image,kind", *rows]).encode("latin-1"))
    with pytest.raises(UserError, match=r"1 classes; at least 2 are needed \(15 not UTF-8 text"):
        prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS)


@pytest.mark.parametrize("names", [("cat", "dog"), ("a small lion", "a small wolf")])
def test_a_table_that_repeats_the_folders_of_classes_does_not_matter(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    raw = tmp_path / "raw"
    rows = [
        [f"{kind}/{name}", kind] for kind in ("cat", "dog") for name in make_flat(raw, 12, kind)
    ]
    for index, (name, _) in enumerate(rows):
        noise(index).save(raw / name)
    rows = [[file, names[kind == "dog"]] for file, kind in rows]
    write_table(raw / "metadata.csv", [["file", "label"], *rows])
    samples, note = prepare_images(raw, tmp_path / "out")
    assert (len(samples), note["layout"]) == (24, "classes")


def test_the_layout_table_without_a_table_is_rejected(tmp_path: Path) -> None:
    make_flat(tmp_path / "raw", folder=".")
    with pytest.raises(UserError, match="no table of labels: a CSV, TSV or Parquet file"):
        prepare_images(tmp_path / "raw", tmp_path / "out", layout="table")


# --- which file
PATHS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join).map("{}.png".format),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(max_examples=200, deadline=None)
@given(PATHS, st.data())
def test_a_whole_path_names_its_file_and_any_end_of_it_never_another(
    paths: list[str], data: st.DataObject
) -> None:
    find = file_finder(FolderTree(Path(), paths, [], []), "labels.csv")
    path = data.draw(st.sampled_from(paths))
    assert list(find(path)) == [path]
    parts = path.split("/")
    end = "/".join(parts[data.draw(st.integers(0, len(parts) - 1)) :])
    named = find(end)
    assert path in named or (end in paths and list(named) == [end])
    for other in named:
        assert other.endswith(end)
    stem = list(find(path.removesuffix(".png")))
    assert path in stem


def test_the_example_of_the_schema_is_complete() -> None:
    assert set(Labels.model_fields) == {"path", "file", "label", "group", "split", "separator"}
    assert Labels(path="x.csv", file="f", label="l").group is None


def test_a_column_of_formulas_and_numbers_is_text(tmp_path: Path) -> None:
    names = make_flat(tmp_path / "raw")
    rows = [[name, "=1+1" if index % 2 else "007"] for index, name in enumerate(names)]
    write_table(tmp_path / "raw/labels.csv", [["image", "kind"], *rows])
    _, note = prepare_images(tmp_path / "raw", tmp_path / "out", labels=LABELS)
    assert note["classes"] == ["007", "=1+1"]
    samples = pd.read_csv(tmp_path / "out/samples.csv")
    assert len(samples) == 30
