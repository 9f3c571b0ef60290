"""Who holds the data of a task: git, DVC, neither; and what experiments need of them."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.images import draw_noise
from support.project import commit, new_project, read_params, run, with_frozen_features

from stages.core.errors import UserError
from stages.core.task import Task
from stages.kinds.params import check_params, load_tasks
from stages.tools.cli import main
from stages.tools.tracking import Storage, track, tracking_of, untrack, untracked_inputs

GENERATION = ("--kind", "image_generation", "--yes")  # its proposal times nothing


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the project's params and review notes, as current folder."""
    folder = new_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def evidence(*arguments: str) -> None:
    """Run the command `evidence` in this process; it must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0


def status(folder: Path) -> list[str]:
    text = run(folder, "git", "status", "--porcelain", "--untracked-files=all").stdout
    return sorted(text.splitlines())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("place", ["photos", "data/raw/photos", "own/my photos"])
def test_dvc_tracks_data_that_nothing_holds_and_remove_undoes_it(project: Path, place: str) -> None:
    photos = draw_noise(project / place)
    images = contents(photos)
    before = (project / ".gitignore").read_bytes()
    evidence("new", "photos", place, *GENERATION)
    tracking = tracking_of(place)
    assert (tracking.storage, tracking.pointer) == (Storage.DVC, Path(f"{place}.dvc"))
    assert f"/{photos.name}" in (photos.parent / ".gitignore").read_text().split("\n")
    assert not [line for line in status(project) if ".png" in line]
    assert run(project, "dvc", "status", f"{place}.dvc").stdout == (
        "Data and pipelines are up to date.\n"
    )
    shutil.rmtree(photos)
    run(project, "dvc", "checkout", f"{place}.dvc")
    assert contents(photos) == images
    evidence("remove", "photos")
    assert contents(photos) == images
    shutil.rmtree(photos)
    assert status(project) == []
    assert (project / ".gitignore").read_bytes() == before


def test_data_that_git_or_dvc_holds_are_left_as_they_are(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_noise(project / "in_git")
    draw_noise(project / "in_dvc")
    run(project, "dvc", "add", "--quiet", "in_dvc")
    commit(project, "data")
    for name, holder in (("in_git", "git holds in_git"), ("in_dvc", "DVC tracks in_dvc already")):
        evidence("new", name, name, *GENERATION)
        assert f"data: {holder}" in capsys.readouterr().out
    draw_noise(project / "in_git" / "more")
    evidence("new", "again", "in_git", *GENERATION)
    assert "git holds in_git, but not all of its files" in capsys.readouterr().out
    shutil.rmtree(project / "in_git" / "more")
    for name in ("in_git", "in_dvc", "again"):
        evidence("remove", name)
    assert status(project) == []


def test_without_tracking_the_user_is_told_what_follows(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_noise(project / "photos")
    evidence("new", "photos", "photos", *GENERATION, "--no-track")
    assert "nothing tracks photos; other clones and evidence verify lack it" in (
        capsys.readouterr().out
    )
    assert not (project / "photos.dvc").exists()
    assert untracked_inputs(load_tasks()["photos"]) == [
        "data/review/photos.md",
        "evidence/photos",
        "photos",
    ]


def test_tracking_stays_where_something_still_needs_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = draw_noise(project / "photos")
    evidence("new", "photos", "photos", *GENERATION)
    evidence("new", "again", "photos", *GENERATION)
    evidence("remove", "photos")
    assert "photos.dvc stays: another task reads photos" in capsys.readouterr().out
    assert (project / "photos.dvc").exists()
    evidence("remove", "again")  # it did not make the tracking
    assert (project / "photos.dvc").exists()
    shutil.rmtree(photos)
    pointers, problem = untrack("photos", "photos", [])
    assert (pointers, problem.startswith("photos.dvc stays: photos is not here")) == ([], True)


def test_what_dvc_cannot_track_is_an_error_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / ".gitignore").open("a") as file:
        file.write("*.dvc\n")
    commit(project, "ignored")
    draw_noise(project / "photos")
    before = status(project)
    with pytest.raises(SystemExit) as stop:
        main(["new", "photos", "photos", *GENERATION])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("evidence new: dvc add photos: ")
    assert "--no-track" in line
    assert line.count("\n") == 1
    assert status(project) == before


def test_an_error_after_dvc_add_undoes_it(project: Path) -> None:
    images = contents(draw_noise(project / "photos"))
    ignored = (project / ".gitignore").read_bytes()
    shutil.rmtree(project / "data/review")
    (project / "data/review").write_text("a file where a folder must be")
    with pytest.raises(FileExistsError):
        main(["new", "photos", "photos", *GENERATION])
    assert not (project / "photos.dvc").exists()
    assert (project / ".gitignore").read_bytes() == ignored
    assert contents(project / "photos") == images
    assert "photos" not in load_tasks()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let this process write no file beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("tracked", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(
    project: Path, capsys: pytest.CaptureFixture[str], *, tracked: bool
) -> None:
    draw_noise(project / "photos")
    if tracked:
        track("photos", "photos")  # a .dvc file that is not this command's to delete
    else:
        commit(project, "photos")
    before = status(project)
    with files_of_at_most(8_000), pytest.raises(SystemExit) as stop:  # params.yaml has more
        main(["new", "photos", "photos", *GENERATION])
    assert stop.value.code == 2
    assert "no space to write" in capsys.readouterr().err
    assert status(project) == before
    assert (project / "photos.dvc").exists() is tracked


def with_path(task: Task, path: str) -> Task:
    """Return the task with other data."""
    prepare = task.params.prepare.model_copy(update={"path": path})
    return replace(task, params=task.params.model_copy(update={"prepare": prepare}))


def test_an_experiment_gets_what_git_does_not_hold(project: Path) -> None:
    draw_noise(project / "photos")
    evidence("new", "photos", "photos", *GENERATION)
    task = load_tasks()["photos"]
    assert untracked_inputs(task) == ["data/review/photos.md", "evidence/photos", "photos.dvc"]
    commit(project, "all of it")
    assert untracked_inputs(task) == []
    draw_noise(project / "own/photos")
    track("own/photos", "other")
    other = with_path(task, "own/photos")
    assert untracked_inputs(other) == ["own/photos.dvc"]
    run(project, "git", "add", "own")
    assert untracked_inputs(other) == []
    draw_noise(project / "in_git")
    run(project, "git", "add", "in_git")
    draw_noise(project / "in_git" / "more")
    with pytest.raises(UserError, match=r"git does not hold all of in_git,.* run git add in_git$"):
        untracked_inputs(with_path(task, "in_git"))


def test_an_experiment_gets_the_weights_of_a_frozen_baseline(project: Path) -> None:
    params = read_params(project)
    with_frozen_features(params["tasks"]["image"], "start.safetensors")
    (project / "start.safetensors").touch()
    before = untracked_inputs(load_tasks()["image"])
    task = load_tasks(check_params(params))["image"]
    assert untracked_inputs(task) == [*before, "start.safetensors"]


def test_a_relative_path_to_a_place_outside_cannot_be_tried(project: Path) -> None:
    draw_noise(project.parent / "photos")
    evidence("new", "photos", "../photos", *GENERATION)
    path = project / "params.yaml"
    absolute = str(project.parent / "photos")
    assert untracked_inputs(load_tasks()["photos"]) == ["data/review/photos.md", "evidence/photos"]
    path.write_text(path.read_text().replace(absolute, "../photos"))
    with pytest.raises(UserError, match=f"give the absolute path '{absolute}'"):
        untracked_inputs(load_tasks()["photos"])
