"""`evidence new` for data in groups: folds where there are few, which prepare and check accept."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.images import draw_noise
from support.project import ROOT, new_project, read_params, run

from stages.tools.cli import main

WORDS = [
    f"{first}{last}" for first in ("do", "la", "che", "wi", "ga") for last in ("r", "mp", "st")
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the project's params, as current folder, where the stages can run."""
    folder = new_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


def draw_people(folder: Path, people: int) -> None:
    """Write 80 images of two classes, named by the people that they show, who are in both classes."""
    for image in draw_noise(folder, count=40).rglob("*.png"):
        image.rename(image.with_name(f"person{int(image.stem) % people}_{image.stem}.png"))


def write_authors(path: Path, authors: int) -> None:
    """Write 240 texts of two classes by so many authors, who write of both."""
    random = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars", "author"])
        for number in range(240):
            text = " ".join(random.choice(WORDS, 10))
            writer.writerow([f"{text} {number}", number % 2, f"author {number // 2 % authors}"])


def new(*arguments: str) -> Any:
    """Run `evidence new` in this process, which must succeed; return the section of the task."""
    with pytest.raises(SystemExit) as stop:
        main(["new", *arguments, "--yes", "--no-track", "--minutes", "5"])
    assert stop.value.code == 0
    return read_params(Path.cwd())["tasks"][arguments[0]]


def require_folds(project: Path, task: str, folds: int, groups: int) -> None:
    """Prepare a task; each of its groups must be tested in one fold."""
    run(project, "python", "-m", "stages.prepare", task)
    samples = pd.read_csv(project / f"data/prepare/{task}/samples.csv")
    tested = samples.filter(regex=r"^split_\d+$") == "test"
    assert tested.shape[1] == folds
    assert tested.any().all()
    assert (tested.groupby(samples["group"]).any().sum(axis=1) == 1).all()
    assert samples["group"].nunique() == groups


@pytest.mark.slow
@pytest.mark.parametrize(
    ("people", "split", "printed"),
    [
        (4, {"folds": 4, "seed": 0}, "so the verdict will be *too few groups*"),
        (8, {"folds": 7, "seed": 0}, "8 groups: each is tested once"),
        (40, {"test": 0.25, "validation": 0.15, "seed": 0}, "80 samples: about 48 to train on"),
    ],
)
def test_images_of_few_people_get_folds(
    project: Path,
    people: int,
    split: dict[str, float],
    printed: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_people(project / "photos", people)
    section = new("photos", "photos", "--groups", r"(person\d+)_")
    assert section["prepare"]["split"] == split
    output = capsys.readouterr().out
    assert printed in output
    folds = int(split.get("folds", 1))
    assert (f"of training a seed in {folds} folds" in output) == (folds > 1)
    assert folds == 1 or section["train"]["seeds"] == [0]
    if people == 8:
        require_folds(project, "photos", folds, people)
        run(project, "python", "-m", "stages.check", "photos")


def test_groups_of_a_table_of_labels_are_known(project: Path) -> None:
    draw_people(project / "drawn", 9)
    (project / "photos").mkdir()
    rows = ["image,label,patient"]
    for file in (project / "drawn").rglob("*.png"):
        label, patient = file.parent.name, file.stem.split("_")[0]
        copy = file.rename(project / "photos" / f"{label}_{file.stem}.png")
        rows.append(f"{copy.name},{label},{patient}")
    (project / "photos/labels.csv").write_text("\n".join(rows) + "\n")
    section = new("photos", "photos")
    assert section["prepare"]["labels"]["group"] == "patient"
    assert section["prepare"]["split"] == {"folds": 7, "seed": 0}


@pytest.mark.slow
def test_groups_that_nobody_named_give_no_folds(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_people(project / "photos", 8)
    assert "folds" not in new("photos", "photos")["prepare"]["split"]
    assert "file names suggest 8 groups" in capsys.readouterr().out
    assert "folds" not in new("others", "photos", "--groups", "none")["prepare"]["split"]


def test_images_to_be_generated_keep_their_shares(project: Path) -> None:
    draw_people(project / "photos", 8)
    options = ("--kind", "image_generation", "--groups", r"(person\d+)_", "--yes", "--no-track")
    with pytest.raises(SystemExit) as stop:
        main(["new", "photos", "photos", *options])
    assert stop.value.code == 0
    split = read_params(project)["tasks"]["photos"]["prepare"]["split"]
    assert split == {"test": 0.25, "validation": 0.2, "seed": 0}


@pytest.mark.long
@pytest.mark.parametrize(("authors", "folds"), [(12, 7), (40, 1)])
def test_texts_of_few_authors_get_folds(project: Path, authors: int, folds: int) -> None:
    write_authors(project / "notes.csv", authors)
    section = new("notes", "notes.csv")
    assert section["prepare"]["columns"]["group"] == "author"
    assert section["prepare"]["split"].get("folds", 1) == folds
    if folds > 1:
        require_folds(project, "notes", folds, authors)


@pytest.mark.long
def test_texts_with_official_splits_get_no_folds(project: Path) -> None:
    (project / "notes").mkdir()
    write_authors(project / "notes/train.csv", 12)
    text = (project / "notes/train.csv").read_text().replace("author ", "other ")
    (project / "notes/test.csv").write_text(text)
    section = new("notes", "notes")
    assert section["prepare"]["columns"]["group"] == "author"
    assert section["prepare"]["split"] == {"test": 0.25, "validation": 0.15, "seed": 0}
