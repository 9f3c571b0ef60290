"""Ask the judge about image files: of which class they look, and whether they are copies."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.shared.dataset import read_dataset
from stages.shared.files import read_json
from stages.shared.images.source import read_files
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
    images = read_files(files, params)
    # torch, once there is something to ask
    from stages.shared.images.packed import opened
    from stages.tasks.generative.baseline import load_judge
    from stages.tasks.generative.measure import looked_at

    hold_torch(task.runtime)
    judge = load_judge(task, dataset)
    packed = opened(task.folder("prepare") / "images.npy")
    close = read_json(task.folder("evaluate") / "metrics.json")["close_gap_test"]
    seen = looked_at(judge, packed, dataset.rows("train"), images)
    ids = dict(zip(dataset.samples["row"], dataset.samples["id"], strict=True))
    for name, row, near, gap in zip(
        files, seen.probabilities, seen.neighbours, seen.gaps, strict=True
    ):
        best = int(row.argmax())
        word = "close" if gap < close else "not close"
        yield name, dataset.classes[best], f"{row[best]:.3f}", f"{ids[near]}", f"{gap:.3f}", word
