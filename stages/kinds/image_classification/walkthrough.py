"""What the walkthrough's cells use: the start of a training, its loop, a gradient by hand, pictures."""

import copy
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional

from stages.core.runtime import seed_of_fold
from stages.datasets.dataset import Dataset, read_dataset
from stages.kinds.image_classification.train import training_runs
from stages.kinds.params import load_params, load_tasks, select_task
from stages.report.pictures import to_png
from stages.training.devices import launch_fabric
from stages.training.loop import TrainingRun, fit

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.image_classification.schema import TrainImages

TEMPLATE = Path(__file__).parent / "walkthrough.md.j2"
_SIDE, _TILE = 192, 96  # of an image and of each of several, in screen pixels, about
_GAP = 6
_GAP_COLOUR = (143, 184, 222)  # neither black nor white, as maps are at their edges
_COLUMNS = 8
_OUTLINE = (196, 96, 29)
_FIRST_LINE, _LAST_LINE = "for group in", "optimizer.step()"  # of the steps inside the loop
_STEP = 1e-4  # of the central difference


@dataclass(frozen=True)
class Picture:
    """A PNG that Jupyter displays as the result of a cell.

    Attributes:
        name: of its file, without the suffix.
        text: what it shows, for those who do not see it.
        png: its bytes.
    """

    name: str
    text: str
    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<picture: {self.text}>"


def template_values(task: "Task") -> dict[str, Any]:
    """Return what the walkthrough's text depends on, beside the values that its cells print."""
    params: TrainImages = task.params.train
    return {
        "task": task.name,
        "network": params.model,
        "augmented": params.augment is not None,
        "imagenet": params.initial_weights == "imagenet",
        "smoothing": params.label_smoothing,
        "epochs": params.epochs,
        "stripes": task.params.prepare.source == "stripes",
    }


def start_training(name: str) -> tuple[Dataset, TrainingRun]:
    """Return the data of a task, and its training run of the primary seed, on the CPU in float32.

    Args:
        name: of a task in params.yaml.

    Raises:
        UserError: there is no such task, or its data have not been prepared.
    """
    cpu = {"device": "cpu", "precision": "32-true"}
    params = load_params()
    task = select_task(load_tasks(params), name).folds()[0]
    fabric = launch_fabric(params.runtime.alone.model_copy(update=cpu))
    run = training_runs(task, fabric)(seed_of_fold(task.params.train.seeds[0], task.fold))
    return read_dataset(task), run


def loop_lines() -> str:
    """Return the lines that the training loop repeats for every batch, as they stand in its code."""
    lines = inspect.getsource(fit).splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith(_FIRST_LINE))
    last = next(i for i, line in enumerate(lines) if line.strip().startswith(_LAST_LINE))
    return textwrap.dedent("\n".join(lines[first : last + 1]))


def central_difference(
    model: nn.Module, name: str, index: tuple[int, ...], images: Tensor, labels: Tensor
) -> float:
    """Return d loss / d weight from the losses a little above and below that weight.

    In double precision: the difference of two losses that are almost equal needs the digits.

    Args:
        model: it is copied, and not changed.
        name: of the weights.
        index: of the weight.
        images: (batch, channel, height, width).
        labels: (batch,).
    """
    copied = copy.deepcopy(model).double()
    weights = copied.get_parameter(name)
    losses = []
    with torch.no_grad():
        for change in (_STEP, -2 * _STEP):
            weights[index] += change
            losses.append(functional.cross_entropy(copied(images.double()), labels).item())
    return (losses[0] - losses[1]) / (2 * _STEP)


def outlined(image: Tensor, row: int, column: int, side: int) -> Picture:
    """Return an image (channel, height, width), 0 to 1, with a line around a square of its pixels."""
    picture = _enlarged(image.movedim(0, -1).numpy(), _SIDE)
    scale = picture.width // image.shape[-1]
    start = (column * scale - 1, row * scale - 1)
    end = ((column + side) * scale, (row + side) * scale)
    ImageDraw.Draw(picture).rectangle((*start, *end), outline=_OUTLINE, width=3)
    text = f"the first image, with an outline around {side} by {side} of its pixels"
    return Picture("patch", text, to_png(picture))


def tiles(maps: Tensor, name: str, text: str) -> Picture:
    """Return maps (map, height, width) side by side, each from black (its least value) to white.

    Args:
        maps: any values; a map with one value only is grey.
        name: of the picture.
        text: what it shows.
    """
    values = maps.detach().double().numpy()
    low, high = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
    spread = np.where(high > low, high - low, 1)
    levels = np.where(high > low, (values - low) / spread, 0.5)
    pictures = [_enlarged(level[:, :, None], _TILE) for level in levels]
    width, height = pictures[0].size
    rows = -(-len(pictures) // _COLUMNS)
    columns = min(len(pictures), _COLUMNS)
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    sheet = Image.new("RGB", size, _GAP_COLOUR)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, _COLUMNS)
        sheet.paste(picture, (column * (width + _GAP), row * (height + _GAP)))
    return Picture(name, text, to_png(sheet))


def _enlarged(levels: np.ndarray, side: int) -> Image.Image:
    """Return levels (height, width, 1 or 3), 0 to 1, as an image of squares, about `side` wide."""
    height, width = levels.shape[:2]
    pixels = np.broadcast_to(np.rint(255 * levels), (height, width, 3)).astype(np.uint8)
    scale = max(1, side // max(height, width))
    return Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
