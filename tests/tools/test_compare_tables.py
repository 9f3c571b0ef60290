"""`evidence compare A B` of two tables: what it prints and writes, its exit status, and what it imports."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.predictions import Rows, make_rows, write_table
from support.project import ROOT, run

from stages.core.schema import EvaluateClassifier
from stages.evaluation.metric_significance import compare_predictions
from stages.evaluation.prediction_columns import HEADINGS, ColumnNames
from stages.tools.cli import main

IMAGE = ROOT / "evidence/image/data/predictions.csv"


def compare(*arguments: object) -> int:
    """Run `evidence compare`; return the exit status."""
    with pytest.raises(SystemExit) as stop:
        main(["compare", *map(str, arguments)])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run `evidence compare`, which must refuse its input; return its one line."""
    assert compare(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("evidence compare: ").rstrip("\n")


def right(count: int, total: int, **columns: Any) -> Rows:
    """Return rows of which the first `count` are predicted correctly."""
    return make_rows(["1"] * total, ["1"] * count + ["0"] * (total - count), **columns)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder outside any project and repository, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_tables_give_the_verdict_the_figures_and_the_samples(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(folder / "a.csv", right(150, 200))
    write_table(folder / "b.tsv", right(180, 200)[::-1])
    assert compare("a.csv", "b.tsv", "--json", "out.json") == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].startswith(
        "Better: the accuracy of B is 15.0 points above that of A (95% interval +"
    )
    assert re.search(r"; exact McNemar test: p at most 0\.000001\)$", lines[0])
    rows = dict(re.split(r" {2,}", line, maxsplit=1) for line in lines[2:14])
    assert rows["A"] == "a.csv (id 'id', label 'label', prediction 'prediction')"
    assert rows["samples"] == "200"
    assert rows["groups"] == "none: samples are independent"
    assert rows["accuracy of A"].startswith("75.0% (")
    assert rows["accuracy of B"].startswith("90.0% (")
    assert rows["gain"].startswith("+15.0 points (+")
    assert rows["fixed"] == "30, which only B gets right"
    assert rows["broken"] == "0, which only A gets right"
    samples = lines.index("fixed, the first 10 of 30:")
    assert lines[samples + 1] == "  s150  label 1  0 -> 1"
    assert len(lines) == samples + 12
    content = json.loads((folder / "out.json").read_text())
    assert content["verdict"] == "better"
    assert content["accepted"] is True
    assert content["n"] == 200
    assert content["a"]["accuracy"] == 0.75
    assert content["tables"]["b"]["path"] == "b.tsv"
    assert content["params"]["confidence"] == 0.95
    assert [row["id"] for row in content["fixed"]] == [f"s{n}" for n in range(150, 180)]
    assert content["broken"] == []


@pytest.mark.parametrize(
    ("before", "after", "flags", "status", "word"),
    [
        (150, 180, [], 0, "Better"),
        (180, 150, [], 1, "Worse"),
        (150, 150, [], 0, "no prediction differs"),
        (150, 151, [], 1, "Underpowered"),
        (150, 151, ["--worthwhile-gain", "0.2"], 1, "Not distinguishable"),
        (150, 151, ["--margin", "0.05"], 0, "Equivalent"),
    ],
)
def test_the_exit_status_says_whether_b_may_replace_a(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    before: int,
    after: int,
    flags: list[str],
    status: int,
    word: str,
) -> None:
    write_table(folder / "a.csv", right(before, 200))
    write_table(folder / "b.csv", right(after, 200))
    assert compare("a.csv", "b.csv", *flags) == status
    assert word in capsys.readouterr().out.split("\n")[0]


def test_few_groups_show_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writers = [f"writer {n % 4}" for n in range(200)]
    write_table(folder / "a.csv", right(150, 200, writer=writers))
    write_table(folder / "b.csv", right(180, 200, writer=writers))
    assert compare("a.csv", "b.csv", "--group", "writer") == 1
    printed = capsys.readouterr().out
    assert printed.startswith("Too few groups: ")
    assert "4 groups: no test over groups can reach p below 0.05; at least 6 are needed" in printed
    assert re.search(r"^groups +4$", printed, re.MULTILINE)
    assert compare("a.csv", "b.csv", "--group", "writer", "--group", "none") == 1
    assert compare("a.csv", "b.csv") == 0


def test_the_predictions_of_a_pack_are_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    table = pd.read_csv(IMAGE)
    params = EvaluateClassifier(
        metric="macro_f1",
        confidence=0.9,
        resamples=2000,
        seed=3,
        bins=10,
        worthwhile_gain=0.02,
        assumed_regressions=0.02,
    )
    label, baseline, model = (table[name].to_numpy() for name in ("label", "baseline", "seed_0"))
    expected = compare_predictions(
        label, baseline, model[None], 10, params, table["group"].to_numpy()
    )
    flags = "--prediction baseline --prediction seed_0 --metric macro_f1 --confidence 0.9"
    path = IMAGE.relative_to(ROOT)
    compare(path, *flags.split(), "--resamples", "2000", "--seed", "3", "--json", "-")
    content = json.loads(capsys.readouterr().out)
    assert content["verdict"] == expected.verdict
    assert content["improvement"].keys() == expected.figures.keys()
    for name, value in expected.figures.items():
        assert content["improvement"][name] == (
            pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
        )


def test_probabilities_give_the_difference_in_log_loss(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, chance in (("a", 0.6), ("b", 0.8)):
        rows = right(100, 100, proba_0=[1 - chance] * 100, proba_1=[chance] * 100)
        write_table(folder / f"{name}.jsonl", rows)
    compare("a.jsonl", "b.jsonl", "--json", "out.json")
    difference = np.log(0.6) - np.log(0.8)
    printed = capsys.readouterr().out
    assert f"difference in log loss    {difference:+.4f} (" in printed
    content = json.loads((folder / "out.json").read_text())
    assert content["a"]["log_loss"] == pytest.approx(-np.log(0.6), abs=1e-6)
    assert content["improvement"]["log_loss_gain"] == pytest.approx(-difference, abs=1e-6)


def test_the_figure_shows_both_scores_and_the_gain(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(folder / "a.csv", right(150, 200))
    write_table(folder / "b.csv", right(180, 200))
    assert compare("a.csv", "b.csv", "--figure", "out.svg", "--margin", "0.01") == 0
    svg = (folder / "out.svg").read_text()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"A", "B", "accuracy", "better", "gain in points"} <= set(texts)
    for score in ("0.75", "0.9"):
        assert f"score: {score}" in svg
    assert "gain: 15" in svg


def test_samples_of_one_table_only_are_left_out_when_wanted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(folder / "a.csv", right(150, 200))
    write_table(folder / "b.csv", right(150, 190))
    line = refusal(capsys, "a.csv", "b.csv")
    assert "10 only in a.csv ('s190'; 's191'; 's192'; ...)" in line
    assert compare("a.csv", "b.csv", "--common", "--json", "-") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["n"], content["only_in_a"], content["only_in_b"]) == (190, 10, 0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("a.csv", "one table needs two columns to compare"),
        ("a.csv a.csv", "one table needs two columns to compare"),
        ("a.csv b.csv c.csv", "given 3 inputs; compare takes two tables or two revisions"),
        ("a.csv no.csv", "no.csv: no such file, and no git revision of that name"),
        ("a.csv HEAD", "given a table and a revision, a.csv and HEAD"),
        ("a.csv text.txt", "text.txt: a table must end in .csv, .tsv, .csv.gz"),
        ("HEAD HEAD", "given revision 'HEAD'; git knows none by that name"),
        (
            "a.csv b.csv --metric f1",
            "--metric: given 'f1'; must be 'accuracy', 'balanced_accuracy' or",
        ),
        ("a.csv b.csv --confidence 1", "--confidence: given 1.0; must be less than 1"),
        ("a.csv b.csv --margin 0", "--margin: given 0.0; must be greater than 0"),
        (
            "a.csv b.csv --resamples 10",
            "--resamples: given 10; must be greater than or equal to 1000",
        ),
        ("a.csv b.csv --worthwhile-gain nan", "--worthwhile-gain: given nan"),
        ("a.csv b.csv --label x --label x --label x", "--label: given 3 times"),
        ("a.csv b.csv --correct x --label x", "--correct takes the place of --label"),
        (
            "a.csv b.csv --correct x --metric macro_f1",
            "--metric macro_f1 needs labels and predictions",
        ),
        ("a.csv b.csv --loss x --probability x", "--loss takes the place of --probability"),
        ("a.csv b.csv --figure x.png", "--figure: given x.png; must end in .svg"),
        ("a.csv b.csv --figure no/x.svg", "--figure: no is not a folder"),
        ("a.csv b.csv --json a.csv", "--json: given a.csv; must end in .json"),
        ("a.csv d.json --json ./d.json", "--json: d.json is an input, and would be lost"),
        ("a.csv b.csv --json no/x.json", "--json: no is not a folder"),
        ("--id x", "--id is for two tables"),
        ("HEAD --margin 0.1", "--margin is for two tables or two revisions"),
        ("HEAD --json x.json", "--json is for two tables or two revisions"),
        ("HEAD HEAD --common", "--common is for two tables"),
    ],
)
def test_wrong_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, line: str
) -> None:
    for name in ("a", "b", "c"):
        write_table(folder / f"{name}.csv", right(1, 2))
    write_table(folder / "d.json", right(1, 2))
    (folder / "text.txt").write_text("index\tprediction\n0\t1\n")
    before = sorted(folder.iterdir())
    assert line in refusal(capsys, *arguments.split())
    assert sorted(folder.iterdir()) == before


