"""`evidence compare REV1 REV2`: real commits of the committed packs, with known changes."""

import json
import re
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.predictions import make_rows, write_table
from support.project import ROOT, commit, run

from stages.core.files import read_csv
from stages.evaluation.metric_significance import compare_predictions
from stages.tools.cli import main
from stages.tools.compare.options import DEFAULTS, make_params


def compare(capsys: pytest.CaptureFixture[str], *arguments: str, status: int) -> tuple[str, str]:
    """Run `evidence compare`, which must end with `status`; return what it prints, and its errors."""
    with pytest.raises(SystemExit) as stop:
        main(["compare", *arguments])
    printed = capsys.readouterr()
    assert stop.value.code == status, printed
    return printed.out, printed.err


def compare_json(
    capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 1
) -> dict[str, Any]:
    out, _ = compare(capsys, *arguments, "--json", "-", status=status)
    content: dict[str, Any] = json.loads(out)
    return content


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the committed packs of image and generative, tagged `before`."""
    for task in ("image", "generative"):
        shutil.copytree(ROOT / f"evidence/{task}/data", tmp_path / f"evidence/{task}/data")
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path, "before")
    run(tmp_path, "git", "tag", "before")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predictions(repository: Path, task: str = "image") -> Path:
    return repository / f"evidence/{task}/data/predictions.csv"


def break_samples(repository: Path, count: int) -> pd.DataFrame:
    """Let the primary seed's model get the first right samples wrong, and commit; return these rows."""
    path = predictions(repository)
    table = read_csv(path)
    rows = table.index[table["seed_0"] == table["label"]][:count]
    table.loc[rows, "seed_0"] = (table.loc[rows, "label"] + 1) % 10
    table.to_csv(path, index=False)
    commit(repository, f"{count} broken")
    return table.loc[rows]


