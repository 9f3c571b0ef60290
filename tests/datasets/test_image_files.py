"""Image files of any format, colour and size become one array; damaged ones are named as such."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.images import DEFAULT, encode, noise, png_claiming

from stages.core.errors import UserError
from stages.core.progress import Lines
from stages.datasets.images.files import GreyDepth, read_image_file, read_image_files

PIXELS = 1_000_000
RED, GREY_OF_RED = (200, 100, 0), 118
PLAIN = encode(noise(7, 32), "PNG")


def flip_byte(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


BROKEN = {
    "empty.png": (b"", "empty file"),
    "text.png": (b"these are words, not pixels\n", "not an image"),
    "zeros.png": (bytes(500), "not an image"),
    "head.png": (PLAIN[:8], "not an image"),
    "cut.png": (PLAIN[: len(PLAIN) // 2], "damaged: "),
    "cut.jpg": (encode(noise(7, 64), "JPEG")[:1500], "damaged: "),
    "chunk.png": (flip_byte(PLAIN, PLAIN.index(b"IDAT") + 40), "damaged: "),
    "header.png": (flip_byte(PLAIN, 18), "not an image"),
    "bomb.png": (png_claiming(30_000, 30_000), "claims "),
    "larger bomb.png": (png_claiming(2**31 - 1, 2**31 - 1), "claims "),
    "just over.png": (png_claiming(1001, 1000), "claims 1001 x 1000 pixels, more than 1000000"),
}


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("jpg", {"quality": 95}),
        ("gif", {}),
        ("bmp", {}),
        ("webp", {"lossless": True}),
        ("tif", {}),
    ],
)
def test_common_formats_keep_their_colours(
    tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    file = tmp_path / f"red.{suffix}"
    Image.new("RGB", (16, 16), RED).save(file, **options)
    colour, grey = read_image_file(file, 8, 3, PIXELS), read_image_file(file, 8, 1, PIXELS)
    assert (colour.shape, grey.shape) == ((3, 8, 8), (1, 8, 8))
    assert colour.dtype == grey.dtype == np.uint8
    assert colour.flags.c_contiguous
    assert np.abs(colour.mean((1, 2)) - RED).max() <= 4
    assert abs(grey.mean() - GREY_OF_RED) <= 2


@pytest.mark.parametrize(
    ("image", "suffix", "colour"),
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
def test_pixel_modes_keep_their_colours(
    tmp_path: Path, image: Image.Image, suffix: str, colour: tuple[int, int, int]
) -> None:
    image.save(tmp_path / f"image.{suffix}", quality=95)
    pixels = read_image_file(tmp_path / f"image.{suffix}", 9, 3, PIXELS)
    assert np.abs(pixels.reshape(3, -1) - np.array(colour)[:, None]).max() <= 4


@pytest.mark.parametrize(
    ("mode", "value", "suffix"), [("I;16", 0x8000, "pgm"), ("I", 0x8000, "tif"), ("F", 0.5, "tif")]
)
def test_deep_grey_is_scaled_or_rejected_but_not_clipped(
    tmp_path: Path, mode: str, value: float, suffix: str
) -> None:
    Image.new(mode, (8, 8), value).save(tmp_path / f"x.{suffix}")
    try:
        pixels = read_image_file(tmp_path / f"x.{suffix}", 8, 1, PIXELS)
    except ValueError:
        return
    assert abs(int(pixels[0, 0, 0]) - 128) <= 1


def test_a_transparent_palette_entry_becomes_black(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, 10, 20, 30])
    image.paste(1, (4, 0, 8, 8))
    for suffix in ("png", "gif"):
        image.save(tmp_path / f"palette.{suffix}", transparency=0)
        pixels = read_image_file(tmp_path / f"palette.{suffix}", 8, 3, PIXELS)
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
def test_the_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise(1).save(tmp_path / "photo.png", exif=exif)
    pixels = read_image_file(tmp_path / "photo.png", 8, 1, PIXELS)
    assert (pixels[0] == upright(np.asarray(noise(1)))).all()


@pytest.mark.parametrize("size", [(4, 1), (1, 900), (900, 1), (8, 8), (33, 57), (640, 480)])
def test_images_of_any_size_are_resized(tmp_path: Path, size: tuple[int, int]) -> None:
    halves = Image.new("L", size, 0)
    halves.paste(255, (0, 0, size[0], max(1, size[1] // 2)))
    halves.save(tmp_path / "halves.png")
    pixels = read_image_file(tmp_path / "halves.png", 8, 1, PIXELS)[0]
    assert pixels.shape == (8, 8)
    assert pixels[0].min() >= 250
    assert size[1] == 1 or pixels[-1].max() <= 5


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 3)])
def test_an_image_of_a_few_pixels_is_rejected(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "x.png")
    message = f"^too small: {size[0]} x {size[1]} pixels, the longer side needs 4$"
    with pytest.raises(ValueError, match=message):
        read_image_file(tmp_path / "x.png", 8, 1, PIXELS)


@pytest.mark.parametrize(("bits", "grey"), [(12, 128), (16, 8), (10, 255), (8, 255)])
def test_deep_grey_is_scaled_by_the_bits_in_use(tmp_path: Path, bits: int, grey: int) -> None:
    Image.new("I;16", (8, 8), 0x0800).save(tmp_path / "x.png")
    assert (read_image_file(tmp_path / "x.png", 8, 1, PIXELS, bits) == grey).all()


@pytest.mark.parametrize("greatest", [4095, 4096, 1023, 65535, 200, 0])
def test_the_depth_of_a_data_set_is_that_of_its_greatest_value(
    tmp_path: Path,
    greatest: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("stages.core.progress._LINES", Lines(interval=0.0))
    for index, value in enumerate((greatest // 3, greatest, greatest // 2)):
        Image.new("I;16", (8, 8), value).save(tmp_path / f"{index}.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "eight bits.png")
    (tmp_path / "broken.png").write_text("no image")
    depth = GreyDepth(tmp_path, sorted(file.name for file in tmp_path.iterdir()), PIXELS)
    assert depth.bits_in_use() is None
    assert (read_image_file(tmp_path / "eight bits.png", 8, 1, PIXELS, depth) == 255).all()
    assert depth.bits_in_use() is None  # no 16-bit file was read
    pixels = read_image_file(tmp_path / "1.png", 8, 1, PIXELS, depth)
    assert depth.bits_in_use() == max(8, greatest.bit_length())
    assert "looking for the bits in use" in capsys.readouterr().err
    assert (pixels == greatest >> (depth.bits() - 8)).all()


@pytest.mark.parametrize("name", BROKEN)
def test_the_error_of_a_broken_file_says_what_is_wrong(tmp_path: Path, name: str) -> None:
    data, problem = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"^{problem}"):
        read_image_file(tmp_path / name, 8, 1, PIXELS)


def test_an_avif_that_cannot_be_decoded_is_damaged(tmp_path: Path) -> None:
    noise(1, 32).convert("RGB").save(tmp_path / "x.avif")
    data = (tmp_path / "x.avif").read_bytes()
    header, _, content = data.partition(b"mdat")
    (tmp_path / "x.avif").write_bytes(header + b"mdat" + bytes(len(content)))
    with pytest.raises(ValueError, match=r"^damaged: "):
        read_image_file(tmp_path / "x.avif", 8, 1, PIXELS)


def test_max_pixels_may_exceed_the_default_limit_of_pillow(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_claiming(20_000, 20_000))
    with pytest.raises(ValueError, match=r"damaged|truncated"):  # not: claims more than 10^9 pixels
        read_image_file(tmp_path / "x.png", 8, 1, 10**9)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(name=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]), draw=st.randoms())
def test_a_randomly_damaged_file_is_read_or_raises_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, draw: random.Random
) -> None:
    data = bytearray(encode(noise(3, 16), name))
    for _ in range(draw.randint(1, 6)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(data[: draw.randint(1, len(data))] if draw.random() < 0.3 else data)
    try:
        pixels = read_image_file(file, 8, 1, PIXELS)
    except ValueError:
        return
    assert pixels.shape == (1, 8, 8)
    assert pixels.dtype == np.uint8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_unreadable(tmp_path: Path) -> None:
    noise(3).save(tmp_path / "3.png")
    (tmp_path / "3.png").chmod(0)
    with pytest.raises(ValueError, match=r"damaged: .*Permission"):
        read_image_file(tmp_path / "3.png", 8, 1, PIXELS)


def test_files_to_predict_are_packed_as_prepare_packs_them(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.png", "b.bmp")]
    for seed, name in enumerate(names):
        noise(seed).save(name)
    pixels = read_image_files(names, DEFAULT.params.prepare)
    assert [(image[0] == np.asarray(noise(s))).all() for s, image in enumerate(pixels)] == [1, 1]
    with pytest.raises(UserError, match=r"c\.png: no such file; give an image file"):
        read_image_files([*names, str(tmp_path / "c.png")], DEFAULT.params.prepare)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("pipe", "a pipe"), ("/dev/zero", "a pipe, socket or device"), (".", "not a file")],
)
def test_what_is_no_file_is_not_opened(tmp_path: Path, name: str, problem: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    params = DEFAULT.params.prepare
    with pytest.raises(UserError, match=f": {problem}"):
        read_image_files([str(tmp_path / name)], params)
