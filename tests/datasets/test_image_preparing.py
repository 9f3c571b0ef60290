"""Preparing images: packed once, split without leaks, with a note of what was left out."""

import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from support.images import (
    MNIST,
    excluded_samples,
    make_folder,
    make_mnist,
    noise,
    prepare_images,
    write_idx,
)
from support.project import ROOT

from stages.core.errors import UserError
from stages.datasets.images.duplicates import near_pairs
from stages.datasets.images.packed import in_batches, open_packed, pack_images
from stages.datasets.images.sample import ImageSample

CIFAR10 = ROOT.parent / "shared/datasets/cifar10-jpeg.tar.gz"


def in_one_split(samples: pd.DataFrame, column: str) -> bool:
    """Return whether the samples of each value of a column are all in one split."""
    return samples[[column, "split"]].drop_duplicates()[column].is_unique


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path: Path) -> None:
    samples, note = prepare_images(make_folder(tmp_path / "raw"), tmp_path / "out")
    for sample in samples.to_dict("records"):
        stored = np.asarray(Image.open(tmp_path / "raw" / sample["id"]))
        assert (sample["pixels"] == stored).all()
        assert sample["name"] == sample["id"][0]
    assert sorted(samples["row"]) == list(range(20))
    assert note["counts"] == {"train": 11, "validation": 3, "test": 6}
    assert note["shape"] == [1, 8, 8]
    assert len(note["images_sha256"]) == 64