def test_control_characters_of_the_data_are_not_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, predictions in (("a", ["0", "1\x1b[31m"]), ("b", ["0", "0"])):
        rows = [
            {"id": f"s\x1b]0;{n}\ud800", "label": label, "prediction": prediction}
            for n, (label, prediction) in enumerate(
                zip(["0", "1\x1b[31m"], predictions, strict=True)
            )
        ]
        write_table(folder / f"{name}.jsonl", rows)
    compare("a.jsonl", "b.jsonl", "--json", "out.json")
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "broken:" in printed
    assert json.loads((folder / "out.json").read_text())["broken"][0]["label"] == r"1\x1b[31m"


def test_the_documentation_lists_the_headings() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs/compare.md").read_text().split("\n")
        if re.match(r"\|.*\| `--\w+` \|", line)
    ]
    by_role = {flag.strip("`-"): text for _, flag, text in rows}
    assert {*vars(ColumnNames())} == {*by_role}
    for role, headings in HEADINGS.items():
        assert by_role[role].removesuffix(", the nameless index of pandas") == ", ".join(headings)


# In a process of its own


def subprocess_modules(folder: Path, *arguments: str) -> set[str]:
    """Return the modules that the command imports."""
    code = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom stages.tools.cli import main\n"
        f"try:\n    main(['compare', *{list(arguments)!r}])\nexcept SystemExit:\n"
        "    print('modules:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return {*done.stdout.rpartition("modules:")[2].split()}


