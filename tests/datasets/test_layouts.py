"""The layouts of a folder of images: detected, chosen, or refused; what is left out is said."""

import os
import shutil
import socket
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.images import excluded_samples, image_task, make_folder, noise, prepare_images
from support.project import default_task
from support.stages import run_stages

from stages.core.errors import UserError
from stages.datasets.dataset import SPLITS
from stages.datasets.images.files import read_first_frame, read_image_files
from stages.datasets.images.folder_tree import read_tree
from stages.datasets.images.layouts import LayoutChoice, read_folder
from stages.datasets.images.preparing import prepare_images as prepare_images_in

SPLIT_FOLDERS = {
    "train": ["train", "training", "Train", "TRAINING"],
    "validation": ["val", "valid", "validation", "dev", "Val"],
    "test": ["test", "testing", "TEST"],
}


def make_splits(root: Path, *folders: str, classes: str = "ab", count: int = 12) -> Path:
    """Write different images of each class into each of the folders."""
    for number, name in enumerate(folders):
        make_folder(root / name, classes, count, start=100 * number)
    return root


def read(root: Path, layout: str | None = None) -> tuple[str, list[str]]:
    """Return the layout of a folder, and the remarks on it."""
    contents = read_folder(root, LayoutChoice("raw", "--layout", "prepare.labels", layout))
    return contents.layout, contents.remarks


def split_of(samples: pd.DataFrame) -> dict[str, set[str]]:
    """Return the splits in which the samples of each first folder are."""
    first = samples["id"].str.split("/").str[0]
    return {name: set(samples.loc[first == name, "split"]) for name in first.unique()}


# --- folders of splits
@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(*(st.sampled_from([None, *names]) for names in SPLIT_FOLDERS.values()))
def test_folders_of_splits_are_official_splits(
    tmp_path_factory: pytest.TempPathFactory,
    train: str | None,
    validation: str | None,
    test: str | None,
) -> None:
    root = tmp_path_factory.mktemp("splits")
    names = {"train": train or "train", "validation": validation, "test": test}
    make_splits(root / "raw", *filter(None, names.values()))
    samples, note = prepare_images(root / "raw", root / "out")
    assert (note["layout"], note["classes"]) == ("splits", ["a", "b"])
    assert note["official_splits"]["splits"] == [split for split in SPLITS if names[split]]
    drawn = {"train"} | {split for split in ("validation", "test") if not names[split]}
    expected = {name: {split} for split, name in names.items() if name} | {names["train"]: drawn}
    assert split_of(samples) == expected
    assert len(samples) == 24 * len(expected)


def test_official_test_data_with_a_group_stay_and_the_rest_is_drawn_by_group(
    tmp_path: Path,
) -> None:
    make_splits(tmp_path / "raw", "train", "test", count=20)
    for file in sorted((tmp_path / "raw").rglob("*.png")):
        number = int(file.stem) % 5 + (5 if "test" in file.parts else 0)
        file.rename(file.with_name(f"p{number}_{file.stem}.png"))
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", group_pattern=r"/(p\d)_")
    assert set(samples.loc[samples["split"] == "test", "group"]) == {f"p{n}" for n in range(5, 10)}
    assert samples[["group", "split"]].drop_duplicates()["group"].is_unique
    assert note["official_splits"] == {"splits": ["train", "test"], "moved_by_group": {"test": 0}}
    assert note["split_rule"].startswith(
        "test: official, as the source gives them (tasks.image.prepare.split.test not used); drawn by "
        "group (no group is in two splits); validation 0.15, seed 0 of the other data"
    )


def test_a_group_that_straddles_official_splits_is_moved_and_counted(tmp_path: Path) -> None:
    make_splits(tmp_path / "raw", "train", "test", count=20)
    for file in sorted((tmp_path / "raw").rglob("*.png")):  # p0 and p1 in both
        number = int(file.stem) % 5 + (3 if "test" in file.parts else 0)
        file.rename(file.with_name(f"p{number}_{file.stem}.png"))
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", group_pattern=r"/(p\d)_")
    moved = samples[samples["id"].str.startswith("train/") & (samples["split"] == "test")]
    assert set(moved["group"]) == {"p3", "p4"}
    assert note["official_splits"]["moved_by_group"] == {"test": len(moved)} == {"test": 16}
    assert (
        "images moved to the official test data, where samples of their group are: 16"
        in note["remarks"]
    )


