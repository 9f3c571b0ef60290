"""What was refused badly, lost in silence or never read: found by attacking the inputs."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import change_params, refused
from PIL import Image
from test_images import _digits, asked, folder, idx, left_out, mnist, noise, png, prepared
from test_params import TEXT, line, project, written  # noqa: F401 (a fixture)

from stages.shared.images.source import read_file, source
from stages.shared.refusal import Refusal


# --- outputs
def test_a_refusal_after_reading_leaves_the_earlier_output(project: Path) -> None:  # noqa: F811
    out = project / "data/prepare/image"
    (out / "images.npy").write_bytes(b"of an earlier run")
    folder(project / "raw", "ab", 9)
    change_params(project, lambda p: p["image"]["prepare"].update(source="folder", path="raw"))
    assert "has 9 usable images" in refused(project, "python", "-m", "stages.prepare", "image")
    assert (out / "images.npy").read_bytes() == b"of an earlier run"


# --- params
@pytest.mark.parametrize(
    "value",
    [
        "2001-99-99",
        "0x_",
        "0b_",
        "9" * 5000,
        "!!int abc",
        "!!float abc",
        "!!bool maybe",
        "!!timestamp maybe",
        "[" * 3000,
        "[" * 3000 + "]" * 3000,
    ],
)
def test_yaml_that_pyyaml_itself_trips_over_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text(TEXT + f"\nx: {value}\n")
    line(tmp_path / "params.yaml")


@pytest.mark.parametrize("pattern", ["(a){99999999999}", "(" * 500 + ")" * 500, "([[a])"])
def test_a_pattern_that_re_itself_trips_over_is_refused(tmp_path: Path, pattern: str) -> None:
    line(
        written(
            tmp_path / "params.yaml",
            image__prepare__source="folder",
            image__prepare__group_pattern=pattern,
        )
    )


@pytest.mark.parametrize("value", [True, 1.0, 3.0])
def test_a_literal_number_is_not_converted(tmp_path: Path, value: object) -> None:
    assert line(written(tmp_path / "params.yaml", image__prepare__channels=value)).startswith(
        "image.prepare.channels: "
    )


@pytest.mark.parametrize("value", ["010", "1:20", "1_0"])
def test_a_number_that_dvc_reads_otherwise_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text(re.sub(r"(?m)^(    size: )\S+", rf"\g<1>{value}", TEXT))
    line(tmp_path / "params.yaml")


def test_a_key_that_is_no_text_is_named_before_the_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(TEXT.replace("runtime:", "3:", 1))
    assert not line(tmp_path / "params.yaml").startswith("runtime: this key is missing")


@pytest.mark.parametrize("path", ["x" * 300])
@pytest.mark.parametrize(
    "kind", [{"source": "folder"}, {"source": "torchvision", "dataset": "MNIST"}]
)
def test_a_path_that_the_system_trips_over_is_refused(
    project: Path,  # noqa: F811
    path: str,
    kind: dict[str, str],
) -> None:
    change_params(project, lambda p: p["image"]["prepare"].update(path=path, **kind))
    refused(project, "python", "-m", "stages.params")


@pytest.mark.parametrize("path", ["params.yaml", "params.yaml/x", "a\0b", "/proc/x"])
def test_a_place_where_nothing_can_be_kept_is_refused(project: Path, path: str) -> None:  # noqa: F811
    change_params(
        project,
        lambda p: p["image"]["prepare"].update(path=path, source="torchvision", dataset="MNIST"),
    )
    refused(project, "python", "-m", "stages.params")


# --- folder
@pytest.mark.parametrize("make", ["empty", "hidden only"])
def test_a_class_without_a_file_is_refused(tmp_path: Path, make: str) -> None:
    raw = folder(tmp_path / "raw")
    (raw / "c").mkdir()
    if make == "hidden only":
        (raw / "c/.keep").touch()
    with pytest.raises(Refusal, match="class 'c' has 0"):
        prepared(raw, tmp_path / "out")


def test_a_class_whose_images_all_stand_in_another_is_refused(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    shutil.copytree(raw / "a", raw / "c")
    with pytest.raises(Refusal, match="class 'c' has 0"):
        prepared(raw, tmp_path / "out")


def test_a_broken_link_is_listed(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    (raw / "a/gone.png").symlink_to("nowhere.png")
    (raw / "a/loop.png").symlink_to("loop.png")
    _, note = prepared(raw, tmp_path / "out")
    assert note["unreadable"] == 2


def test_a_hidden_folder_within_a_class_is_no_data(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw")
    (raw / "a/.thumbnails").mkdir()
    noise(9).save(raw / "a/.thumbnails/x.png")
    assert len(prepared(raw, tmp_path / "out")[0]) == 20


def test_an_avif_that_cannot_be_decoded_is_listed(tmp_path: Path) -> None:
    noise(1, 32).convert("RGB").save(tmp_path / "x.avif")
    data = bytearray((tmp_path / "x.avif").read_bytes())
    at = data.index(b"mdat") + 4
    data[at:] = bytes(len(data) - at)
    (tmp_path / "x.avif").write_bytes(data)
    with pytest.raises(ValueError, match=r"^damaged: "):
        read_file(tmp_path / "x.avif", 8, 1, 10**6)


@pytest.mark.parametrize(
    ("mode", "value", "ending"), [("I;16", 0x8000, "pgm"), ("I", 0x8000, "tif"), ("F", 0.5, "tif")]
)
def test_deep_grey_is_scaled_or_listed_but_never_clipped(
    tmp_path: Path, mode: str, value: float, ending: str
) -> None:
    Image.new(mode, (8, 8), value).save(tmp_path / f"x.{ending}")
    try:
        pixels = read_file(tmp_path / f"x.{ending}", 8, 1, 10**6)
    except ValueError:
        return
    assert abs(int(pixels[0, 0, 0]) - 128) <= 1


def test_a_limit_above_pillows_own_holds(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(20_000, 20_000))
    with pytest.raises(ValueError, match=r"damaged|truncated"):  # not: claims more than 10^9 pixels
        read_file(tmp_path / "x.png", 8, 1, 10**9)


def test_a_pattern_whose_group_takes_no_part_gives_no_group(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", count=40)
    _, note = prepared(raw, tmp_path / "out", group_pattern=r"/(1\d)?\d*\.png")
    assert note["unreadable"] == 60


# --- duplicates, torchvision
def test_an_exact_repetition_in_the_test_half_costs_the_training_half(tmp_path: Path) -> None:
    train, test = mnist(tmp_path / "raw")
    test[0] = train[0]
    idx(tmp_path / "raw/MNIST/raw/t10k-images-idx3-ubyte", test)
    kinds = {"source": "torchvision", "dataset": "MNIST", "size": 28}
    prepared(tmp_path / "raw", tmp_path / "out", **kinds)
    assert set(left_out(tmp_path / "out")) == {"train-00000"}


def test_a_near_repetition_of_a_test_image_does_not_become_a_test_image(tmp_path: Path) -> None:
    train, test = mnist(tmp_path / "raw")
    test[0] = train[0]
    test[0, 0, 0] ^= 1
    idx(tmp_path / "raw/MNIST/raw/t10k-images-idx3-ubyte", test)
    kinds = {"source": "torchvision", "dataset": "MNIST", "size": 28}
    _, note = prepared(tmp_path / "raw", tmp_path / "out", **kinds)
    assert note["counts"]["test"] == 40


@pytest.mark.parametrize("data", [b"", b"hello world"])
def test_damaged_files_of_a_torchvision_set_are_refused(tmp_path: Path, data: bytes) -> None:
    mnist(tmp_path / "raw")
    (tmp_path / "raw/MNIST/raw/train-images-idx3-ubyte").write_bytes(data)
    with pytest.raises(Refusal):
        source(asked(tmp_path / "raw", source="torchvision", dataset="MNIST"))


@pytest.mark.parametrize("labels", [np.zeros(50, np.uint8), np.full(120, 77, np.uint8)])
def test_labels_of_a_torchvision_set_that_do_not_fit_are_refused(
    tmp_path: Path, labels: np.ndarray
) -> None:
    mnist(tmp_path / "raw")
    idx(tmp_path / "raw/MNIST/raw/train-labels-idx1-ubyte", labels)
    with pytest.raises(Refusal):
        prepared(tmp_path / "raw", tmp_path / "out", source="torchvision", dataset="MNIST")


# --- digits
@pytest.mark.parametrize(
    "table",
    [
        "first_sample,writer\n",
        "a,b\n0,x\n",
        "first_sample,writer\n0,a\nx,b\n900,c\n",
        "first_sample,writer\n0,a\n,b\n900,c\n",
        "first_sample,writer\n5,a\n500,b\n900,c\n",
        "first_sample,writer\n0,a\n900,b\n500,c\n",
        "first_sample,writer\n0,a\n500,b\n9999,c\n1000,d\n",
        "first_sample,writer\n0,a\n500,\n900,c\n",
        "first_sample,writer\n0,a\n500.5,b\n900,c\n",
    ],
)
def test_a_table_of_writers_that_makes_no_sense_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(Refusal):
        source(asked(_digits(tmp_path, table), source="digits"))


def test_writers_csv_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    raw = _digits(tmp_path, "")
    (raw / "writers.csv").unlink()
    (raw / "writers.csv").mkdir()
    with pytest.raises(Refusal):
        source(asked(raw, source="digits"))


def test_a_missing_table_of_writers_is_not_promised_by_dvc(tmp_path: Path) -> None:
    raw = _digits(tmp_path, "")
    (raw / "writers.csv").unlink()
    with pytest.raises(Refusal) as refusal:
        source(asked(raw, source="digits"))
    assert "dvc repro" not in str(refusal.value)  # it is in git


def test_two_names_stay_two_names(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", "ab")
    (raw / "a").rename(raw / "x\ny")
    (raw / "b").rename(raw / "x\\ny")
    _, note = prepared(raw, tmp_path / "out")
    assert len(note["classes"]) == 2


def test_a_group_with_a_carriage_return_is_kept(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", count=12)
    for file in list(raw.rglob("*.png")):
        file.rename(file.with_name(f"p\r{int(file.stem) % 6}_{file.name}"))
    samples, _ = prepared(raw, tmp_path / "out", group_pattern=r"(p\s\d)_")
    assert len(samples) == 24


def test_images_that_are_all_nearly_the_same_leave_nothing_to_learn_from(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", count=20)
    with pytest.raises(Refusal, match=r"no train image is left .* lower image.prepare.near"):
        prepared(raw, tmp_path / "out", near_duplicate=1.0, group_pattern=r"(\d)\.png")
