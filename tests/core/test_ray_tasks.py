"""Tasks on a Ray cluster of two nodes, which run on this machine."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gpu.chains import copy_project
from support.images import make_folder
from support.project import change_params, environment, merge

from stages.core.errors import UserError
from stages.core.ray_tasks import run_on_ray

TASKS = """
import os
import signal
import time
from pathlib import Path

import ray

from stages.core.errors import UserError


def note_node(file):
    time.sleep(1)
    file.write_text(ray.get_runtime_context().get_node_id())


def die_at_first(file):
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die(file):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(file):
    raise UserError(f"{file.name} changed")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
        node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        nodes = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
        nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        yield nodes
        nodes.shutdown()


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return functions of a project in the current folder, from which the nodes import."""
    (tmp_path / "some_tasks.py").write_text(TASKS)
    (tmp_path / "stages").symlink_to(Path(__file__).parents[2] / "stages")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("some_tasks")
    del sys.modules["some_tasks"]


def run(cluster: Any, function: Callable[[Path], None], folder: Path, count: int = 1) -> list[int]:
    files = [folder / str(number) for number in range(count)]
    return [*run_on_ray(cluster.address, function, files)]


@pytest.mark.long
def test_tasks_run_on_all_nodes(cluster: Any, tasks: ModuleType, tmp_path: Path) -> None:
    assert run(cluster, tasks.note_node, tmp_path, 5) == [0] * 5
    assert len({(tmp_path / str(number)).read_text() for number in range(5)}) == 2


@pytest.mark.long
def test_a_task_whose_worker_dies_is_started_again(
    cluster: Any, tasks: ModuleType, tmp_path: Path
) -> None:
    assert run(cluster, tasks.die_at_first, tmp_path) == [0]
    with pytest.raises(
        UserError, match=r"^a worker of the Ray cluster died \(.*\); run the same command"
    ):
        run(cluster, tasks.die, tmp_path)


@pytest.mark.long
def test_an_error_of_the_user_is_passed_on(cluster: Any, tasks: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^0 changed$"):
        run(cluster, tasks.refuse, tmp_path)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_an_address_without_a_cluster_is_told(address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    expected = rf"^RAY_ADDRESS: given '{address}', where no Ray cluster answers \(.*\); start one"
    with pytest.raises(UserError, match=expected):
        next(run_on_ray(address, print, ["x"]))


def test_without_ray_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^RAY_ADDRESS is set, but Ray is not installed; install"):
        next(run_on_ray("127.0.0.1:6379", print, ["x"]))


def prepare(project: Path, **variables: str) -> dict[str, bytes]:
    """Run the stage prepare; return what it writes."""
    command = [sys.executable, "-m", "stages.prepare", "image"]
    subprocess.run(command, cwd=project, env={**environment(), **variables}, check=True)
    folder = project / "data/prepare/image"
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.long
def test_prepare_on_a_cluster_writes_the_same_bytes(cluster: Any, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project", {})
    make_folder(project / "raw", count=25)
    changes = {"source": "folder", "path": "raw", "size": 1024, "channels": 3}  # 21 files a shard
    change_params(project, lambda params: merge(params["tasks"]["image"], {"prepare": changes}))
    here = prepare(project)
    shutil.rmtree(project / "data/prepare")
    assert prepare(project, RAY_ADDRESS=cluster.address) == here
    assert not [*project.glob("data/resume/prepare/*")]


# The last one: it takes a node away.
@pytest.mark.long
def test_the_tasks_of_a_node_that_fails_run_on_another_one(
    cluster: Any, tasks: ModuleType, tmp_path: Path
) -> None:
    files = [tmp_path / str(number) for number in range(6)]
    running = run_on_ray(cluster.address, tasks.note_node, files)
    assert next(running) == 0
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert [*running] == [0] * 5
    assert len({file.read_text() for file in files}) in {1, 2}
    assert all(file.exists() for file in files)
