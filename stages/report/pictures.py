"""Pictures of samples as PNG (the same bytes for the same pixels), and strips and cases of them."""

import io
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stages.report.cases import (
    CASES_FILE,
    cases_extent,
    classification_case,
    failures_caption,
    spread,
    weak,
)
from stages.report.document import Cases, Picture, Strip, Tile
from stages.report.formatting import model_name, percent, table_rows
from stages.report.rendering import MEGABYTE

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs

TILE = 128  # pixels, the longer side of a picture
NEIGHBOURS = 3
_SHEET_TILE = 64  # the same in a sheet of many
_LARGEST_PIXELATED = 48
_GAP = 6
_FIRST = 8  # on the first screen
_SHARE_OF_CASES, _BASE64 = 0.5, 4 / 3


def to_image(pixels: np.ndarray) -> Image.Image:
    """Return uint8 pixels (channel, height, width), of one channel or three, as an image."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def thumbnail(pixels: np.ndarray, tile: int = TILE) -> Image.Image:
    """Return uint8 pixels (channel, height, width) as an RGB image whose longer side is about `tile`.

    A small image is enlarged by a whole factor, so that its pixels stay squares.
    """
    image = to_image(pixels).convert("RGB")
    longest = max(image.size)
    if longest <= min(tile, _LARGEST_PIXELATED):
        factor = tile // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    size = (max(1, round(side * tile / longest)) for side in image.size)
    return image.resize((next(size), next(size)), Image.Resampling.LANCZOS)


def image_grid(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return a PNG of rows of samples."""
    tiles = [[thumbnail(pixels, _SHEET_TILE) for pixels in row] for row in rows]
    width = max(sum(tile.width + _GAP for tile in row) for row in tiles) - _GAP
    heights = [max(tile.height for tile in row) for row in tiles]
    sheet = Image.new("RGBA", (width, sum(heights) + _GAP * (len(tiles) - 1)), (0, 0, 0, 0))
    y = 0
    for row, height in zip(tiles, heights, strict=True):
        x = 0
        for tile in row:
            sheet.paste(tile, (x, y))
            x += tile.width + _GAP
        y += height + _GAP
    return to_png(sheet)


def to_png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def sample_picture(pixels: np.ndarray, alt: str) -> Picture:
    """Return the picture of a sample, uint8 (channel, height, width), in the size that pages show."""
    return Picture(to_png(thumbnail(pixels)), alt)


def success_strip(outputs: "ClassificationOutputs", images: np.ndarray) -> Strip:
    """Return correctly predicted test images.

    Args:
        outputs: of the stages before the pack.
        images: all images of the task, (n, channel, height, width), uint8.
    """
    tiles = [
        Tile(
            f"right-{number:02}.png",
            sample_picture(images[row["row"]], f"Test image {row['id']}"),
            f"{row['true']}, {percent(row['confidence'], 0)} sure",
        )
        for number, row in enumerate(spread(table_rows(outputs.successes), _FIRST), start=1)
    ]
    return Strip("It is right, evenly from the most to the least confident:", tiles)


def failure_strip(outputs: "ClassificationOutputs", images: np.ndarray) -> Strip:
    """Return the first failure cases; arguments as of `success_strip`."""
    turns = outputs.cases.assign(turn=outputs.cases.groupby("bucket").cumcount())
    first = turns.sort_values("turn", kind="stable").head(
        _FIRST
    )  # the first of each bucket, in turn
    tiles = [
        Tile(
            f"case-{number:02}.png",
            sample_picture(images[row["row"]], f"Test image {row['id']}"),
            f"{row['true']} taken for {row['predicted']}" if row["kind"] == "wrong" else weak(row),
            row["id"],
        )
        for number, row in enumerate(table_rows(first), start=1)
    ]
    return Strip(failures_caption(outputs), tiles)


def image_cases(outputs: "ClassificationOutputs", images: np.ndarray) -> Cases:
    """Return the failure cases, each with its nearest training images; arguments as of `success_strip`.

    The pictures take at most half of the page; cases for which no room is left are in the table alone.
    """

    @cache
    def png(place: int) -> bytes:
        """Return the picture of an image; many cases share a neighbour."""
        return to_png(thumbnail(images[place]))

    cases, room = [], outputs.task.params.pack.page_limit_mb * MEGABYTE * _SHARE_OF_CASES
    for row in table_rows(outputs.cases):
        labels = row["neighbour_labels"].split(" | ")
        places = map(int, row["neighbour_rows"].split())
        near = [
            Picture(png(place), label)
            for label, place in list(zip(labels, places, strict=True))[:NEIGHBOURS]
        ]
        picture = Picture(png(row["row"]), f"Test image {row['id']}")
        room -= sum(len(item.data) for item in [picture, *near]) * _BASE64
        if room < 0:
            break
        heading = f"nearest training images: {', '.join(labels[:NEIGHBOURS])}"
        cases.append(classification_case(row, outputs, (heading, near), picture=picture))
    caption = (
        f"{cases_extent(len(cases), len(outputs.cases))}, the most confident mistake first. Nearest "
        f"training images are those by the features of {model_name(outputs)}."
    )
    return Cases(caption, cases, len(outputs.cases), CASES_FILE)
