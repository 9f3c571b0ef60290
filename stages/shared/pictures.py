"""Pictures of samples as PNG, the same bytes for the same pixels; and galleries of them."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stages.shared.document import Card, Gallery
from stages.shared.wording import case_lines, percent, rows_of

if TYPE_CHECKING:
    from stages.shared.findings import Findings

TILE = 48
BESIDE = 3
_GAP = 6
_WIDE_GAP = 14


def plain(pixels: np.ndarray) -> Image.Image:
    """Return uint8 (channel, height, width) as a picture of just these pixels."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def tile(pixels: np.ndarray) -> Image.Image:
    """Return uint8 (channel, height, width) as an RGB picture of about 48 pixels a side.

    Small images grow by a whole factor, so that every pixel stays a square.
    """
    image = plain(pixels).convert("RGB")
    longest = max(image.size)
    if longest <= TILE:
        factor = TILE // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    share = TILE / longest
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))


def strip(first: np.ndarray, others: Sequence[np.ndarray]) -> bytes:
    """Return a PNG of one sample and, after a wider gap, others beside it."""
    tiles = [tile(pixels) for pixels in [first, *others]]
    width = sum(one.width + _GAP for one in tiles) - _GAP + (_WIDE_GAP if others else 0)
    sheet = Image.new("RGBA", (width, max(one.height for one in tiles)), (0, 0, 0, 0))
    x = 0
    for index, one in enumerate(tiles):
        sheet.paste(one, (x, 0))
        x += one.width + _GAP + (_WIDE_GAP if index == 0 else 0)
    return png(sheet)


def rows(groups: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return a PNG of samples, one group a row."""
    drawn = [[tile(pixels) for pixels in group] for group in groups]
    width = max(sum(one.width + _GAP for one in group) for group in drawn) - _GAP
    heights = [max(one.height for one in group) for group in drawn]
    sheet = Image.new("RGBA", (width, sum(heights) + _GAP * (len(drawn) - 1)), (0, 0, 0, 0))
    y = 0
    for group, height in zip(drawn, heights, strict=True):
        x = 0
        for one in group:
            sheet.paste(one, (x, y))
            x += one.width + _GAP
        y += height + _GAP
    return png(sheet)


def png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def right(found: "Findings", images: np.ndarray) -> Gallery:
    """Return right test images; `images` is the packed array."""
    cards = []
    for number, row in enumerate(rows_of(found.successes), start=1):
        cards.append(
            Card(
                f"right-{number:02}.png",
                strip(images[row["row"]], []),
                f"Test image {row['id']}, class {row['true']}.",
                f"{row['true']} → {row['predicted']}",
                [
                    f"confidence {percent(row['confidence'])}",
                    f"baseline says {row['baseline']}",
                    row["id"],
                ],
            )
        )
    return Gallery(
        f"{len(cards)} right predictions, evenly from the surest to the least sure.", cards
    )


def wrong(found: "Findings", images: np.ndarray) -> Gallery:
    """Return failing test images, beside each its nearest training images."""
    cards = []
    shown = found.cases.head(found.task.params.failures.show)
    for number, row in enumerate(rows_of(shown), start=1):
        near = [images[int(place)] for place in row["neighbour_rows"].split()[:BESIDE]]
        classes = ", ".join(row["neighbour_labels"].split(" | ")[:BESIDE])
        cards.append(
            Card(
                f"case-{number:02}.png",
                strip(images[row["row"]], near),
                f"Test image {row['id']}, class {row['true']}, and beside it its nearest training images, "
                f"of classes {classes}.",
                f"{row['true']} → {row['predicted']} ({row['kind']})",
                [*case_lines(row), row["id"]],
            )
        )
    more = f" of {len(found.cases)}" if len(found.cases) > len(cards) else ""
    return Gallery(
        f"{len(cards)}{more} failure cases, the surest mistake first: the test image, and beside it the "
        f"{BESIDE} nearest training images in the features of the headline model.",
        cards,
    )
