"""Ask the judge about image files: of which class they look, and whether they are copies."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.dataset import read_dataset
from stages.shared.images.source import read_file
from stages.shared.refusal import Refusal
from stages.shared.runtime import hold_torch

if TYPE_CHECKING:
    from stages.shared.task import Task


def predict(task: "Task", files: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield for each file its name, the judge's class and confidence, and the nearest training image.

    Of the last: its id, the root mean square difference as a share of the range, and whether that
    is closer than all but a stated share of held-out real images are.

    Raises:
        Refusal: a file cannot be read, or there is no trained judge.
    """
    params = task.params.prepare
    dataset = read_dataset(task.folder("prepare"))
    pixels = []
    for name in files:
        try:
            pixels.append(read_file(Path(name), params.size, params.channels, params.max_pixels))
        except ValueError as error:
            raise Refusal(f"{name}: {error}; give an image file (PNG, JPEG, ...)") from None
    # torch, once there is something to ask
    from stages.shared.images.packed import opened
    from stages.tasks.generative.baseline import load_judge
    from stages.tasks.generative.measure import Yardstick

    hold_torch(task.runtime)
    images = opened(task.folder("prepare") / "images.npy")
    judge = load_judge(task, dataset)
    yardstick = Yardstick(judge, dataset, images, "test", task.params.evaluate)
    seen = yardstick.seen(np.stack(pixels))
    ids = dict(zip(dataset.samples["row"], dataset.samples["id"], strict=True))
    for name, row, near, gap in zip(
        files, seen.probabilities, seen.neighbours, seen.gaps, strict=True
    ):
        best = int(row.argmax())
        close = "close" if gap < yardstick.close else "not close"
        yield name, dataset.classes[best], f"{row[best]:.3f}", f"{ids[near]}", f"{gap:.3f}", close