def test_kaggles_test_folder_without_classes_is_left_out_and_said(tmp_path: Path) -> None:
    make_splits(tmp_path / "raw", "train")
    (tmp_path / "raw/test").mkdir()
    for index in range(7):
        noise(index).save(tmp_path / "raw/test" / f"{index}.png")
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out")
    assert set(samples["split"]) == set(SPLITS)
    assert set(samples["id"].str[:6]) == {"train/"}
    assert any("test has 7 files in no sub-folder of a class" in r for r in note["remarks"])


def test_a_duplicate_of_official_data_is_excluded_from_earlier_splits(tmp_path: Path) -> None:
    raw = make_splits(tmp_path / "raw", "train", "val", "test")
    shutil.copy(raw / "test/a/0.png", raw / "train/a/copy.png")
    near = np.asarray(Image.open(raw / "val/a/0.png")).copy()
    near[0, 0] ^= 8
    Image.fromarray(near).save(raw / "train/a/near.png")
    _, note = prepare_images(raw, tmp_path / "out")
    assert excluded_samples(tmp_path / "out") == {
        "train/a/copy.png": ("exact duplicate", "same as test/a/0.png"),
        "train/a/near.png": ("near duplicate of a held-out image", "was in train"),
    }
    assert note["counts"] == {"train": 24, "validation": 24, "test": 24}


def test_near_duplicates_within_official_test_data_are_one_group(tmp_path: Path) -> None:
    raw = make_splits(tmp_path / "raw", "train", "test")
    near = np.asarray(Image.open(raw / "test/a/0.png")).copy()
    near[0, 0] ^= 8
    Image.fromarray(near).save(raw / "test/a/near.png")
    samples, note = prepare_images(raw, tmp_path / "out")
    group = samples.set_index("id")["group"]
    assert group["test/a/near.png"] == group["test/a/0.png"]
    assert group.nunique() == len(samples) - 1
    assert note["counts"]["test"] == 25


def test_a_class_without_test_data_is_a_stated_fact(tmp_path: Path) -> None:
    raw = make_splits(tmp_path / "raw", "train", "test", classes="abc")
    shutil.rmtree(raw / "test/c")
    _, note = prepare_images(raw, tmp_path / "out")
    assert "classes without test images: c" in note["remarks"]


def test_a_class_without_training_data_is_rejected(tmp_path: Path) -> None:
    raw = make_splits(tmp_path / "raw", "train", "test", classes="abc")
    shutil.rmtree(raw / "train/c")
    with pytest.raises(UserError, match=r"class 'c' has images in the official held-out data and"):
        prepare_images(raw, tmp_path / "out")


# --- which layout
def flat(root: Path, *folders: str) -> None:
    for number, name in enumerate(folders):
        (root / name).mkdir(parents=True)
        for index in range(12):
            noise(100 * number + index).save(root / name / f"{index}.png")


@pytest.mark.parametrize(
    ("folders", "layout"),
    [
        (("train", "tram", "bus"), "classes"),
        (("a", "b"), "classes"),
        (("train/a", "train/b"), "splits"),
        (("train/a", "train/b", "test"), "splits"),
        (("Training/a", "Training/b", "Testing/a", "Testing/b"), "splits"),
        (("a/train", "a/test", "b/train", "b/test"), "classes"),
    ],
)
def test_the_layout_is_detected(tmp_path: Path, folders: tuple[str, ...], layout: str) -> None:
    flat(tmp_path, *folders)
    assert read(tmp_path)[0] == layout