def test_the_samples_broken_are_named_with_both_predictions(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = read_csv(predictions(repository))
    rows = break_samples(repository, 12)
    content = compare_json(capsys, "before", "HEAD")
    image = content["tasks"]["image"]
    assert image["fixed"] == []
    names = sorted(rows["id"])
    assert [row["id"] for row in image["broken"]] == names
    for row in image["broken"]:
        assert row["a"] == row["label"] != row["b"]
    new = read_csv(predictions(repository))
    params = json.loads((repository / "evidence/image/data/params.json").read_text())["evaluate"]
    known = {name: value for name, value in params.items() if name in DEFAULTS}
    joined = old.merge(new, on="id").sort_values("id")
    expected = compare_predictions(
        joined["label_x"].to_numpy(),
        joined["seed_0_x"].to_numpy(),
        joined["seed_0_y"].to_numpy()[None],
        10,
        make_params(Namespace(), known),
        joined["group_y"].to_numpy(),
    )
    assert image["verdict"] == expected.verdict
    for name in ("gain", "gain_low", "gain_high", "p"):
        assert image["improvement"][name] == pytest.approx(expected.figures[name], abs=1e-6)
    assert image["improvement"]["log_loss_gain"] == 0.0
    assert content["revisions"]["a"]["name"] == "before"
    head = run(repository, "git", "rev-parse", "HEAD").stdout.strip()
    assert content["revisions"]["b"] == {"name": "HEAD", "commit": head}
    out, _ = compare(capsys, "before", "HEAD", status=1)
    assert "broken, the first 10 of 12:\n" in out
    first = rows.set_index("id").loc[names[0]]
    assert re.search(
        rf"^  {names[0]} +label {first['label']} +{first['label']} -> {first['seed_0']}$",
        out,
        re.MULTILINE,
    )


def test_the_same_predictions_are_accepted(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "note.txt").write_text("nothing that predicts")
    commit(repository, "note")
    out, _ = compare(capsys, "before", "HEAD", status=0)
    assert "no prediction differs" in out
    assert "gain by seed" not in out  # image has one
    table = out[out.index("generative: its metrics") :].split("\n\n")[0].split("\n")
    assert table[1].split() == ["metric", "before", "HEAD", "change"]
    coverage = next(line for line in table if line.startswith("coverage_test"))
    assert re.search(r"0\.\d{4} \(0\.\d{4} to 0\.\d{4}\)  0\.\d{4} \(.*\)  +0$", coverage)
    assert not any("coverage_test_low" in line for line in table)


def test_flags_come_before_the_params_of_the_task(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_samples(repository, 1)
    content = compare_json(
        capsys, "before", "HEAD", "--margin", "0.2", "--confidence", "0.9", status=0
    )
    image = content["tasks"]["image"]
    assert image["verdict"] == "equivalent"
    assert image["params"]["confidence"] == 0.9
    params = json.loads((repository / "evidence/image/data/params.json").read_text())["evaluate"]
    assert image["params"]["worthwhile_gain"] == params["worthwhile_gain"]


def test_other_test_samples_are_left_out_where_the_labels_agree(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_csv(predictions(repository))
    changed = table.iloc[5:].copy()
    changed.loc[changed.index[:3], "id"] = ["new-0", "new-1", "new-2"]
    changed.to_csv(predictions(repository), index=False)
    commit(repository, "other samples")
    out, _ = compare(capsys, "before", "HEAD", status=0)
    assert re.search(
        r"^left out +8 of before and 3 of HEAD, which the other has not$", out, re.MULTILINE
    )
    assert "gain by seed" not in out
    image = compare_json(capsys, "before", "HEAD", status=0)["tasks"]["image"]
    assert (image["n"], image["only_in_a"], image["only_in_b"]) == (len(table) - 8, 8, 3)


def test_a_task_whose_labels_differ_is_refused_with_the_reason(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_csv(predictions(repository))
    table["label"] = (table["label"] + 1) % 10
    table.to_csv(predictions(repository), index=False)
    commit(repository, "other labels")
    out, _ = compare(capsys, "before", "HEAD", status=1)
    line = next(line for line in out.split("\n") if line.startswith("image: "))
    assert line.startswith(
        "image: not compared: before:evidence/image/data/predictions.csv and HEAD:"
    )
    assert f"{len(table)} with another label ('" in line
    assert "generative: its metrics" in out


def test_classes_are_compared_by_name(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A class that comes before the others changes every number and no name."""
    table = read_csv(predictions(repository))
    columns = ["label", "baseline", *table.filter(regex=r"^seed_\d+$").columns]
    table[columns] += 1
    table.to_csv(predictions(repository), index=False)
    path = repository / "evidence/image/data/dataset_note.json"
    note = json.loads(path.read_text())
    note["classes"] = ["another", *note["classes"]]
    path.write_text(json.dumps(note))
    commit(repository, "one class more")
    out, _ = compare(capsys, "before", "HEAD", status=0)
    assert "no prediction differs" in out


def test_tasks_of_one_revision_are_named(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(repository / "evidence/generative", repository / "evidence/photos")
    commit(repository, "renamed")
    out, _ = compare(capsys, "before", "HEAD", status=0)
    assert out.endswith("only in before: generative\nonly in HEAD: photos\n")
    content = compare_json(capsys, "before", "HEAD", status=0)
    assert (content["only_in_a"], content["only_in_b"]) == (["generative"], ["photos"])
    shutil.rmtree(repository / "evidence/image")
    commit(repository, "gone")
    _, line = compare(capsys, "before", "HEAD", status=2)
    assert "no task is in both revisions: before has generative, image, HEAD has photos" in line


def test_damaged_packs_are_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions(repository).write_text("id,label\n")
    commit(repository, "damaged table")
    out, _ = compare(capsys, "before", "HEAD", status=1)
    assert "image: not compared: HEAD:evidence/image/data/predictions.csv: " in out
    predictions(repository).unlink()
    commit(repository, "no table")
    out, _ = compare(capsys, "before", "HEAD", status=1)
    assert "image: not compared: only before has predictions of test samples" in out
    (repository / "evidence/image/data/metrics.json").write_text("[]")
    commit(repository, "damaged metrics")
    _, line = compare(capsys, "before", "HEAD", status=2)
    assert "HEAD:evidence/image/data/metrics.json is not a JSON object" in line


def test_the_figure_has_a_row_for_each_task(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_samples(repository, 12)
    compare(capsys, "before", "HEAD", "--figure", "out.svg", status=1)
    svg = (repository / "out.svg").read_text()
    assert "image: before" in svg
    assert "image: HEAD" in svg
    shutil.rmtree(repository / "evidence/image")
    commit(repository, "generative only")
    _, line = compare(capsys, "HEAD", "HEAD", "--figure", "none.svg", status=2)
    assert "nothing to draw" in line
    assert not (repository / "none.svg").exists()


def test_a_name_of_a_file_and_a_branch_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(repository / "a.csv", make_rows(["1", "0"], ["1", "0"]))
    write_table(repository / "b.csv", make_rows(["1", "0"], ["1", "0"]))
    run(repository, "git", "branch", "a.csv")
    _, line = compare(capsys, "a.csv", "b.csv", status=2)
    short = run(repository, "git", "rev-parse", "HEAD").stdout[:12]
    assert line == (
        "evidence compare: a.csv is a file and a git revision; write ./a.csv for the file, or its commit "
        f"{short} for the revision\n"
    )
    compare(capsys, "./a.csv", "b.csv", status=0)
    compare(capsys, short, "HEAD", status=0)


def test_the_work_tree_and_the_index_are_not_touched(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_samples(repository, 3)
    predictions(repository).write_text("changed and not committed")
    before = run(repository, "git", "status", "--porcelain=v2", "--branch").stdout
    compare(capsys, "before", "HEAD", status=1)
    assert run(repository, "git", "status", "--porcelain=v2", "--branch").stdout == before
    assert predictions(repository).read_text() == "changed and not committed"