def test_no_heavy_library_is_imported(folder: Path) -> None:
    write_table(folder / "a.csv", right(150, 200, group=[f"g{n % 9}" for n in range(200)]))
    write_table(folder / "b.csv", right(160, 200))
    modules = subprocess_modules(folder, "a.csv", "b.csv")
    assert "scipy.special" in modules
    assert not modules & {
        "torch",
        "scipy.stats",
        "sklearn",
        "pandas",
        "dvc",
        "ruamel.yaml",
        "vl_convert",
        "pyarrow",
    }


def test_the_installed_script_compares_tables_in_any_folder(tmp_path: Path) -> None:
    script = tmp_path / "project/.venv/bin/evidence"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "requirements/evidence.sh", script)
    script.chmod(0o755)
    python = script.with_name("python")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "project/stages").symlink_to(ROOT / "stages")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "stages").mkdir(parents=True)
    (elsewhere / "stages/__init__.py").write_text("raise SystemExit('not this one')")
    write_table(elsewhere / "a.csv", right(150, 200))
    write_table(elsewhere / "b.csv", right(180, 200))
    assert run(elsewhere, str(script), "compare", "a.csv", "b.csv").stdout.startswith("Better")
    run(elsewhere, str(script), "compare", "b.csv", "a.csv", status=1)
    line = run(elsewhere, str(script), "record", status=2).stderr
    assert line.startswith("evidence: run it in the project's folder")
