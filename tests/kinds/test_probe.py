"""The time of a training, measured with a few steps of it."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support.project import default_task

from stages.datasets.dataset import read_dataset
from stages.datasets.images.packed import open_packed
from stages.datasets.texts.packed import PackedTexts
from stages.kinds.image_proposal import write_noise_images
from stages.kinds.plans import Cost, SplitSizes
from stages.kinds.probe import STAGE_SECONDS, Timing, time_training
from stages.kinds.text_classification.propose import write_sampled_texts


def test_a_cost_is_the_sum_of_its_steps() -> None:
    timing = Timing(step=0.5, sample=0.1, setup=0.01)
    cost = timing.cost(SplitSizes(train=70, validation=20, test=10), 32, other_seconds=3)
    assert cost.epoch == pytest.approx(2 * 0.5 + 20 * 0.1)  # the last, smaller batch is dropped
    assert cost.setup == pytest.approx(90 * 0.01)
    assert cost.seed == pytest.approx(30 * 0.1)
    assert cost.rest == pytest.approx(STAGE_SECONDS + 3 + 100 * 0.1)
    assert isinstance(cost, Cost)


def test_made_up_images_have_the_proposed_shape(tmp_path: Path) -> None:
    write_noise_images(tmp_path, 12, 5, size=9, channels=3, classes=4)
    dataset = read_dataset(tmp_path)
    assert open_packed(tmp_path / "images.npy").shape == (17, 3, 9, 9)
    assert (len(dataset.part("train")), len(dataset.part("validation"))) == (12, 5)
    assert len(dataset.classes) == 4
    assert dataset.note["shape"] == [3, 9, 9]


def test_made_up_texts_are_those_of_the_table(tmp_path: Path) -> None:
    write_sampled_texts(tmp_path, 3, 2, texts=["one two", "three"], classes=["a", "b"])
    texts = [*PackedTexts(tmp_path / "texts.bin")]
    assert texts == ["0 one two", "1 three", "2 one two", "3 three", "4 one two"]
    assert read_dataset(tmp_path).labels("train").tolist() == [0, 1, 0]


def test_the_kind_s_own_training_is_timed() -> None:
    """A larger network takes longer, and nothing is left behind."""
    task = default_task("workshop")
    write = partial(write_noise_images, size=16, channels=1, classes=3)
    before = sorted(Path.cwd().glob("data/prepare/*"))
    steps = []
    for channels in ([4], [64, 64]):
        train = task.params.train.model_copy(update={"channels": channels})
        params = task.params.model_copy(update={"train": train})
        start = time.perf_counter()
        timing = time_training(replace(task, params=params), write)
        assert 0 < timing.step < time.perf_counter() - start
        assert timing.sample > 0
        steps.append(timing.step)
    assert steps[0] < steps[1]
    assert sorted(Path.cwd().glob("data/prepare/*")) == before
