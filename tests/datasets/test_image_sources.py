"""The sources of images: folders as people have them, the digits, data sets of torchvision."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from sklearn.datasets import load_digits
from support.images import (
    MNIST,
    excluded_samples,
    image_task,
    make_folder,
    make_mnist,
    noise,
    png_claiming,
    prepare_images,
    write_idx,
)
from support.network import disconnect
from support.project import ROOT

from stages.core.errors import UserError
from stages.core.schema import PrepareImages
from stages.datasets.images.sources import SOURCES, open_source

UNUSUAL = [
    "sp ace",
    "ünï çødé",
    "new\nline",
    "com,ma",
    'quo"te',
    "apo's",
    "=1+1",
    "NA",
    "日本",
    "#",
]
WRITERS = (ROOT / "data/raw/digits/writers.csv").read_text()


# --- folder
def test_unreadable_files_are_counted_and_listed_and_the_others_are_prepared(
    tmp_path: Path,
) -> None:
    raw = make_folder(tmp_path / "raw")
    (raw / "b/bomb.png").write_bytes(png_claiming(30_000, 30_000))
    (raw / "a/link.png").symlink_to("nowhere.png")
    (raw / "a/circle.png").symlink_to("circle.png")
    for index in range(60):  # more than the note lists by name
        (raw / f"b/text-{index:02}.jpg").write_text("no image")
    samples, note = prepare_images(raw, tmp_path / "out", max_pixels=10**6)
    assert len(samples) == 20
    assert note["unreadable"] == 63
    excluded = excluded_samples(tmp_path / "out")
    assert len(excluded) == 63
    assert excluded["a/link.png"] == ("unreadable", "no such file")
    assert excluded["b/bomb.png"][1].startswith("claims ")
    listed = {entry["id"]: entry for entry in note["unreadable_files"]}
    assert len(listed) == 50
    assert listed["b/text-00.jpg"]["label"] == "b"
    assert listed["b/text-00.jpg"]["problem"] == excluded["b/text-00.jpg"][1] == "not an image"


def test_an_unreadable_file_stops_prepare_if_the_params_say_so(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    (raw / "b/two\nlines.png").write_text("no image")
    (raw / "b/zero.png").touch()
    with pytest.raises(UserError) as error:
        prepare_images(raw, tmp_path / "out", unreadable="refuse")
    assert str(error.value) == (
        f"{raw}: 2 files or rows cannot be used: 1 not an image (b/two\\nlines.png), 1 empty file "
        "(b/zero.png); repair or remove them, or set tasks.image.prepare.unreadable: list to continue "
        "without them"
    )


def test_links_to_files_and_classes_are_followed(tmp_path: Path) -> None:
    make_folder(tmp_path / "elsewhere", "bc")
    raw = make_folder(tmp_path / "raw", "a")
    (raw / "b").symlink_to(tmp_path / "elsewhere/b")
    (raw / "a/linked.png").symlink_to(tmp_path / "elsewhere/c/0.png")
    samples, note = prepare_images(raw, tmp_path / "out")
    assert note["classes"] == ["a", "b"]
    assert "a/linked.png" in set(samples["id"])


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    (raw / "a/.DS_Store").write_bytes(b"junk")
    noise(99).save(raw / "a/.hidden.png")
    make_folder(raw / ".git")
    (raw / "a/.thumbnails").mkdir()
    noise(9).save(raw / "a/.thumbnails/x.png")
    samples, note = prepare_images(raw, tmp_path / "out")
    assert (len(samples), note["unreadable"], note["classes"]) == (20, 0, ["a", "b"])


def test_an_image_in_a_nested_folder_belongs_to_the_class(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    (raw / "a/2024/may").mkdir(parents=True)
    noise(99).save(raw / "a/2024/may/x.png")
    samples, _ = prepare_images(raw, tmp_path / "out")
    nested = samples[samples["id"] == "a/2024/may/x.png"]
    assert nested["name"].tolist() == ["a"]
    assert (nested["pixels"].iloc[0] == np.asarray(noise(99))).all()


def test_unusual_names_of_files_and_classes_are_kept(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number, name in enumerate(UNUSUAL):
        (raw / name).mkdir(parents=True)
        for index in range(4):
            noise(100 * number + index).save(raw / name / f"{name} {index}.png")
        (raw / name / f"{name}.jpg").write_text("no image")
    samples, note = prepare_images(raw, tmp_path / "out", min_per_class=3)
    names = [name.replace("\n", "\\n") for name in UNUSUAL]  # unprintable characters are escaped
    assert note["classes"] == sorted(names)
    assert sorted(samples["id"]) == sorted(f"{n}/{n} {i}.png" for n in names for i in range(4))
    assert all(row["id"].startswith(f"{row['name']}/") for row in samples.to_dict("records"))
    assert set(excluded_samples(tmp_path / "out")) == {f"{name}/{name}.jpg" for name in names}


def test_an_escaped_name_cannot_be_mistaken_for_another(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", "ab")
    (raw / "a").rename(raw / "x\ny")
    (raw / "b").rename(raw / "x\\ny")
    _, note = prepare_images(raw, tmp_path / "out")
    assert len(note["classes"]) == 2


@pytest.mark.parametrize("path", ["nowhere", "raw/a/0.png"])
def test_a_path_that_is_not_a_folder_is_rejected(tmp_path: Path, path: str) -> None:
    make_folder(tmp_path / "raw")
    with pytest.raises(UserError, match=r"^tasks\.image\.prepare\.path \('.*'\) is not a folder"):
        open_source(image_task(tmp_path / path))


# --- folder: groups
@pytest.mark.parametrize(
    ("pattern", "without_group"),
    [
        (r"/(\d+)\.png$", 0),
        (r"/(1\d)?\d*\.png", 60),  # the group may match nothing
        (r"/(2\d)\.png", 60),
    ],
)
def test_a_file_without_a_group_is_listed_as_unreadable(
    tmp_path: Path, pattern: str, without_group: int
) -> None:
    raw = make_folder(tmp_path / "raw", count=40)
    noise(77).save(raw / "a/who.png")
    _, note = prepare_images(raw, tmp_path / "out", group_pattern=pattern)
    assert note["unreadable"] == without_group + 1
    assert {
        "id": "a/who.png",
        "label": "a",
        "problem": "no group: group_pattern does not match its path",
    } in note["unreadable_files"]


def test_a_group_with_a_carriage_return_is_kept(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", count=12)
    for file in list(raw.rglob("*.png")):
        file.rename(file.with_name(f"p\r{int(file.stem) % 6}_{file.name}"))
    samples, _ = prepare_images(raw, tmp_path / "out", group_pattern=r"(p\s\d)_")
    assert len(samples) == 24


# --- digits
def make_writers(tmp_path: Path, table: str | bytes) -> Path:
    (tmp_path / "raw").mkdir()
    data = table.encode() if isinstance(table, str) else table
    (tmp_path / "raw/writers.csv").write_bytes(data)
    return tmp_path / "raw"


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (8, 3), (12, 1)])
def test_the_digits_have_their_writers_as_groups(tmp_path: Path, size: int, channels: int) -> None:
    raw = make_writers(tmp_path, WRITERS)
    source = open_source(image_task(raw, source="digits", size=size, channels=channels))
    samples = list(source.samples)
    assert len(samples) == 1797
    pixels = np.stack([sample.pixels for sample in samples if sample.pixels is not None])
    assert pixels.shape == (1797, channels, size, size)
    if size == 8:  # each shade of ink, 0 to 16, becomes one of 0 to 255
        for shade, grey in zip(load_digits().images[::50], pixels[::50, 0], strict=True):
            assert (np.abs(grey - shade * 255 / 16) <= 0.5).all()
    starts = [int(row.split(",")[0]) for row in WRITERS.split()[1:]]
    for start, name in zip(starts, (row.split(",")[1] for row in WRITERS.split()[1:]), strict=True):
        assert samples[start].group == name
        assert start == 0 or samples[start - 1].group != name
    assert {sample.label for sample in samples} == set("0123456789")


HEADER = "first_sample,writer\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "is missing; restore it with `git checkout"),
        (b"", "is damaged"),
        (HEADER.encode() + b"0,a\n1,b,c,d\n", "is damaged"),
        (HEADER.encode() + b"0,\xff\n", "is damaged"),
        (HEADER, "first_sample"),
        ("a,b\n0,x\n", "must have the columns first_sample"),
        (f"{HEADER}0,a\nx,b\n900,c\n", "must have the columns first_sample"),
        (f"{HEADER}0,a\n,b\n900,c\n", "must have the columns first_sample"),
        (f"{HEADER}0,a\n500.5,b\n900,c\n", "must have the columns first_sample"),
        (f"{HEADER}5,a\n500,b\n900,c\n", "must rise from 0 and stay below 1797"),
        (f"{HEADER}0,a\n900,b\n500,c\n", "must rise from 0 and stay below 1797"),
        (f"{HEADER}0,a\n500,b\n9999,c\n1000,d\n", "must rise from 0 and stay below 1797"),
        (f"{HEADER}0,a\n500,\n900,c\n", "a writer has no name"),
    ],
)
def test_a_wrong_table_of_writers_is_rejected(
    tmp_path: Path, table: str | bytes | None, message: str
) -> None:
    raw = make_writers(tmp_path, table or b"")
    if table is None:
        (raw / "writers.csv").unlink()
    with pytest.raises(UserError, match=rf"writers\.csv:? .*{message}"):
        open_source(image_task(raw, source="digits"))


def test_a_folder_called_writers_csv_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "writers.csv").mkdir()
    with pytest.raises(UserError, match=r"writers\.csv is missing"):
        open_source(image_task(tmp_path, source="digits"))


# --- torchvision
@pytest.mark.parametrize("dataset", ["MNIST", "CIFAR10"])
def test_a_data_set_that_cannot_be_downloaded_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    disconnect(monkeypatch)
    message = rf"^{dataset} could not be downloaded to .*, or change tasks\.image\.prepare\.source$"
    with pytest.raises(UserError, match=message):
        open_source(image_task(tmp_path / "raw", source="torchvision", dataset=dataset))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train-images-idx3-ubyte", b""),
        ("train-images-idx3-ubyte", b"hello world"),
        ("train-labels-idx1-ubyte", np.zeros(50, np.uint8)),
        ("train-labels-idx1-ubyte", np.full(120, 77, np.uint8)),
    ],
)
def test_damaged_files_of_torchvision_are_rejected(
    tmp_path: Path, name: str, data: bytes | np.ndarray
) -> None:
    make_mnist(tmp_path / "raw")
    file = tmp_path / "raw/MNIST/raw" / name
    if isinstance(data, bytes):
        file.write_bytes(data)
    else:
        write_idx(file, data)
    with pytest.raises(UserError, match="MNIST"):
        open_source(image_task(tmp_path / "raw", **MNIST))


def test_the_schema_allows_exactly_the_sources_that_exist() -> None:
    assert set(SOURCES) == set(get_args(PrepareImages.model_fields["source"].annotation))