@pytest.mark.parametrize(
    ("folders", "readings"),
    [
        (("train", "test"), ["classes: test and train are", "splits: test and train are splits"]),
        (
            ("train/a", "train/b", "test/a", "test/b", "extra"),
            [
                "splits: test and train are splits, each with the classes a and b (left out: extra)",
                "classes: extra, test and train are the classes",
            ],
        ),
        (("dev/x", "dev/y", "prod"), ["splits: dev are splits", "classes: dev and prod are"]),
    ],
)
def test_an_ambiguous_layout_is_refused_with_its_readings_and_the_choice_is_kept(
    tmp_path: Path, folders: tuple[str, ...], readings: list[str]
) -> None:
    flat(tmp_path / "raw", *folders)
    with pytest.raises(UserError, match=r"raw can be read in 2 ways, choose with --layout") as e:
        read(tmp_path / "raw")
    for reading in readings:
        assert reading in str(e.value)
    with pytest.raises(UserError, match=r"choose with tasks\.image\.prepare\.layout"):
        prepare_images(tmp_path / "raw", tmp_path / "out")
    _, note = prepare_images(tmp_path / "raw", tmp_path / "out", layout="classes", min_per_class=3)
    assert note["classes"] == sorted({folder.split("/")[0] for folder in folders})


def test_a_layout_of_splits_may_be_chosen_beside_other_folders(tmp_path: Path) -> None:
    flat(tmp_path / "raw", "train/a", "train/b", "test/a", "test/b", "extra")
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", layout="splits")
    assert set(samples["id"].str.split("/").str[0]) == {"train", "test"}
    assert any("1 (extra): folders that are no splits are left out" in r for r in note["remarks"])


# --- bad folders
def make_two_train(raw: Path) -> None:
    make_splits(raw, "train", "Training", "test")


def make_only_test(raw: Path) -> None:
    make_splits(raw, "test", "val")


def make_one_training_class(raw: Path) -> None:
    make_splits(raw, "train", classes="a")
    make_splits(raw, "test")


def make_wrapped(raw: Path) -> None:
    make_folder(raw / "images")


def make_case(raw: Path) -> None:
    make_folder(raw, "abA")
    (raw / "a").rename(raw / "cat")
    (raw / "A").rename(raw / "Cat")


def make_blanks(raw: Path) -> None:
    make_folder(raw, "abc")
    (raw / "a").rename(raw / "big cat")
    (raw / "b").rename(raw / "big  cat ")


