"""Images come in as they are found: what can be read is packed, what cannot is told and counted."""

import io
import json
import os
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, refused, run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from stages.params import load
from stages.shared.dataset import read_dataset
from stages.shared.files import read_csv, write_all
from stages.shared.images.duplicates import near_pairs
from stages.shared.images.packed import opened, pack
from stages.shared.images.source import Picture, read_file, source
from stages.shared.refusal import Refusal
from stages.shared.schema import PrepareImages
from stages.shared.task import Task
from stages.tasks.image.prepare import prepare

DATASETS = Path(__file__).parents[2] / "shared" / "datasets"
PARAMS = load(ROOT / "params.yaml")
PIXELS = 1_000_000
RED, GREY_OF_RED = (200, 100, 0), 118
AWKWARD = [
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


def noise(seed: int, size: int = 8) -> Image.Image:
    """Return an image that differs from that of every other seed in almost every pixel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    return Image.fromarray(pixels)


def folder(root: Path, classes: str = "ab", count: int = 10) -> Path:
    """Write `count` images of each class into a sub-folder each: a/0.png."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise(1000 * ord(name) + index).save(root / name / f"{index}.png")
    return root


def asked(root: Path, **changes: object) -> PrepareImages:
    """Return the params that prepare the folder `root`, or what `changes` say."""
    known = PARAMS.image.prepare.model_dump() | {"source": "folder", "path": str(root)}
    return PrepareImages.model_validate(known | changes)


def prepared(root: Path, out: Path, **changes: object) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Prepare `root` as the stage does; return the samples and the note as the next stage reads them.

    The samples get two more columns: the name of their class, and the pixels.
    """
    image = PARAMS.image.model_copy(update={"prepare": asked(root, **changes)})
    write_all(out, prepare(Task("image", image, PARAMS.runtime), out).files())
    dataset = read_dataset(out)
    pixels = opened(out / "images.npy")
    classes = np.array(dataset.classes, dtype=object)[dataset.samples["label"]]
    samples = dataset.samples.assign(name=classes, pixels=[pixels[i] for i in dataset.samples.row])
    return samples, dataset.note


def left_out(out: Path) -> dict[str, tuple[str, str]]:
    """Return what left_out.csv says of each file: the reason and the detail."""
    table = read_csv(out / "left_out.csv", dtype=str)
    assert table["id"].is_unique
    return {name: (reason, detail) for name, reason, detail in table.to_numpy().tolist()}


def whole(samples: pd.DataFrame, unit: str) -> bool:
    """Return whether each unit (the samples alike in that column) is in one split only."""
    return samples[[unit, "split"]].drop_duplicates()[unit].is_unique


def png(width: int, height: int) -> bytes:
    """Return a small grey PNG that claims to be that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def as_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


PLAIN = as_bytes(noise(7, 32), "PNG")
BROKEN = {
    "empty.png": (b"", "empty file"),
    "text.png": (b"these are words, not pixels\n", "not an image"),
    "zeros.png": (bytes(500), "not an image"),
    "head.png": (PLAIN[:8], "not an image"),
    "cut.png": (PLAIN[: len(PLAIN) // 2], "damaged: "),
    "cut.jpg": (as_bytes(noise(7, 64), "JPEG")[:1500], "damaged: "),
    "chunk.png": (flipped(PLAIN, PLAIN.index(b"IDAT") + 40), "damaged: "),
    "header.png": (flipped(PLAIN, 18), "not an image"),
    "bomb.png": (png(30_000, 30_000), "claims "),
    "larger bomb.png": (png(2**31 - 1, 2**31 - 1), "claims "),
    "just over.png": (png(1001, 1000), "claims 1001 x 1000 pixels, more than 1000000"),
}


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("png", {}),
        ("jpg", {"quality": 95}),
        ("gif", {}),
        ("bmp", {}),
        ("webp", {"lossless": True}),
        ("tif", {}),
    ],
)
def test_every_common_format_gives_its_colours(
    tmp_path: Path, ending: str, options: dict[str, Any]
) -> None:
    file = tmp_path / f"red.{ending}"
    Image.new("RGB", (16, 16), RED).save(file, **options)
    colour, grey = read_file(file, 8, 3, PIXELS), read_file(file, 8, 1, PIXELS)
    assert (colour.shape, grey.shape) == ((3, 8, 8), (1, 8, 8))
    assert colour.dtype == grey.dtype == np.uint8
    assert colour.flags.c_contiguous
    assert np.abs(colour.mean((1, 2)) - RED).max() <= 4
    assert abs(grey.mean() - GREY_OF_RED) <= 2


@pytest.mark.parametrize(
    ("image", "ending", "colour"),
    [
        (Image.new("L", (9, 9), 77), "jpg", (77, 77, 77)),
        (Image.new("RGB", (9, 9), RED).convert("CMYK"), "jpg", RED),
        (Image.new("1", (9, 9), 1), "png", (255, 255, 255)),
        (Image.new("I;16", (9, 9), 0x8000), "png", (128, 128, 128)),
        (Image.new("I;16", (9, 9), 0xFFFF), "png", (255, 255, 255)),
        (Image.new("I;16", (9, 9), 255), "png", (0, 0, 0)),
        (Image.new("RGB", (9, 9), RED).quantize(2), "png", RED),
        (Image.new("LA", (9, 9), (200, 128)), "png", (100, 100, 100)),
        (Image.new("RGBA", (9, 9), (*RED, 255)), "png", RED),
        (Image.new("RGBA", (9, 9), (*RED, 128)), "png", (100, 50, 0)),
        (Image.new("RGBA", (9, 9), (*RED, 0)), "png", (0, 0, 0)),
        (Image.new("RGBA", (9, 9), (*RED, 0)), "webp", (0, 0, 0)),
    ],
)
def test_every_way_to_store_a_pixel_gives_its_colour(
    tmp_path: Path, image: Image.Image, ending: str, colour: tuple[int, int, int]
) -> None:
    image.save(tmp_path / f"image.{ending}", quality=95)
    pixels = read_file(tmp_path / f"image.{ending}", 9, 3, PIXELS)
    assert np.abs(pixels.reshape(3, -1) - np.array(colour)[:, None]).max() <= 4


def test_a_see_through_entry_of_a_palette_is_laid_on_black(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, 10, 20, 30])
    image.paste(1, (4, 0, 8, 8))
    for ending in ("png", "gif"):
        image.save(tmp_path / f"palette.{ending}", transparency=0)
        pixels = read_file(tmp_path / f"palette.{ending}", 8, 3, PIXELS)
        assert (pixels[:, :, :4] == 0).all()
        assert (pixels[:, :, 4:].reshape(3, -1).T == (10, 20, 30)).all()


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda pixels: pixels),
        (2, np.fliplr),
        (3, lambda pixels: np.rot90(pixels, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda pixels: np.rot90(pixels, -1)),
        (7, lambda pixels: np.rot90(np.transpose(pixels), 2)),
        (8, np.rot90),
    ],
)
def test_a_camera_held_askew_gives_an_upright_image(
    tmp_path: Path, orientation: int, upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise(1).save(tmp_path / "photo.png", exif=exif)
    pixels = read_file(tmp_path / "photo.png", 8, 1, PIXELS)
    assert (pixels[0] == upright(np.asarray(noise(1)))).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (8, 8), (33, 57), (640, 480)])
