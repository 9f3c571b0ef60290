"""Tasks for data of one's own, through the whole pipeline and out again."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.project import commit, copy_project, evidence, run

SHORT = {
    "epochs": "epochs: 4",
    "model": "model: scratch",
    "learning_rate": "learning_rate: 0.005",
}


def draw_images(
    folder: Path, count: int = 60, noise: int = 60, width: int = 2, seed: int = 0
) -> None:
    """Write images of two classes: a bright bar on noise, upright or level."""
    random = np.random.default_rng(seed)
    for name in ("level", "upright"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, noise, (16, 16), dtype=np.uint8)
            start, place = random.integers(1, 6), random.integers(2, 13)
            pixels[place : place + width, start : start + 9] = 220
            image = Image.fromarray(pixels if name == "level" else pixels.T.copy())
            image.save(folder / name / f"{number}.png")


def write_texts(path: Path) -> None:
    """Write remarks of two classes, told apart by one word."""
    random = np.random.default_rng(0)
    words = ["door", "lamp", "chair", "table", "window", "garden", "kettle", "carpet", "shelf"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["remark", "mood"])
        for number in range(100):
            first, second, third = random.choice(words, 3, replace=False)
            mood = ["good", "poor"][number % 2]
            writer.writerow(
                [f"the {first} near the {second} was {mood} with {third} {number}", mood]
            )


def shorten(project: Path, name: str, keys: tuple[str, ...]) -> None:
    """Shorten the training of the task `name`, the last in params.yaml; the rest stays as it is."""
    path = project / "params.yaml"
    before, mark, section = path.read_text().partition(f"\n  {name}:\n")
    for key in keys:
        section = re.sub(rf"(?<=\n      ){key}: \S+", SHORT[key], section)
    section = section.replace("        - 0\n        - 1\n        - 2\n", "        - 0\n")
    path.write_text(before + mark + section)


@pytest.mark.long
def test_own_images_and_texts_run_beside_the_other_tasks_and_leave_no_trace(prepared: Path) -> None:
    draw_images(prepared.parent / "bars")
    write_texts(prepared.parent / "remarks.csv")
    evidence(prepared, "new", "bars", "../bars")
    shorten(prepared, "bars", ("epochs",))
    evidence(prepared, "new", "remarks", "../remarks.csv")
    shorten(prepared, "remarks", ("epochs", "model", "learning_rate"))
    run(prepared, "dvc", "repro", "pack@bars", "pack@remarks")
    for name in ("bars", "remarks", "image"):
        assert (prepared / "evidence" / name / "index.html").exists()
        assert evidence(prepared, "record", name).startswith(f"task: {name}\nimprovement: ")
    picture = str(prepared.parent / "bars/level/0.png")
    assert evidence(prepared, "predict", "bars", picture).split("\t")[1] in {"level", "upright"}
    label = evidence(prepared, "predict", "remarks", "the lamp was poor").split("\t")[1]
    assert label in {"good", "poor"}

    run(prepared, "dvc", "repro")
    assert "\nbars " in evidence(prepared, "compare")
    evidence(prepared, "remove", "bars")
    evidence(prepared, "remove", "remarks")
    run(prepared, "dvc", "repro")
    assert run(prepared, "git", "status", "--porcelain").stdout == ""


@pytest.mark.long
def test_own_data_inside_the_repository_serve_experiments_verify_and_other_clones(
    tmp_path: Path,
) -> None:
    """No other task has been reproduced here, and nothing is committed before the experiment."""
    project = copy_project(tmp_path / "project")
    draw_images(project / "data/raw/bars/train", 250, noise=255, width=1)
    draw_images(project / "data/raw/bars/test", 100, noise=255, width=1, seed=1)
    evidence(project, "new", "bars", "data/raw/bars", "--minutes", "3")
    shorten(project, "bars", ("epochs",))
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("epochs: 4\n", "epochs: 1\n"))
    run(project, "dvc", "repro", "pack@bars")
    assert evidence(project, "record", "bars").startswith("task: bars\nimprovement: ")
    picture = "data/raw/bars/test/level/0.png"
    assert evidence(project, "predict", "bars", picture).split("\t")[1] in {"level", "upright"}

    change = ("train.epochs=8", "--why", "one epoch is too few", "--keep")
    output = evidence(project, "experiment", "bars", *change)
    assert "verdict: better\nkept: yes" in output
    assert run(project, "dvc", "status", "pack@bars").stdout.endswith("are up to date.\n")
    commit(project, "bars")
    assert "bit for bit; 7 stages" in evidence(project, "verify", "--only", "bars")

    run(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(project, "dvc", "push", "data/raw/bars.dvc")
    commit(project, "remote")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    run(clone, "dvc", "repro", "prepare@workshop")  # needs no data of bars
    run(clone, "dvc", "pull", "data/raw/bars.dvc")
    run(clone, "dvc", "repro", "pack@bars")
    assert run(clone, "git", "status", "--porcelain", "evidence", "data").stdout == ""

    evidence(project, "remove", "bars", "--delete-notes")
    assert sorted(path.name for path in (project / "data/raw/bars").iterdir()) == ["test", "train"]
    assert not (project / "data/raw/.gitignore").exists()
