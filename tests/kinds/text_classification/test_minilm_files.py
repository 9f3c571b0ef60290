"""MiniLM's files are used only if their SHA-256 is the expected one, wherever they are installed."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.texts import default_text_task

from stages.core.errors import UserError
from stages.core.files import sha256
from stages.kinds.text_classification import tokens
from stages.kinds.text_classification.model import build
from stages.kinds.text_classification.tokens import minilm_file

PACKAGE = "a_package_with_files"


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Hide the installed files; only those in site/ and hub/ of the returned folder are there."""
    monkeypatch.setattr(tokens, "PACKAGE", PACKAGE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    minilm_file.cache_clear()
    yield tmp_path
    minilm_file.cache_clear()
    assert PACKAGE not in sys.modules


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    return {name: minilm_file(name) for name in tokens.SHA256}


def install_package(folder: Path, name: str, source: Path) -> Path:
    """Install a package that contains a file and whose code must not run; return the file."""
    package = folder / "site" / PACKAGE
    (package / "model").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("raise AssertionError('the package was imported')\n")
    return Path(shutil.copyfile(source, package / "model" / name))


def fill_cache(folder: Path, name: str, source: Path, revision: str = tokens.REVISION) -> Path:
    """Put a file into the cache as the hub's client does: a blob, and a link to it by revision."""
    repository = folder / "hub" / f"models--{tokens.REPOSITORY.replace('/', '--')}"
    blob, snapshot = repository / "blobs" / sha256(source), repository / "snapshots" / revision
    for parent in (blob.parent, snapshot, repository / "refs"):
        parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, blob)
    (repository / "refs/main").write_text(revision)
    (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot / name


def flip_a_bit(path: Path) -> Path:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return path


@pytest.mark.parametrize("name", tokens.SHA256)
def test_the_package_is_used_before_the_cache(
    empty_machine: Path, files: dict[str, Path], name: str
) -> None:
    assert sha256(files[name]) == tokens.SHA256[name]
    path = install_package(empty_machine, name, files[name])
    fill_cache(empty_machine, name, files[name])
    assert minilm_file(name) == path


@pytest.mark.parametrize("name", tokens.SHA256)
def test_a_changed_copy_is_refused_with_both_digests(
    empty_machine: Path, files: dict[str, Path], name: str
) -> None:
    path = flip_a_bit(install_package(empty_machine, name, files[name]))
    with pytest.raises(UserError) as error:
        minilm_file(name)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"MiniLM's {name}: {path} has SHA-256 {sha256(path)}; must be ")
    assert f"must be {tokens.SHA256[name]}: install it again" in line
    if name == "model.safetensors":
        with pytest.raises(UserError, match="has SHA-256"):
            build(default_text_task().params.train, 2)


@pytest.mark.parametrize("package", ["missing", "without the file", "damaged"])
def test_the_cache_is_used_where_the_package_has_no_sound_file(
    empty_machine: Path, files: dict[str, Path], package: str
) -> None:
    name = "tokenizer.json"
    if package == "without the file":
        install_package(empty_machine, "other", files[name])
    if package == "damaged":
        flip_a_bit(install_package(empty_machine, name, files[name]))
    path = fill_cache(empty_machine, name, files[name])
    assert minilm_file(name) == path


def test_another_revision_in_the_cache_is_not_used(
    empty_machine: Path, files: dict[str, Path]
) -> None:
    fill_cache(empty_machine, "tokenizer.json", files["tokenizer.json"], revision="0" * 40)
    with pytest.raises(UserError, match=r"MiniLM's tokenizer\.json is missing"):
        minilm_file("tokenizer.json")


def test_two_changed_copies_are_both_named(empty_machine: Path, files: dict[str, Path]) -> None:
    name = "tokenizer.json"
    paths = [
        flip_a_bit(install_package(empty_machine, name, files[name])),
        flip_a_bit(fill_cache(empty_machine, name, files[name])),
    ]
    with pytest.raises(UserError) as error:
        minilm_file(name)
    assert all(f"{path} has SHA-256 {sha256(path)}" in str(error.value) for path in paths)


@pytest.mark.parametrize("name", tokens.SHA256)
def test_a_missing_file_is_refused_with_the_way_to_install_it(
    empty_machine: Path, name: str
) -> None:
    with pytest.raises(UserError) as error:
        minilm_file(name)
    line = str(error.value)
    assert line.startswith(f"MiniLM's {name} is missing; install it with `make venv`, or download ")
    assert f"revision {tokens.REVISION} of {tokens.REPOSITORY}" in line
