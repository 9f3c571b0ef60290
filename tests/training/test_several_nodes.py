"""One model trained by several machines: processes of torchrun on this one, which talk over gloo."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import psutil
import pytest
from support.project import ROOT, change_params, default_runtime, environment, read_params, run

from stages.core.errors import UserError
from stages.core.machine import machine_record
from stages.kinds.params import check_params
from stages.tools.tolerance import FILE, Tolerance, flatten
from stages.training.devices import launch_fabric

TASK = "workshop"
TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": "0"}


def test_nodes_without_torchrun_are_one_line() -> None:
    runtime = default_runtime().model_copy(update={"nodes": 2})
    with pytest.raises(UserError, match=r"runtime\.nodes: given 2; .*torchrun --nnodes 2 "):
        launch_fabric(runtime)
    assert launch_fabric(runtime.alone).world_size == 1


def test_a_number_of_processes_that_is_not_the_one_of_params_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**TORCHRUN, "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    runtime = default_runtime().model_copy(update={"nodes": 2, "devices": 1})
    with pytest.raises(UserError, match=r"torchrun has started 4 processes; params\.yaml has"):
        launch_fabric(runtime)
    with pytest.raises(UserError, match="torchrun has started 4 processes"):
        launch_fabric(runtime.alone)


def test_variables_of_slurm_do_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an allocation of four tasks, in which a user runs the pipeline."""
    variables = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "2"}
    for name, value in {**variables, "SLURM_LOCALID": "2", "SLURM_NODEID": "1"}.items():
        monkeypatch.setenv(name, value)
    fabric = launch_fabric(default_runtime())
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_the_world_size_is_in_the_record() -> None:
    runtime = default_runtime()
    assert "world_size" not in machine_record(runtime)
    several = runtime.model_copy(update={"nodes": 2, "devices": 3})
    assert machine_record(several)["world_size"] == 6


def test_a_batch_divides_among_all_processes() -> None:
    params = read_params()
    params["runtime"].update(nodes=3, devices=2)
    message = (
        r"train\.batch_size \(given 64\) must be a multiple of runtime\.devices times runtime\.nodes "
        r"\(given 6\)"
    )
    with pytest.raises(UserError, match=message):
        check_params(params)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


@contextmanager
def two_nodes(project: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start the training of a task by two processes of torchrun, as on two machines."""
    port = free_port()
    with ExitStack() as nodes:
        processes = []
        for rank in range(2):
            address = ("--node-rank", str(rank), "--master-addr", "127.0.0.1")
            words = ("torchrun", "--nnodes", "2", "--nproc-per-node", "1", *address)
            process = subprocess.Popen(
                (*words, "--master-port", str(port), "-m", "stages.train", TASK),
                cwd=project,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(nodes.enter_context(process))
        yield processes


def train_on_two_nodes(project: Path) -> None:
    with two_nodes(project) as processes:
        for process in processes:
            _, errors = process.communicate()
            assert process.returncode == 0, errors


def worker(process: "subprocess.Popen[str]") -> psutil.Process:
    """Return the process that trains, which a process of torchrun has started."""
    children = psutil.Process(process.pid).children(recursive=True)
    return next(child for child in children if "stages.train" in child.cmdline())


def read_results(project: Path) -> Mapping[str, bytes]:
    folder = project / "data/train" / TASK
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.long
def test_two_nodes_give_the_result_of_one_process(small: Path, tmp_path: Path) -> None:
    project = shutil.copytree(small, tmp_path / "project", symlinks=True)
    one = pd.read_csv(project / "data/train" / TASK / "log.csv")
    evaluation = project / "data/evaluate" / TASK / "metrics.json"
    before = evaluation.read_text()
    change_params(project, lambda params: params["runtime"].update(nodes=2))
    train_on_two_nodes(project)
    two = pd.read_csv(project / "data/train" / TASK / "log.csv")
    assert list(two) == list(one)
    losses = [name for name in map(str, one) if name.endswith("loss")]
    pd.testing.assert_frame_equal(two[losses], one[losses], atol=0.005, rtol=0)
    run(project, sys.executable, "-m", "stages.evaluate", TASK)
    tolerance = Tolerance.read(ROOT / FILE)
    metrics = [flatten(json.loads(text)) for text in (before, evaluation.read_text())]
    assert list(tolerance.outside(TASK, *metrics)) == []


@pytest.mark.long
def test_a_killed_process_is_one_line_and_the_next_run_resumes(small: Path, tmp_path: Path) -> None:
    project = shutil.copytree(small, tmp_path / "project", symlinks=True)

    def change(params: dict[str, dict[str, object]]) -> None:
        params["runtime"].update(nodes=2)
        params["tasks"][TASK]["train"].update(epochs=30, seeds=[0])  # type: ignore[index]

    change_params(project, change)
    train_on_two_nodes(project)
    undisturbed = read_results(project)
    with two_nodes(project) as processes:
        end = time.monotonic() + 120
        while not list(project.glob(f"data/resume/{TASK}-*/*")) and time.monotonic() < end:
            time.sleep(0.05)
        worker(processes[1]).kill()
        errors = [process.communicate()[1] for process in processes]
        assert all(process.returncode for process in processes)
    (line,) = [text for text in errors[0].split("\n") if text.startswith(f"train@{TASK}: ")]
    assert line == (
        f"train@{TASK}: process 1 of 2 has lost another one, which was killed or could not be reached; "
        "the same command again goes on from the last epoch"
    )
    assert list(project.glob(f"data/resume/{TASK}-*/*"))
    train_on_two_nodes(project)
    assert read_results(project) == undisturbed
