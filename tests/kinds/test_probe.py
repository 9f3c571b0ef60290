"""The time of a training, measured with a few steps of it."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from support.project import default_task

from stages.datasets.dataset import read_prepared
from stages.datasets.images.packed import open_packed
from stages.datasets.texts.packed import PackedTexts
from stages.kinds.image_proposal import write_noise_images
from stages.kinds.plans import Cost, SplitSizes
from stages.kinds.probe import STAGE_SECONDS, Moment, Timing, _time_steps, is_busy, time_training
from stages.kinds.text_classification.propose import write_sampled_texts
from stages.training.devices import launch_fabric
from stages.training.loop import TrainingRun


def test_a_cost_is_the_sum_of_its_steps() -> None:
    timing = Timing(step=0.5, sample=0.1, setup=0.01)
    cost = timing.cost(SplitSizes(train=70, validation=20, test=10), 32, other_seconds=3)
    assert cost.epoch == pytest.approx(2 * 0.5 + 20 * 0.1)  # the last, smaller batch is dropped
    assert cost.setup == pytest.approx(90 * 0.01)
    assert cost.run == pytest.approx(30 * 0.1)
    assert cost.rest == pytest.approx(STAGE_SECONDS + 3 + 100 * 0.1)
    assert isinstance(cost, Cost)


def test_a_cost_of_folds_has_the_predictions_of_all_and_the_runs_of_each() -> None:
    timing = Timing(step=0.5, sample=0.1, setup=0.01)
    cost = timing.cost(SplitSizes(train=60, validation=20, test=100, folds=5), 30, other_seconds=3)
    assert cost.epoch == pytest.approx(2 * 0.5 + 20 * 0.1)
    assert cost.run == pytest.approx(40 * 0.1)
    assert cost.rest == pytest.approx(STAGE_SECONDS + 3 + 5 * 100 * 0.1)
    assert cost.folds == 5


def test_made_up_images_have_the_proposed_shape(tmp_path: Path) -> None:
    write_noise_images(tmp_path, 12, 5, size=9, channels=3, classes=4)
    dataset = read_prepared(tmp_path)
    assert open_packed(tmp_path / "images.npy").shape == (17, 3, 9, 9)
    assert (len(dataset.part("train")), len(dataset.part("validation"))) == (12, 5)
    assert len(dataset.classes) == 4
    assert dataset.note["shape"] == [3, 9, 9]


def test_made_up_texts_are_those_of_the_table(tmp_path: Path) -> None:
    write_sampled_texts(tmp_path, 3, 2, texts=["one two", "three"], classes=["a", "b"])
    texts = [*PackedTexts(tmp_path / "texts.bin")]
    assert texts == ["0 one two", "1 three", "2 one two", "3 three", "4 one two"]
    dataset = read_prepared(tmp_path)
    assert dataset.labels("train").tolist() == [0, 1, 0]
    assert dataset.labels("validation").tolist() == [0, 1]


def test_the_kind_s_own_training_is_timed() -> None:
    """A larger network takes longer, and nothing is left behind."""
    task = default_task("workshop")
    write = partial(write_noise_images, size=16, channels=1, classes=3)
    before = sorted(Path.cwd().glob("data/prepare/*"))
    steps = []
    for channels in ([2], [256, 256]):  # so far apart that no other program matters
        train = task.params.train.model_copy(update={"channels": channels})
        params = task.params.model_copy(update={"train": train})
        start = time.perf_counter()
        timing = time_training(replace(task, params=params), write)
        assert 0 < timing.step < time.perf_counter() - start
        assert timing.sample > 0
        steps.append(timing.step)
    assert steps[0] < steps[1]
    assert sorted(Path.cwd().glob("data/prepare/*")) == before


def test_uneven_steps_count_by_their_mean() -> None:
    """Batches of short texts take a fraction of the time of those of long ones."""
    seconds = (0.0, 0.0, 0.4, 0.0)  # the first one warms up and does not count
    model = torch.nn.Linear(1, 1)

    def scores(model: torch.nn.Module, wait: float) -> dict[str, torch.Tensor]:
        time.sleep(wait)
        return {"loss": model(torch.ones(1, 1)).sum()}

    run = TrainingRun(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        learning_rate=lambda _: 0.1,
        batches=lambda _: seconds,
        scores=scores,
        validate=lambda _: {"loss": 0.0},
        epochs=1,
    )
    step, _ = _time_steps(run, launch_fabric(default_task("workshop").runtime), threads=None)
    assert 0.4 / 3 <= step < 0.4


def test_one_of_several_devices_is_timed_with_its_share_of_a_batch() -> None:
    """No further process starts: it would run this test again."""
    task = default_task("workshop")
    share = task.params.train.batch_size // 2
    runtime = task.runtime.model_copy(update={"devices": 2})
    training = []

    def write(folder: Path, count: int, validation: int) -> None:
        training.append(count)
        write_noise_images(folder, count, validation, size=16, channels=1, classes=3)

    assert time_training(replace(task, runtime=runtime), write).step > 0
    assert "LOCAL_RANK" not in os.environ
    assert training[0] == share


def test_more_classes_than_a_batch_with_balanced_weights_can_be_timed() -> None:
    """Each class of the validation samples must have a training sample, or their loss is not finite."""
    task = default_task("workshop")
    train = task.params.train.model_copy(update={"batch_size": 64, "class_weights": "balanced"})
    params = task.params.model_copy(update={"train": train})
    write = partial(write_noise_images, size=16, channels=1, classes=600)
    assert time_training(replace(task, params=params), write).sample > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_the_work_of_a_gpu_is_timed_and_not_its_start() -> None:
    device = torch.device("cuda")
    matrix = torch.ones(8192, 8192, device=device)
    matrix @ matrix  # the first product loads libraries
    start = Moment.read(device)
    for _ in range(20):
        matrix @ matrix
    launched = time.perf_counter() - start.wall
    assert start.seconds_to(Moment.read(device), threads=None) > 3 * launched


@pytest.mark.parametrize(
    ("load", "cores", "threads", "busy"),
    [
        (0.3, 2, 2, False),
        (1.0, 2, 2, True),
        (5, 16, 8, False),
        (12, 16, 8, True),
        (0.2, 16, 16, False),
    ],
)
def test_a_machine_is_busy_if_it_leaves_fewer_cores_than_threads(
    load: float, cores: int, threads: int, *, busy: bool
) -> None:
    assert is_busy(load, cores, threads) == busy


def test_the_load_is_that_of_other_programs() -> None:
    """In cores, and measured while this process sleeps."""
    program = "print(flush=True)\nwhile True: pass"
    probe = "from stages.kinds import probe; print(probe._load())"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()  # it runs
        command = [sys.executable, "-c", probe]
        load = float(subprocess.run(command, capture_output=True, check=True).stdout)
        other.kill()
    assert 0.3 < load <= (os.cpu_count() or 1)


def test_a_busy_machine_counts_as_idle() -> None:
    start = Moment(10.0, 2.0)
    idle, busy = Moment(12.0, 5.6), Moment(20.0, 5.6)
    assert start.seconds_to(idle, threads=2) == pytest.approx(2.0)
    assert start.seconds_to(busy, threads=2) == pytest.approx(1.2 * 3.6 / 2)
    assert start.seconds_to(busy, threads=None) == pytest.approx(10.0)
