"""The pipeline, run once with tiny params, for all tests that read or change its results."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from support.project import change_params, commit, copy_project, run, tiny


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a copy of the project in which the pipeline has run with tiny params. Not to be changed.

    Of several test processes the first one runs it; the others wait for it.
    """
    folder = tmp_path_factory.getbasetemp()
    shared = folder if worker_id == "master" else folder.parent
    where = shared / "chain"
    with FileLock(shared / "chain.lock"):
        if not (shared / "chain.done").exists():
            where.mkdir()
            copy_project(where)
            change_params(where, tiny)
            run(where, "dvc", "repro")
            commit(where, "reproduced")
            (shared / "chain.done").touch()
    return where


@pytest.fixture
def prepared(chain: Path, tmp_path: Path) -> Path:
    """Return a copy of that project, data and models included, that a test may change."""
    shutil.copytree(chain, tmp_path / "project", symlinks=True)
    return tmp_path / "project"
