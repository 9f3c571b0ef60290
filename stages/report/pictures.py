"""Pictures of samples as PNG (the same bytes for the same pixels), and galleries of them."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stages.report.document import Card, Gallery
from stages.report.formatting import case_lines, model_name, success_lines, table_rows

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs

TILE = 48
NEIGHBOURS = 3
_GAP = 6
_WIDE_GAP = 14


def to_image(pixels: np.ndarray) -> Image.Image:
    """Return uint8 pixels (channel, height, width), of one channel or three, as an image."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def thumbnail(pixels: np.ndarray) -> Image.Image:
    """Return uint8 pixels (channel, height, width) as an RGB image whose longer side is about 48.

    A small image is enlarged by a whole factor, so that its pixels stay squares.
    """
    image = to_image(pixels).convert("RGB")
    longest = max(image.size)
    if longest <= TILE:
        factor = TILE // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = TILE / longest
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def image_strip(sample: np.ndarray, neighbours: Sequence[np.ndarray]) -> bytes:
    """Return a PNG of a sample and, after a wider gap, its neighbours in a row."""
    tiles = [thumbnail(pixels) for pixels in [sample, *neighbours]]
    width = sum(tile.width + _GAP for tile in tiles) - _GAP + (_WIDE_GAP if neighbours else 0)
    sheet = Image.new("RGBA", (width, max(tile.height for tile in tiles)), (0, 0, 0, 0))
    x = 0
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (x, 0))
        x += tile.width + _GAP + (_WIDE_GAP if index == 0 else 0)
    return to_png(sheet)


def image_grid(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return a PNG of rows of samples."""
    tiles = [[thumbnail(pixels) for pixels in row] for row in rows]
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


def success_gallery(outputs: "ClassificationOutputs", images: np.ndarray) -> Gallery:
    """Return correctly predicted test images.

    Args:
        outputs: of the stages before the pack.
        images: all images of the task, (n, channel, height, width), uint8.
    """
    cards = [
        Card(
            f"right-{number:02}.png",
            image_strip(images[sample["row"]], []),
            f"Test image {sample['id']}, class {sample['true']}.",
            f"{sample['true']} → {sample['predicted']}",
            success_lines(sample),
        )
        for number, sample in enumerate(table_rows(outputs.successes), start=1)
    ]
    caption = f"{len(cards)} correct predictions, evenly from the most to the least confident."
    return Gallery(caption, cards)


def failure_gallery(outputs: "ClassificationOutputs", images: np.ndarray) -> Gallery:
    """Return the first failure cases, each with its nearest training images.

    Args:
        outputs: of the stages before the pack.
        images: all images of the task, (n, channel, height, width), uint8.
    """
    cards = []
    cases = outputs.cases.head(outputs.task.params.failures.show)
    for number, case in enumerate(table_rows(cases), start=1):
        neighbours = [images[int(row)] for row in case["neighbour_rows"].split()[:NEIGHBOURS]]
        classes = ", ".join(case["neighbour_labels"].split(" | ")[:NEIGHBOURS])
        cards.append(
            Card(
                f"case-{number:02}.png",
                image_strip(images[case["row"]], neighbours),
                f"Test image {case['id']}, class {case['true']}, and its nearest training images, of "
                f"classes {classes}.",
                f"{case['true']} → {case['predicted']} ({case['kind']})",
                [*case_lines(case, outputs.gain["seeds"]), case["id"]],
            )
        )
    total = f" of {len(outputs.cases)}" if len(outputs.cases) > len(cards) else ""
    return Gallery(
        f"{len(cards)}{total} failure cases, the most confident mistake first: the test image and its "
        f"{NEIGHBOURS} nearest training images, by the features of {model_name(outputs)}.",
        cards,
    )