def make_forms(raw: Path) -> None:
    make_folder(raw / "train")
    make_folder(raw / "test", start=100)
    (raw / "train/a").rename(raw / "train" / unicodedata.normalize("NFC", "épi"))
    (raw / "test/a").rename(raw / "test" / unicodedata.normalize("NFD", "épi"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_two_train, "Training and train are both folders of train data; put their images"),
        (make_only_test, "no folder of training data; the layout splits needs a folder train"),
        (make_one_training_class, "train needs a sub-folder of images for each of at least 2"),
        (make_wrapped, "has 1 sub-folders; at least 2 classes are needed"),
        (make_wrapped, "raw/images"),
        (make_case, "the classes 'Cat' and 'cat' differ only in case; rename one"),
        (make_blanks, "the classes 'big  cat ' and 'big cat' differ only in blanks; rename one"),
        (make_forms, "differ only in Unicode form; rename one"),
    ],
)
def test_a_bad_folder_gets_one_clear_line_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "raw")
    with pytest.raises(UserError) as error:
        prepare_images(tmp_path / "raw", tmp_path / "out")
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_single_letters_may_differ_in_case(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", "abA")
    _, note = prepare_images(raw, tmp_path / "out")
    assert note["classes"] == ["A", "a", "b"]


# --- what is left out is said
def test_loose_hidden_and_system_files_are_left_out_and_said(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    noise(7).save(raw / "loose.png")
    (raw / "LICENSE").write_text("free")
    make_folder(raw / "__MACOSX", "ab")
    for name in (".DS_Store", "a/.DS_Store", "a/Thumbs.db", "b/desktop.ini"):
        (raw / name).write_bytes(b"junk")
    samples, note = prepare_images(raw, tmp_path / "out")
    assert (len(samples), note["classes"], note["unreadable"]) == (20, ["a", "b"], 0)
    assert note["remarks"] == [
        "5 (.DS_Store, __MACOSX, a/.DS_Store, ...): hidden or system files and folders are left out",
        "2 (LICENSE, loose.png): files in the folder itself belong to no class and are left out",
    ]


def test_links_are_followed_unless_they_lead_back(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    make_folder(tmp_path / "elsewhere", "c")
    (raw / "a/more").symlink_to(tmp_path / "elsewhere/c")
    (raw / "b/up").symlink_to(raw)
    (raw / "b/self").symlink_to(raw / "b")
    samples, note = prepare_images(raw, tmp_path / "out")
    assert sorted(samples["id"][samples["id"].str.contains("more")]) == [
        f"a/more/{index}.png" for index in range(10)
    ]
    assert len(samples) == 30
    assert "2 (b/self, b/up): links to a folder above them are left out" in note["remarks"]
    assert any(
        remark.startswith("1 (a/more): links to folders are followed") for remark in note["remarks"]
    )


def test_folders_that_all_link_to_each_other_are_read_once(tmp_path: Path) -> None:
    names = "abcdefghijkl"  # by every path through the links there are more than a thousand million
    raw = make_folder(tmp_path / "raw", names, count=1)
    for name in names:
        for other in names.replace(name, ""):
            (raw / name / f"to-{other}").symlink_to(f"../{other}")
    tree = read_tree(raw)
    assert tree.files == [f"{name}/0.png" for name in names]
    assert tree.remarks == [
        "132 (a/to-b, a/to-c, a/to-d, ...): folders that were read by another path are left out there"
    ]


def test_a_folder_outside_that_two_links_name_is_read_once(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", count=1)
    make_folder(tmp_path / "elsewhere", "c", count=1)
    (raw / "a/inner").symlink_to(tmp_path / "elsewhere/c")
    (raw / "b/outer").symlink_to(tmp_path / "elsewhere")
    tree = read_tree(raw)
    assert tree.files == ["a/0.png", "a/inner/0.png", "b/0.png"]
    assert tree.remarks[0].startswith("1 (b/outer/c): folders that were read by another path")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    (raw / "a/closed").mkdir(mode=0)
    with pytest.raises(UserError, match=r"a/closed: the folder cannot be listed \(Permission"):
        read_tree(raw)


def test_the_later_frames_of_a_file_are_left_out_and_said(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    frames = [noise(index) for index in range(50, 53)]
    for name in ("a/film.gif", "a/pages.tiff", "b/film.png", "b/film.webp"):
        frames[0].save(raw / name, save_all=True, append_images=frames[1:])
    frames[1].save(raw / "b/single.gif")
    _, note = prepare_images(raw, tmp_path / "out")
    assert note["unreadable"] == 0
    assert (
        "4 (a/film.gif, a/pages.tiff, b/film.png, ...): files of several frames count as their first "
        "frame" in note["remarks"]
    )


def test_a_pipe_and_a_socket_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_folder(tmp_path / "raw")
    os.mkfifo(raw / "a/pipe.png")
    monkeypatch.chdir(raw)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("b/socket.png")
        _, note = prepare_images(raw, tmp_path / "out")
    assert "2 (a/pipe.png, b/socket.png): pipes, sockets or devices are left out" in note["remarks"]


def test_one_image_in_two_classes_is_named_with_both(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", count=12)
    shutil.copy(raw / "a/1.png", raw / "b/copy.png")
    _, note = prepare_images(raw, tmp_path / "out")
    assert note["label_conflicts"] == [
        {"id": "b/copy.png", "label": "b", "same_as": "a/1.png", "same_as_label": "a"}
    ]
    start = (
        "images in two classes: 1 (the first, b/copy.png in 'b', is the same as a/1.png in 'a'); "
    )
    assert any(remark.startswith(start) for remark in note["remarks"])


def test_images_of_one_pixel_are_listed(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", count=12)
    for index in range(3):
        Image.new("L", (1, 1), index).save(raw / f"a/pixel-{index}.png")
    samples, note = prepare_images(raw, tmp_path / "out")
    assert (len(samples), note["unreadable"]) == (24, 3)
    assert note["unreadable_files"][0]["problem"].startswith("too small: 1 x 1 pixels")
    assert any(
        "images that cannot be used, and are listed: 3 (" in remark for remark in note["remarks"]
    )


def test_twelve_bits_in_sixteen_are_scaled_and_said_without_a_look_at_test_data(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    for split, greatest in (("train", 4095), ("test", 60_000)):
        for name in "ab":
            (tmp_path / "raw" / split / name).mkdir(parents=True)
            for index in range(12):
                pixels = random.integers(0, greatest + 1, (8, 8)).astype(np.uint16)
                Image.fromarray(pixels).save(tmp_path / "raw" / split / name / f"{index}.png")
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out")
    assert note["grey_bits"] == 12
    assert "16-bit grey files use 12 bits" in note["size_rule"]
    assert any("no value outside the test data exceeds 4095" in r for r in note["remarks"])
    for sample in samples.to_dict("records"):
        stored = np.asarray(Image.open(tmp_path / "raw" / sample["id"])).astype(int)
        assert (sample["pixels"][0] == np.minimum(stored >> 4, 255)).all()
    params = image_task(tmp_path / "raw").params.prepare  # as `evidence predict` reads files
    files = [str(tmp_path / "raw" / name) for name in samples["id"]]
    pixels = read_image_files(files, params, note["grey_bits"])
    assert (pixels == np.stack(samples["pixels"].tolist())).all()


def test_samples_of_generation_keep_official_splits_too(tmp_path: Path) -> None:
    raw = make_splits(tmp_path / "raw", "train", "test", count=40)
    prepare = image_task(raw).params.prepare
    task = default_task("generative")
    task = replace(task, params=task.params.model_copy(update={"prepare": prepare}))
    data = prepare_images_in(task, tmp_path / "out", stratified=True)
    assert split_of(data.samples) == {"train": {"train", "validation"}, "test": {"test"}}
    counts = data.samples.groupby(["split", "label"]).size().unstack()
    assert (counts[0] == counts[1]).all()


def test_the_stage_says_its_remarks_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_folder(tmp_path / "raw", count=12)
    noise(7).save(raw / "two\nlines.png")
    run_stages(tmp_path, image_task(raw), ("prepare",))
    assert capsys.readouterr().err == (
        "prepare@image: 1 (two\\nlines.png): files in the folder itself belong to no class and are left "
        "out\n"
    )


# --- files that change
@pytest.mark.parametrize("change", ["grow", "touch", "remove"])
def test_a_file_that_changes_while_it_is_read_stops_prepare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    raw = make_folder(tmp_path / "raw")

    def disturb(path: Path, *arguments: Any) -> tuple[np.ndarray, bool]:
        frame = read_first_frame(path, *arguments)
        if path.name == "3.png":
            if change == "remove":
                path.unlink(missing_ok=True)
            else:
                noise(5, 8 if change == "touch" else 40).save(path)
        return frame

    monkeypatch.setattr("stages.datasets.images.decoding.read_first_frame", disturb)
    out = tmp_path / "out"
    out.mkdir()
    (out / "images.npy").write_bytes(b"of an earlier run")
    with pytest.raises(UserError, match=r"raw/a/3\.png changed while it was read; run again once"):
        prepare_images(raw, out)
    assert [path.name for path in out.iterdir()] == ["images.npy"]
    assert (out / "images.npy").read_bytes() == b"of an earlier run"


def test_the_params_of_layouts_fit_together(tmp_path: Path) -> None:
    labels = {"path": "labels.csv", "file": "file", "label": "label"}
    for changes, message in (
        ({"layout": "tables"}, "classes"),
        ({"labels": labels, "layout": "splits"}, "labels is for layout: table"),
        ({"labels": labels, "source": "digits"}, "labels is for source: folder"),
        ({"layout": "splits", "source": "digits"}, "layout is for source: folder"),
        ({"labels": {**labels, "path": "../labels.csv"}}, "must be a path below prepare.path"),
        ({"labels": {**labels, "path": "/labels.csv"}}, "must be a path below prepare.path"),
        ({"labels": {**labels, "label": "file"}}, "must name each once"),
        (
            {"labels": {**labels, "group": "g"}, "group_pattern": "(x)"},
            "group_pattern must be null",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            image_task(tmp_path, **changes)
