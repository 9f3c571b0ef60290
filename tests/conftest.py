"""The pipeline, run once with tiny params, for all tests that read or change its results."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image
from support.project import change_params, commit, copy_project, keep_task, run, tiny

# On its import submitit would close all handlers of logging, and absl's (mlcroissant imports it) its
# stream with it: the file in which pytest captures what a test prints.
os.environ["SUBMITIT_LOG_LEVEL"] = "NOCONFIG"


def make_once(
    factory: pytest.TempPathFactory, worker: str, name: str, make: Callable[[Path], None]
) -> Path:
    """Return a folder that the first of several test processes makes; the others wait for it."""
    folder = factory.getbasetemp()
    shared = folder if worker == "master" else folder.parent
    with FileLock(shared / f"{name}.lock"):
        if not (shared / f"{name}.done").exists():
            make(shared / name)
            (shared / f"{name}.done").touch()
    return shared / name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs the results of all tasks, which take minutes."""
    for item in items:
        if "chain" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore Pillow's limit of pixels: decoding sets it for the whole process, to the one of a task."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a copy of the project in which the pipeline has run with tiny params. Not to be changed."""

    def make(where: Path) -> None:
        where.mkdir()
        copy_project(where)
        change_params(where, tiny)
        run(where, "python", "-m", "stages.tools", "repro")
        commit(where, "reproduced")

    return make_once(tmp_path_factory, worker_id, "chain", make)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the same of the quickest task alone, `workshop`. Not to be changed."""

    def make(where: Path) -> None:
        where.mkdir()
        copy_project(where)
        change_params(where, tiny)
        keep_task(where, "workshop")
        commit(where, "one task")

    return make_once(tmp_path_factory, worker_id, "small", make)


@pytest.fixture
def prepared(chain: Path, tmp_path: Path) -> Path:
    """Return a copy of that project, data and models included, that a test may change."""
    shutil.copytree(chain, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


@pytest.fixture(scope="session")
def archived(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder with a small DVC repository, `toy`, and its archive. Not to be changed."""
    from support.archives import make_archived

    return make_once(tmp_path_factory, worker_id, "archived", make_archived)


@pytest.fixture(scope="session")
def archive(archived: Path) -> Path:
    """Return the archive of that repository. Not to be changed."""
    return archived / "toy.zip"


@pytest.fixture
def archived_toy(archived: Path, tmp_path: Path) -> Path:
    """Return a copy of that repository that a test may change."""
    return shutil.copytree(archived / "toy", tmp_path / "toy", symlinks=True)