def test_formats_colours_and_sizes_may_be_mixed(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    noise(50, 40).convert("RGB").save(raw / "a/photo.jpg")
    noise(51, 5).convert("RGBA").save(raw / "a/small.webp")
    noise(52, 13).convert("P").save(raw / "b/wide.gif")
    samples, note = prepare_images(raw, tmp_path / "out", channels=3, size=12)
    assert {pixels.shape for pixels in samples["pixels"]} == {(3, 12, 12)}
    assert (len(samples), note["unreadable"]) == (23, 0)


def test_the_result_does_not_depend_on_the_order_in_which_files_were_written(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path / "first")
    for file in sorted((tmp_path / "first").rglob("*.png"), reverse=True):
        target = tmp_path / "second" / file.relative_to(tmp_path / "first")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for name in ("first", "second"):
        prepare_images(tmp_path / name, tmp_path / "out" / name)
    for name in ("images.npy", "samples.csv", "excluded_samples.csv"):
        first, second = (tmp_path / "out" / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_an_error_after_packing_leaves_the_earlier_array(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "images.npy").write_bytes(b"of an earlier run")
    with pytest.raises(UserError, match="has 9 usable images"):
        prepare_images(make_folder(tmp_path / "raw", "ab", 9), out)
    assert (out / "images.npy").read_bytes() == b"of an earlier run"
    assert [path.name for path in out.iterdir()] == ["images.npy"]


# --- duplicates
def test_exact_duplicates_are_excluded_and_name_the_first(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", count=12)
    shutil.copy(raw / "a/0.png", raw / "a/again.png")
    shutil.copy(raw / "a/1.png", raw / "b/other class.png")
    Image.open(raw / "a/2.png").save(raw / "a/other format.bmp")
    samples, note = prepare_images(raw, tmp_path / "out")
    assert excluded_samples(tmp_path / "out") == {
        "a/again.png": ("exact duplicate", "same as a/0.png"),
        "a/other format.bmp": ("exact duplicate", "same as a/2.png"),
        "b/other class.png": ("exact duplicate", "same as a/1.png"),
    }
    assert (note["exact_duplicates"], note["exact_duplicates_with_another_label"]) == (3, 1)
    assert len({pixels.tobytes() for pixels in samples["pixels"]}) == len(samples) == 24


def make_bursts(raw: Path, groups: int = 1) -> None:
    """Write 12 bursts a class: 3 shots that differ in one pixel each, of `groups` photographers."""
    for number, name in enumerate("ab"):
        (raw / name).mkdir(parents=True)
        for burst in range(12):
            for shot in range(3):
                image = noise(1000 * number + burst)
                shade = np.asarray(image)[0, shot]
                image.putpixel((shot, 0), int(shade + 40 if shade < 128 else shade - 40))
                image.save(raw / name / f"p{(burst + shot) % groups}_{burst}_{shot}.png")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_near_duplicates_stay_in_one_split(tmp_path: Path, seed: int) -> None:
    make_bursts(tmp_path / "raw")
    split = {"test": 0.3, "validation": 0.2, "seed": seed}
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", split=split)
    samples["burst"] = samples["id"].str.split("_").str[:2].str.join("_")
    assert in_one_split(samples, "burst")
    assert note["near_duplicates"]["pairs"] == 3 * 24
    assert (len(samples), excluded_samples(tmp_path / "out")) == (72, {})
    assert set(samples["split"]) == {"train", "validation", "test"}


def test_of_near_duplicates_in_two_groups_the_training_sample_is_excluded(tmp_path: Path) -> None:
    make_bursts(tmp_path / "raw", groups=12)
    pattern = r"(p\d+)_"
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", group_pattern=pattern)
    assert in_one_split(samples, "group")
    pairs, _ = near_pairs(np.stack(samples["pixels"].tolist()), 0.05)
    split = samples["split"].to_numpy()
    assert (split[pairs[:, 0]] == split[pairs[:, 1]]).all()
    excluded = excluded_samples(tmp_path / "out")
    assert len(excluded) == 72 - len(samples) == note["near_duplicates"]["cross_split_excluded"] > 0
    reasons = {
        ("near duplicate of a held-out image", f"was in {s}") for s in ("train", "validation")
    }
    assert set(excluded.values()) <= reasons


def test_images_that_are_all_near_duplicates_leave_a_split_empty(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", count=20)
    expected = r"no train images remain .* lower tasks\.image\.prepare\.near_duplicate \(it is 1\)"
    with pytest.raises(UserError, match=expected):
        prepare_images(raw, tmp_path / "out", near_duplicate=1.0, group_pattern=r"(\d)\.png")


# --- groups
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_group_is_in_two_splits(tmp_path: Path, seed: int) -> None:
    for number, name in enumerate("ab"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for index in range(20):
            file = tmp_path / "raw" / name / f"patient-{index % 7}, scan {index}.png"
            noise(100 * number + index).save(file)
    split = {"test": 0.3, "validation": 0.2, "seed": seed}
    samples, note = prepare_images(
        tmp_path / "raw", tmp_path / "out", group_pattern=r"patient-(\d+)", split=split
    )
    assert set(samples["group"]) == set("0123456")
    assert in_one_split(samples, "group")
    assert note["grouped"] is True
    assert sorted(name for names in note["groups"].values() for name in names) == list("0123456")
    assert note["group_counts"] == {"train": 4, "validation": 1, "test": 2}


def test_too_few_groups_are_rejected(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw")
    with pytest.raises(UserError, match="2 groups cannot fill 3 splits"):
        prepare_images(raw, tmp_path / "out", group_pattern="^(.)/")


# --- official test data
def test_official_test_data_are_the_test_split(tmp_path: Path) -> None:
    train, test = make_mnist(tmp_path / "raw")
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", **MNIST)
    in_test = samples["split"] == "test"
    assert (np.stack(samples["pixels"][in_test].tolist())[:, 0] == test).all()
    assert (np.stack(samples["pixels"][~in_test].tolist())[:, 0] == train).all()
    assert set(samples["split"][~in_test]) == {"train", "validation"}
    assert note["counts"] == {"train": 102, "validation": 18, "test": 40}
    assert note["classes"][0] == "0 - zero"
    assert (samples["label"] == samples["id"].str[-5:].astype(int) % 10).all()


@pytest.mark.parametrize("change", [0, 1])
def test_a_duplicate_of_official_test_data_is_excluded_from_train(
    tmp_path: Path, change: int
) -> None:
    train, test = make_mnist(tmp_path / "raw")
    test[0] = train[0]
    test[0, 0, 0] ^= change  # 0: an exact duplicate, 1: a near one
    write_idx(tmp_path / "raw/MNIST/raw/t10k-images-idx3-ubyte", test)
    _, note = prepare_images(tmp_path / "raw", tmp_path / "out", **MNIST)
    assert set(excluded_samples(tmp_path / "out")) == {"train-00000"}
    assert note["counts"]["test"] == 40


# --- the packed array
def test_the_packed_array_is_a_memory_map(tmp_path: Path) -> None:
    samples, _ = prepare_images(make_folder(tmp_path / "raw"), tmp_path / "out", channels=3)
    array = open_packed(tmp_path / "out/images.npy")
    assert isinstance(array, np.memmap)
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((20, 3, 8, 8), np.uint8, True)
    assert len(samples) == 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_in_batches_keeps_no_page_of_the_packed_array(tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (5000, 3, 32, 32), dtype=np.uint8))
    images = open_packed(file)

    def mapped() -> int:
        return sum(area.rss for area in psutil.Process().memory_maps() if area.path == str(file))

    total = int(images[:].sum())
    assert mapped() > 0.9 * images.nbytes
    assert (
        sum(int(images[part].sum()) for part in in_batches(np.arange(5000), images, 500)) == total
    )
    assert mapped() == 0


@pytest.mark.parametrize("count", [0, 1, 9, 10, 100, 1000])
def test_any_number_of_images_can_be_packed(tmp_path: Path, count: int) -> None:
    pixels = np.zeros((count, 1, 4, 4), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = divmod(np.arange(count), 256)
    samples = (ImageSample(f"{n}", "a", pixels=image) for n, image in enumerate(pixels))
    packed = pack_images(samples, (1, 4, 4), tmp_path / "images.npy")
    assert packed.samples["id"].tolist() == [str(n) for n in range(count)]
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), pixels)


def test_an_error_while_packing_leaves_the_earlier_array(tmp_path: Path) -> None:
    first = [ImageSample("x", "a", pixels=np.zeros((1, 4, 4), np.uint8))]
    pack_images(first, (1, 4, 4), tmp_path / "images.npy")
    before = (tmp_path / "images.npy").read_bytes()

    def failing() -> Iterator[ImageSample]:
        yield ImageSample("y", "a", pixels=np.ones((1, 4, 4), np.uint8))
        raise UserError("the source is gone")

    with pytest.raises(UserError, match="the source is gone"):
        pack_images(failing(), (1, 4, 4), tmp_path / "images.npy")
    assert (tmp_path / "images.npy").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_a_missing_or_damaged_packed_array_is_named(tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    with pytest.raises(UserError, match="is missing; make it with"):
        open_packed(file)
    np.save(file, np.zeros((5, 1, 8, 8), np.uint8))
    complete = file.read_bytes()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    pickled = file.read_bytes()
    for data in (b"", b"text", complete[:40], complete[:-1], pickled):
        file.write_bytes(data)
        with pytest.raises(UserError, match="is damaged"):
            open_packed(file)


# --- folders without enough data
def make_no_classes(raw: Path) -> None:
    raw.mkdir()
    noise(0).save(raw / "0.png")


def make_all_broken(raw: Path) -> None:
    for file in make_folder(raw).rglob("*.png"):
        file.write_text("no image")


def make_a_broken_class(raw: Path) -> None:
    for file in make_folder(raw, "abc").glob("c/*.png"):
        file.write_text("no image")


def make_empty_classes(raw: Path) -> None:
    for name in "ab":
        (raw / name).mkdir(parents=True)


def make_an_empty_class(raw: Path) -> None:
    (make_folder(raw) / "c").mkdir()
    (raw / "c/.keep").touch()


def make_nine_of_a_class(raw: Path) -> None:
    make_folder(raw, "abc")
    (raw / "c/4.png").unlink()


def make_a_class_of_one_image(raw: Path) -> None:
    for file in make_folder(raw, "abc").glob("c/*.png"):
        noise(9999).save(file)


def make_a_class_of_copies(raw: Path) -> None:
    shutil.copytree(make_folder(raw) / "a", raw / "c")


MINIMUM = "usable images; tasks.image.prepare.min_per_class requires 10: add images, remove"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_no_classes, "has 0 sub-folders; at least 2 classes are needed"),
        (lambda raw: make_folder(raw, "a"), "has 1 sub-folders; at least 2 classes are needed"),
        (make_empty_classes, "its 2 sub-folders contain no files"),
        (make_an_empty_class, "class 'c' has 0 usable images; add some"),
        (
            make_all_broken,
            "none of 20 files is a readable image: 20 not an image (a/0.png; a/1.png; a/2.png; ...)",
        ),
        (make_a_broken_class, f"class 'c' has 0 {MINIMUM}"),
        (make_nine_of_a_class, f"class 'c' has 9 {MINIMUM}"),
        (make_a_class_of_one_image, f"class 'c' has 1 {MINIMUM}"),
        (make_a_class_of_copies, f"class 'c' has 0 {MINIMUM}"),
    ],
)
def test_a_folder_without_enough_images_is_rejected(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "raw")
    with pytest.raises(UserError) as error:
        prepare_images(tmp_path / "raw", tmp_path / "out")
    assert message in str(error.value)


@pytest.mark.skipif(not CIFAR10.exists(), reason=f"the data set {CIFAR10} is not there")
def test_real_photographs_are_prepared(tmp_path: Path) -> None:
    remaining = dict.fromkeys(("airplane", "automobile", "bird"), 40)
    with tarfile.open(CIFAR10, "r|gz") as archive:
        for member in archive:
            path = Path(member.name)
            if path.parts[:1] == ("train",) and remaining.get(path.parent.name, 0) > 0:
                remaining[path.parent.name] -= 1
                file = archive.extractfile(member)
                assert file is not None
                (tmp_path / "raw" / path.parent.name).mkdir(parents=True, exist_ok=True)
                (tmp_path / "raw" / path.parent.name / path.name).write_bytes(file.read())
            if not any(remaining.values()):
                break
    samples, note = prepare_images(tmp_path / "raw", tmp_path / "out", size=16, channels=3)
    assert note["classes"] == ["airplane", "automobile", "bird"]
    assert (note["unreadable"], sum(note["counts"].values())) == (0, 120)
    assert samples["name"].value_counts().to_dict() == dict.fromkeys(note["classes"], 40)
    photographs = np.stack(samples["pixels"].tolist())
    assert photographs.shape == (120, 3, 16, 16)
    assert 60 < photographs.mean() < 200
    assert photographs.std() > 30