def test_any_size_and_shape_is_brought_to_one(tmp_path: Path, size: tuple[int, int]) -> None:
    halves = Image.new("L", size, 0)
    halves.paste(255, (0, 0, size[0], max(1, size[1] // 2)))
    halves.save(tmp_path / "halves.png")
    pixels = read_file(tmp_path / "halves.png", 8, 1, PIXELS)[0]
    assert pixels.shape == (8, 8)
    assert pixels[0].min() >= 250
    assert size[1] == 1 or pixels[-1].max() <= 5


def test_an_image_of_the_right_size_is_packed_as_it_is(tmp_path: Path) -> None:
    samples, note = prepared(folder(tmp_path / "raw"), tmp_path / "out")
    for sample in samples.to_dict("records"):
        stored = np.asarray(Image.open(tmp_path / "raw" / sample["id"]))
        assert (sample["pixels"] == stored).all()
        assert sample["name"] == sample["id"][0]
    assert sorted(samples["row"]) == list(range(20))
    assert note["counts"] == {"train": 11, "validation": 3, "test": 6}
    assert note["shape"] == [1, 8, 8]


def test_formats_colours_and_sizes_go_together_in_one_folder(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    noise(50, 40).convert("RGB").save(raw / "a/photo.jpg")
    noise(51, 5).convert("RGBA").save(raw / "a/small.webp")
    noise(52, 13).convert("P").save(raw / "b/wide.gif")
    samples, note = prepared(raw, tmp_path / "out", channels=3, size=12)
    assert {pixels.shape for pixels in samples["pixels"]} == {(3, 12, 12)}
    assert (len(samples), note["unreadable"]) == (23, 0)


def test_the_same_folder_gives_the_same_bytes_in_whatever_order_it_was_written(
    tmp_path: Path,
) -> None:
    folder(tmp_path / "first")
    for file in sorted((tmp_path / "first").rglob("*.png"), reverse=True):
        target = tmp_path / "second" / file.relative_to(tmp_path / "first")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for name in ("first", "second"):
        prepared(tmp_path / name, tmp_path / "out" / name)
    for name in ("images.npy", "samples.csv", "left_out.csv"):
        first, second = (tmp_path / "out" / which / name for which in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_what_is_wrong_with_it(tmp_path: Path, name: str) -> None:
    data, problem = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"^{problem}"):
        read_file(tmp_path / name, 8, 1, PIXELS)


def test_broken_files_are_listed_and_counted_and_the_rest_is_prepared(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    for name, (data, _) in BROKEN.items():
        (raw / "b" / name).write_bytes(data)
    samples, note = prepared(raw, tmp_path / "out", max_pixels=PIXELS)
    assert len(samples) == 20
    assert note["unreadable"] == len(BROKEN)
    told = {entry["id"]: entry for entry in note["unreadable_files"]}
    gone = left_out(tmp_path / "out")
    assert set(told) == set(gone) == {f"b/{name}" for name in BROKEN}
    for name, (_, problem) in BROKEN.items():
        assert told[f"b/{name}"]["label"] == "b"
        assert told[f"b/{name}"]["problem"].startswith(problem)
        assert gone[f"b/{name}"] == ("unreadable", told[f"b/{name}"]["problem"])


def test_more_broken_files_than_the_note_names_are_all_counted_and_listed(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    for index in range(60):
        (raw / f"a/bad-{index:02}.jpg").write_text("no image")
    _, note = prepared(raw, tmp_path / "out")
    assert note["unreadable"] == len(left_out(tmp_path / "out")) == 60
    assert len(note["unreadable_files"]) < 60


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]), draw=st.randoms())
def test_a_damaged_file_is_read_or_refused_and_never_breaks_the_run(
    tmp_path_factory: pytest.TempPathFactory, kind: str, draw: random.Random
) -> None:
    data = bytearray(as_bytes(noise(3, 16), kind))
    for _ in range(draw.randint(1, 6)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(data[: draw.randint(1, len(data))] if draw.random() < 0.3 else data)
    try:
        pixels = read_file(file, 8, 1, PIXELS)
    except ValueError:
        return
    assert pixels.shape == (1, 8, 8)
    assert pixels.dtype == np.uint8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_listed(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", count=11)
    (raw / "a/3.png").chmod(0)
    _, note = prepared(raw, tmp_path / "out")
    assert [entry["id"] for entry in note["unreadable_files"]] == ["a/3.png"]


def test_a_link_is_followed_to_a_file_and_to_a_class_and_a_broken_one_stops_nothing(
    tmp_path: Path,
) -> None:
    folder(tmp_path / "elsewhere", "bc")
    raw = folder(tmp_path / "raw", "a")
    (raw / "b").symlink_to(tmp_path / "elsewhere/b")
    (raw / "a/linked.png").symlink_to(tmp_path / "elsewhere/c/0.png")
    (raw / "a/broken.png").symlink_to("nowhere.png")
    (raw / "a/circle.png").symlink_to("circle.png")
    samples, note = prepared(raw, tmp_path / "out")
    assert note["classes"] == ["a", "b"]
    assert "a/linked.png" in set(samples["id"])
    assert not {"a/broken.png", "a/circle.png"} & set(samples["id"])


def test_hidden_files_and_folders_are_no_data(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    (raw / "a/.DS_Store").write_bytes(b"junk")
    noise(99).save(raw / "a/.hidden.png")
    folder(raw / ".git")
    (raw / "a/sub").mkdir()
    (raw / "a/sub/.keep").touch()
    samples, note = prepared(raw, tmp_path / "out")
    assert (len(samples), note["unreadable"], note["classes"]) == (20, 0, ["a", "b"])


def test_an_image_in_a_folder_within_a_class_belongs_to_the_class(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    (raw / "a/2024/may").mkdir(parents=True)
    noise(99).save(raw / "a/2024/may/x.png")
    samples, _ = prepared(raw, tmp_path / "out")
    deep = samples[samples["id"] == "a/2024/may/x.png"]
    assert deep["name"].tolist() == ["a"]
    assert (deep["pixels"].iloc[0] == np.asarray(noise(99))).all()


def test_whatever_a_file_or_a_class_is_called_it_is_told_by_that_name(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number, name in enumerate(AWKWARD):
        (raw / name).mkdir(parents=True)
        for index in range(4):
            noise(100 * number + index).save(raw / name / f"{name} {index}.png")
        (raw / name / f"{name}.jpg").write_text("no image")
    samples, note = prepared(raw, tmp_path / "out", min_per_class=3)
    names = [name.replace("\n", "\\n") for name in AWKWARD]  # what cannot be printed is written out
    assert note["classes"] == sorted(names)
    assert sorted(samples["id"]) == sorted(f"{n}/{n} {i}.png" for n in names for i in range(4))
    assert all(row["id"].startswith(f"{row['name']}/") for row in samples.to_dict("records"))
    assert set(left_out(tmp_path / "out")) == {f"{name}/{name}.jpg" for name in names}


def _no_classes(raw: Path) -> None:
    raw.mkdir()
    noise(0).save(raw / "0.png")


def _all_broken(raw: Path) -> None:
    for file in folder(raw).rglob("*.png"):
        file.write_text("no image")


def _one_broken_class(raw: Path) -> None:
    for file in folder(raw, "abc").glob("c/*.png"):
        file.write_text("no image")


def _two_empty_classes(raw: Path) -> None:
    for name in "ab":
        (raw / name).mkdir(parents=True)


def _nine_of_c(raw: Path) -> None:
    folder(raw, "abc")
    (raw / "c/4.png").unlink()


def _a_class_that_repeats_one_image(raw: Path) -> None:
    for file in folder(raw, "abc").glob("c/*.png"):
        noise(9999).save(file)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_no_classes, "holds 0 sub-folders; at least 2 classes are needed"),
        (lambda raw: folder(raw, "a"), "holds 1 sub-folders; at least 2 classes are needed"),
        (_two_empty_classes, "its 2 sub-folders hold no file"),
        (_all_broken, "none of 20 files is a readable image (the first, a/0.png: not an image)"),
        (_one_broken_class, "class 'c' has 0 usable images; image.prepare.min_per_class asks"),
        (_nine_of_c, "class 'c' has 9 usable images; image.prepare.min_per_class asks for 10"),
        (_a_class_that_repeats_one_image, "class 'c' has 1 usable images; image.prepare.min_per"),
    ],
)
def test_a_folder_that_cannot_be_learnt_from_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "raw")
    with pytest.raises(Refusal) as refusal:
        prepared(tmp_path / "raw", tmp_path / "out")
    assert words in str(refusal.value)


@pytest.mark.parametrize("path", ["nowhere", "raw/a/0.png"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, path: str) -> None:
    folder(tmp_path / "raw")
    with pytest.raises(Refusal, match="is not a folder"):
        source(asked(tmp_path / path))


def test_an_exact_duplicate_is_left_out_and_told_with_its_first(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", count=12)
    shutil.copy(raw / "a/0.png", raw / "a/again.png")
    shutil.copy(raw / "a/1.png", raw / "b/other class.png")
    Image.open(raw / "a/2.png").save(raw / "a/other format.bmp")
    samples, note = prepared(raw, tmp_path / "out")
    assert left_out(tmp_path / "out") == {
        "a/again.png": ("exact duplicate", "same as a/0.png"),
        "a/other format.bmp": ("exact duplicate", "same as a/2.png"),
        "b/other class.png": ("exact duplicate", "same as a/1.png"),
    }
    assert (note["exact_duplicates"], note["exact_duplicates_with_another_label"]) == (3, 1)
    assert len({pixels.tobytes() for pixels in samples["pixels"]}) == len(samples) == 24


def _bursts(raw: Path, groups: int = 1) -> None:
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
def test_near_duplicates_are_found_and_stay_in_one_split(tmp_path: Path, seed: int) -> None:
    _bursts(tmp_path / "raw")
    split = {"test": 0.3, "validation": 0.2, "seed": seed}
    samples, note = prepared(tmp_path / "raw", tmp_path / "out", split=split)
    samples["burst"] = samples["id"].str.split("_").str[:2].str.join("_")
    assert whole(samples, "burst")
    assert note["near_duplicates"]["pairs"] == 3 * 24
    assert (len(samples), left_out(tmp_path / "out")) == (72, {})
    assert set(samples["split"]) == {"train", "validation", "test"}


def test_of_near_duplicates_in_two_groups_the_one_to_learn_from_is_left_out(tmp_path: Path) -> None:
    _bursts(tmp_path / "raw", groups=12)
    pattern = r"(p\d+)_"
    samples, note = prepared(tmp_path / "raw", tmp_path / "out", group_pattern=pattern)
    assert whole(samples, "group")
    pairs, _ = near_pairs(np.stack(samples["pixels"].tolist()), 0.05)
    split = samples["split"].to_numpy()
    assert (split[pairs[:, 0]] == split[pairs[:, 1]]).all()
    gone = left_out(tmp_path / "out")
    assert len(gone) == 72 - len(samples) == note["near_duplicates"]["straddling_left_out"] > 0
    reasons = {
        ("near duplicate of a held-out image", f"was in {s}") for s in ("train", "validation")
    }
    assert set(gone.values()) <= reasons


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_group_is_never_in_two_splits(tmp_path: Path, seed: int) -> None:
    for number, name in enumerate("ab"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for index in range(20):
            file = tmp_path / "raw" / name / f"patient-{index % 7}, scan {index}.png"
            noise(100 * number + index).save(file)
    split = {"test": 0.3, "validation": 0.2, "seed": seed}
    samples, note = prepared(
        tmp_path / "raw", tmp_path / "out", group_pattern=r"patient-(\d+)", split=split
    )
    assert set(samples["group"]) == set("0123456")
    assert whole(samples, "group")
    assert note["grouped"] is True
    assert sorted(name for names in note["groups"].values() for name in names) == list("0123456")
    assert note["group_counts"] == {"train": 4, "validation": 1, "test": 2}


def test_a_file_without_a_group_is_told_and_left_out(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", count=12)
    noise(77).save(raw / "a/who.png")
    samples, note = prepared(raw, tmp_path / "out", group_pattern=r"/(\d+)\.png$")
    assert len(samples) == 24
    assert note["unreadable_files"] == [
        {
            "id": "a/who.png",
            "label": "a",
            "problem": "no group: group_pattern does not match its path",
        }
    ]


def test_too_few_groups_are_refused(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    with pytest.raises(Refusal, match="2 groups cannot fill 3 splits"):
        prepared(raw, tmp_path / "out", group_pattern="^(.)/")


def test_the_packed_images_are_read_by_memory_map_without_pickle(tmp_path: Path) -> None:
    samples, note = prepared(folder(tmp_path / "raw", "abc", 40), tmp_path / "out", channels=3)
    array = np.load(tmp_path / "out/images.npy", mmap_mode="r", allow_pickle=False)
    assert isinstance(array, np.memmap)
    assert isinstance(opened(tmp_path / "out/images.npy"), np.memmap)
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((120, 3, 8, 8), np.uint8, True)
    assert len(samples) == 120
    assert len(note["images_sha256"]) == 64


def test_packing_any_number_of_images_gives_that_number(tmp_path: Path) -> None:
    for count in (0, 1, 9, 10, 100, 1000):
        pixels = [np.full((1, 4, 4), 0, np.uint8) for _ in range(count)]
        for number, image in enumerate(pixels):
            image.reshape(-1)[:2] = divmod(number, 256)
        pictures = (Picture(f"{n}", "a", pixels=image) for n, image in enumerate(pixels))
        packed = pack(pictures, (1, 4, 4), tmp_path / "images.npy")
        assert packed.samples["id"].tolist() == [str(n) for n in range(count)]
        array = np.load(tmp_path / "images.npy", mmap_mode="r" if count else None)
        assert array.shape == (count, 1, 4, 4)
        assert all((array[n] == image).all() for n, image in enumerate(pixels))


def test_packing_that_breaks_off_leaves_the_earlier_array_and_nothing_else(tmp_path: Path) -> None:
    first = [Picture("x", "a", pixels=np.zeros((1, 4, 4), np.uint8))]
    pack(first, (1, 4, 4), tmp_path / "images.npy")
    before = (tmp_path / "images.npy").read_bytes()

    def breaking() -> Iterator[Picture]:
        yield Picture("y", "a", pixels=np.ones((1, 4, 4), np.uint8))
        raise Refusal("the source is gone")

    with pytest.raises(Refusal, match="the source is gone"):
        pack(breaking(), (1, 4, 4), tmp_path / "images.npy")
    assert (tmp_path / "images.npy").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_a_packed_array_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    with pytest.raises(Refusal, match="is missing; make it with"):
        opened(file)
    np.save(file, np.zeros((5, 1, 8, 8), np.uint8))
    whole = file.read_bytes()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    pickled = file.read_bytes()
    for data in (b"", b"text", whole[:40], whole[:-1], pickled):
        file.write_bytes(data)
        with pytest.raises(Refusal, match="is damaged"):
            opened(file)


def _digits(tmp_path: Path, table: str | bytes) -> Path:
    (tmp_path / "raw").mkdir()
    data = table.encode() if isinstance(table, str) else table
    (tmp_path / "raw/writers.csv").write_bytes(data)
    return tmp_path / "raw"


WRITERS = (ROOT / "data/raw/digits/writers.csv").read_text()


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (8, 3), (12, 1)])
def test_the_digits_come_with_their_writers(tmp_path: Path, size: int, channels: int) -> None:
    raw = _digits(tmp_path, WRITERS)
    pictures = list(source(asked(raw, source="digits", size=size, channels=channels)).pictures)
    assert len(pictures) == 1797
    pixels = np.stack([picture.pixels for picture in pictures if picture.pixels is not None])
    assert pixels.shape == (1797, channels, size, size)
    if size == 8:  # each shade of ink, 0 to 16, has one of 0 to 255
        for shade, grey in zip(load_digits().images[::50], pixels[::50, 0], strict=True):
            assert (np.abs(grey - shade * 255 / 16) <= 0.5).all()
    starts = [int(row.split(",")[0]) for row in WRITERS.split()[1:]]
    for start, name in zip(starts, (row.split(",")[1] for row in WRITERS.split()[1:]), strict=True):
        assert pictures[start].group == name
        assert start == 0 or pictures[start - 1].group != name
    assert {picture.label for picture in pictures} == set("0123456789")


@pytest.mark.parametrize(
    "table", [None, b"", b"first_sample,writer\n0,a\n1,b,c,d\n", b"first_sample,writer\n0,\xff\n"]
)
def test_the_digits_without_a_table_of_writers_are_refused(
    tmp_path: Path, table: bytes | None
) -> None:
    raw = _digits(tmp_path, table or b"")
    if table is None:
        (raw / "writers.csv").unlink()
    with pytest.raises(Refusal, match=r"writers\.csv is (missing|damaged)"):
        source(asked(raw, source="digits"))


def idx(file: Path, array: np.ndarray) -> None:
    """Write an array as MNIST's files hold it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    file.write_bytes(head + array.tobytes())


def mnist(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a tiny MNIST where torchvision looks for it; return both halves' images."""
    draw = np.random.default_rng(0)
    train, test = (draw.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (120, 40))
    for name, images in (("train", train), ("t10k", test)):
        raw = root / "MNIST/raw"
        idx(raw / f"{name}-images-idx3-ubyte", images)
        idx(raw / f"{name}-labels-idx1-ubyte", np.arange(len(images), dtype=np.uint8) % 10)
    return train, test


def test_the_test_half_of_a_torchvision_set_is_the_test_split(tmp_path: Path) -> None:
    train, test = mnist(tmp_path / "raw")
    samples, note = prepared(
        tmp_path / "raw", tmp_path / "out", source="torchvision", dataset="MNIST", size=28
    )
    held = samples["split"] == "test"
    assert (np.stack(samples["pixels"][held].tolist())[:, 0] == test).all()
    assert (np.stack(samples["pixels"][~held].tolist())[:, 0] == train).all()
    assert set(samples["split"][~held]) == {"train", "validation"}
    assert note["counts"] == {"train": 102, "validation": 18, "test": 40}
    assert note["classes"][0] == "0 - zero"
    assert (samples["label"] == samples["id"].str[-5:].astype(int) % 10).all()


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download fail at once, as where there is no network."""
    for scheme in ("http", "https"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("dataset", ["MNIST", "CIFAR10"])
def test_a_set_that_cannot_be_downloaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    offline(monkeypatch)
    with pytest.raises(Refusal, match=f"^{dataset} could not be downloaded to "):
        source(asked(tmp_path / "raw", source="torchvision", dataset=dataset))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which a user has prepared the digits, and has images of their own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/raw/digits", tmp_path / "data/raw/digits")
    folder(tmp_path / "data/raw/own")
    return tmp_path


def choose(project: Path, **changes: object) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["image"]["prepare"] |= changes
    (project / "params.yaml").write_text(yaml.safe_dump(params))


def test_the_stage_prepares_what_the_params_name_and_refuses_in_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ("python", "-m", "stages.prepare", "image")
    own = project / "data/raw/own"
    (own / "b/bad.png").write_text("no image")
    choose(project, source="folder", path="data/raw/own")
    assert run(project, *stage).stderr == ""
    out = project / "data/prepare/image"
    note = json.loads((out / "dataset.json").read_text())
    assert (note["unreadable"], note["classes"]) == (1, ["a", "b"])
    names = {"dataset.json", "images.npy", "left_out.csv", "samples.csv"}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(before) == names

    offline(monkeypatch)
    choose(project, source="torchvision", path="data/raw/torchvision", dataset="FashionMNIST")
    said = refused(project, *stage)
    assert said.startswith("prepare@image: FashionMNIST could not be downloaded to data/raw/")
    assert said.endswith("put the files there by hand, or choose source: digits")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_one_broken_file_is_enough_to_refuse_where_the_params_say_so(project: Path) -> None:
    own = project / "data/raw/own"
    choose(project, source="folder", path="data/raw/own", unreadable="refuse")
    (own / "b/two\nlines.png").write_text("no image")
    (own / "b/zero.png").touch()
    said = refused(project, "python", "-m", "stages.prepare", "image")
    assert said.startswith(
        "prepare@image: b/two\\nlines.png: not an image (2 unreadable files in all); mend or remove"
    )


@pytest.mark.skipif(
    not (DATASETS / "cifar10-jpeg.tar.gz").exists(),
    reason=f"the data set {DATASETS / 'cifar10-jpeg.tar.gz'} is not there",
)
def test_real_photographs_are_prepared(tmp_path: Path) -> None:
    left = dict.fromkeys(("airplane", "automobile", "bird"), 40)
    with tarfile.open(DATASETS / "cifar10-jpeg.tar.gz", "r|gz") as archive:
        for member in archive:
            path = Path(member.name)
            if path.parts[:1] == ("train",) and left.get(path.parent.name, 0) > 0:
                left[path.parent.name] -= 1
                file = archive.extractfile(member)
                assert file is not None
                (tmp_path / "raw" / path.parent.name).mkdir(parents=True, exist_ok=True)
                (tmp_path / "raw" / path.parent.name / path.name).write_bytes(file.read())
            if not any(left.values()):
                break
    samples, note = prepared(tmp_path / "raw", tmp_path / "out", size=16, channels=3)
    assert note["classes"] == ["airplane", "automobile", "bird"]
    assert (note["unreadable"], sum(note["counts"].values())) == (0, 120)
    assert samples["name"].value_counts().to_dict() == dict.fromkeys(note["classes"], 40)
    photographs = np.stack(samples["pixels"].tolist())
    assert photographs.shape == (120, 3, 16, 16)
    assert 60 < photographs.mean() < 200
    assert photographs.std() > 30
