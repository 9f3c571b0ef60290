"""A small repository and its archive, made once."""

import shutil
from pathlib import Path

import pytest
from support.archives import contents_of, make_project

from stages.tools.archive.members import write_archive


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository. Not to be changed."""
    return make_project(tmp_path_factory.mktemp("archive") / "toy")


@pytest.fixture(scope="session")
def archive(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of it. Not to be changed."""
    path = tmp_path_factory.mktemp("archive") / "toy.zip"
    write_archive(path, contents_of(original).members())
    return path


@pytest.fixture
def toy(original: Path, tmp_path: Path) -> Path:
    """Return a copy of the repository that a test may change."""
    return shutil.copytree(original, tmp_path / "toy", symlinks=True)
