"""Raw data that do not exist stop the first stage, with the key of the path."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.project import read_params

from stages.core.errors import UserError
from stages.core.task import Task
from stages.kinds.params import check_params, load_tasks
from stages.kinds.sources import check_sources


def make_tasks(changes: Mapping[str, object], task: str = "image") -> dict[str, Task]:
    params = read_params()
    params["tasks"] = {task: params["tasks"][task]}
    params["tasks"][task]["prepare"].update(changes)
    return load_tasks(check_params(params))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a folder with an empty folder, a file and a broken link."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").write_text("text")
    Path("empty file").touch()
    Path("link").symlink_to("away")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "must be an existing folder"),
        ("file", "must be an existing folder"),
        ("empty", "the folder is empty"),
        ("link", "must be an existing folder"),
        ("two\nlines", "must be an existing folder"),
        ("x" * 300, "cannot be used ("),
        ("a\0b", ""),
    ],
)
@pytest.mark.parametrize("source", ["digits", "folder"])
def test_a_path_without_images_is_rejected(source: str, path: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        check_sources(make_tasks({"path": path, "source": source}))
    key = "params.yaml: tasks.image.prepare.path"
    assert str(error.value).startswith(f"{key}: given {path!r}; {message}")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "must be an existing file or folder"),
        ("empty", "the folder is empty"),
        ("empty file", "the file is empty"),
    ],
)
def test_a_path_without_texts_is_rejected(path: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"tasks\.sentiment\.prepare\.path: .*; {message}"):
        check_sources(make_tasks({"path": path}, "sentiment"))


def test_absent_data_that_dvc_tracks_are_for_dvc_to_report() -> None:
    Path("photos.dvc").touch()
    check_sources(make_tasks({"path": "photos"}))
    check_sources(make_tasks({"path": "photos/small"}))
    Path("photos").mkdir()
    with pytest.raises(UserError, match="the folder is empty"):
        check_sources(make_tasks({"path": "photos"}))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "labels.path: given 'labels.csv'; no such file in images"),
        ("", "images/labels.csv: the file is empty; it must have a header and rows"),
        ("file\n1.png\n", "images/labels.csv: tasks.image.prepare.labels.label: column 'kind' is"),
        (
            "file,kind,file\n",
            "tasks.image.prepare.labels.file: column 'file' occurs twice; the header",
        ),
    ],
)
def test_a_table_of_labels_without_its_columns_is_rejected(table: str | None, message: str) -> None:
    Path("images").mkdir()
    Path("images/1.png").touch()
    if table is not None:
        Path("images/labels.csv").write_text(table)
    labels = {"path": "labels.csv", "file": "file", "label": "kind"}
    with pytest.raises(UserError, match=r"^params\.yaml: ") as error:
        check_sources(make_tasks({"path": "images", "source": "folder", "labels": labels}))
    assert message in str(error.value)


def test_a_table_of_labels_with_its_columns_is_accepted() -> None:
    Path("images").mkdir()
    Path("images/labels.csv").write_text("file;kind\n1.png;a\n")
    labels = {"path": "labels.csv", "file": "file", "label": "kind"}
    check_sources(make_tasks({"path": "images", "source": "folder", "labels": labels}))


@pytest.mark.parametrize("path", ["file", "file/x", "a\0b", "/proc/x", "x" * 300])
def test_a_path_to_which_nothing_can_be_downloaded_is_rejected(path: str) -> None:
    changes = {"path": path, "source": "torchvision", "dataset": "MNIST"}
    with pytest.raises(UserError, match="cannot be used"):
        check_sources(make_tasks(changes))


def test_the_folder_to_download_to_is_made() -> None:
    check_sources(make_tasks({"path": "new/folder", "source": "torchvision", "dataset": "MNIST"}))
    assert Path("new/folder").is_dir()


def tasks_with_weights(path: str) -> dict[str, Task]:
    params = read_params()
    params["tasks"] = {"workshop": params["tasks"]["workshop"]}
    params["tasks"]["workshop"]["train"]["initial_weights"] = path
    return load_tasks(check_params(params))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("empty", "must be a .safetensors file"),
        ("pipe", "must be a .safetensors file"),
        ("/dev/zero", "must be a .safetensors file"),
        ("data/../data/train/workshop/weights-0.safetensors", "must be outside data/train"),
        ("./data/raw/../evaluate/x.safetensors", "must be outside data/evaluate"),
        ("data/raw/linked.safetensors", "must be outside data/train"),
        ("data/../data/train/missing", "must be outside data/train"),
        ("x" * 300, "cannot be used ("),
        ("a\0b", "cannot be used ("),
    ],
)
def test_initial_weights_that_are_no_file_or_that_a_stage_writes_are_rejected(
    path: str, message: str
) -> None:
    os.mkfifo("pipe")
    weights = Path("data/train/workshop/weights-0.safetensors")
    for folder in (weights.parent, Path("data/raw"), Path("data/evaluate")):
        folder.mkdir(parents=True)
    weights.write_bytes(b"weights")
    Path("data/raw/linked.safetensors").symlink_to(weights.absolute())
    with pytest.raises(UserError) as error:
        check_sources(tasks_with_weights(path))
    key = "params.yaml: tasks.workshop.train.initial_weights"
    assert str(error.value).startswith(f"{key}: given {path!r}; {message}")


def test_initial_weights_elsewhere_are_accepted() -> None:
    Path("data/raw/stripes").mkdir(parents=True)
    for path in ("data/raw/stripes/start.safetensors", "data/prepare/../raw/stripes/missing"):
        Path("data/raw/stripes/start.safetensors").write_bytes(b"weights")
        check_sources(tasks_with_weights(path))
