"""Many results at once: the table, kept results, the exit status, and what ends with the command."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import commit, environment, run
from support.toy import FILES, PIPELINE, make_project

from stages.core.errors import UserError
from stages.tools.cli import make_parser
from stages.tools.verify.batch.entries import read_table
from stages.tools.verify.code import CODE


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("toy") / "toy", {**FILES, "dvc.yaml": PIPELINE})


@pytest.fixture
def many(original: Path, tmp_path: Path) -> Path:
    """Return a folder with three repositories: an honest one, a forged one, one of DVC without stages."""
    for name in ("honest", "forged", "empty"):
        shutil.copytree(original, tmp_path / name)
    (tmp_path / "forged" / "metrics.json").write_text('{"accuracy": 1.0}')
    commit(tmp_path / "forged", "forged")
    run(tmp_path / "empty", "git", "rm", "--quiet", "dvc.yaml", "dvc.lock")
    commit(tmp_path / "empty", "empty")
    forged = "{repository: ./forged, revision: main, name: cheat}"
    table = f"- repository: honest\n- {forged}\n- repository: empty\n"
    (tmp_path / "many.yaml").write_text(table)
    return tmp_path


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.tools", "verify", "--batch", *options],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(CODE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def batch(folder: Path, *options: str, status: int) -> tuple[str, str]:
    """Run a batch with the tier hashes; return what it prints, and its progress."""
    with start(folder, *options, "--tier", "hashes") as process:
        output, errors = process.communicate()
    assert process.returncode == status, output + errors
    assert "Traceback" not in errors
    return output, errors


@pytest.mark.slow
def test_every_entry_gets_a_row_and_the_worst_status_is_that_of_the_batch(many: Path) -> None:
    forms = ["--json", "all.json", "--markdown", "all.md", "--csv", "all.csv", "--page", "all.html"]
    output, _ = batch(many, "many.yaml", "--jobs", "3", *forms, status=1)
    rows = {line.split()[0]: line for line in output.split("\n") if line.strip()}
    assert "honest" in rows
    assert "outside" in rows["cheat"]
    assert "no report" in rows["empty"]
    results = {result["name"]: result for result in json.loads((many / "all.json").read_text())}
    assert list(results) == ["honest", "cheat", "empty"]
    assert [results[name]["status"] for name in ("cheat", "empty")] == [1, 2]
    assert results["honest"]["status"] in {0, 3}
    assert "no stage with a command" in results["empty"]["line"]
    with (many / "all.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == ["honest", "cheat", "empty"]
    head = run(many / "honest", "git", "rev-parse", "HEAD").stdout[:12]
    assert table[0]["commit"] == head
    for text in ((many / "all.md").read_text(), (many / "all.html").read_text()):
        assert "3 results: " in text
    kept = sorted(path.name for path in (many / "many-results").iterdir())
    names = ("honest", "cheat", "empty")
    assert set(kept) >= {f"{name}.json" for name in names}
    assert {"honest.md", "cheat.md"} <= set(kept)  # the details of each
    assert not [name for name in kept if name.startswith(".")]


@pytest.mark.long
def test_what_has_not_changed_is_not_verified_again(many: Path) -> None:
    first, _ = batch(many, "many.yaml", status=1)
    again, progress = batch(many, "many.yaml", status=1)
    assert "honest: unchanged" in progress
    assert "cheat: unchanged" in progress
    assert "empty: unchanged" not in progress  # it came to no report
    assert [line.split()[:5] for line in again.split("\n") if line] == [
        line.split()[:5] for line in first.split("\n") if line
    ]
    run(many / "forged", "git", "revert", "--no-edit", "HEAD")
    shutil.rmtree(many / "empty")
    (many / "many.yaml").write_text(
        (many / "many.yaml").read_text().replace("- repository: empty\n", "")
    )
    _, progress = batch(many, "many.yaml", status=_status(many, "honest"))
    assert "honest: unchanged" in progress
    assert "2 of 2: cheat" in progress
    _, progress = batch(many, "many.yaml", "--tolerance", "0.1", status=_status(many, "honest"))
    assert "unchanged" not in progress
    (many / "many-results" / "honest.json").write_text("{")
    _, progress = batch(many, "many.yaml", "--tolerance", "0.1", status=_status(many, "cheat"))
    assert "honest: unchanged" not in progress
    assert "cheat: unchanged" in progress


def _status(folder: Path, name: str) -> int:
    status: int = json.loads((folder / "many-results" / f"{name}.json").read_text())["status"]
    return status


@pytest.mark.slow
def test_claims_of_the_table_and_the_policy_are_in_the_results(many: Path) -> None:
    (many / "some.csv").write_text(
        "repository,claims,name\nhonest,image accuracy > 0.5; image gain > 0,one\n"
    )
    (many / "policy.yaml").write_text("claims: [image f1 > 0]\ntier: hashes\nseconds: 300\n")
    output, _ = batch(many, "some.csv", "--policy", "policy.yaml", status=2)
    assert "3 not checked" in output  # the toy has no such task
    report = json.loads((many / "some-results/one.json").read_text())["report"]
    names = [condition["condition"] for condition in report["conditions"]]
    assert names == [f"claim: image {text}" for text in ("accuracy > 0.5", "gain > 0", "f1 > 0")]
    # Another policy is another question.
    (many / "policy.yaml").write_text("claims: [image f1 > 1]\ntier: hashes\nseconds: 300\n")
    _, progress = batch(many, "some.csv", "--policy", "policy.yaml", status=2)
    assert "unchanged" not in progress


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "", "must be a list of entries"),
        ("a.yaml", "[]", "must be a list of entries"),
        ("a.yaml", "- repo: x", "unknown key; the nearest known key is 'repository'"),
        ("a.yaml", "- revision: x", "entries[0]: must have either repository or pr"),
        ("a.yaml", "- {repository: x, claims: [a b]}", "claims: given 'a b'; must be TASK"),
        ("a.yaml", "- {repository: x, name: ../x}", "name: given '../x'"),
        (
            "a.yaml",
            "- {repository: x, name: a}\n- {repository: y, name: a}",
            "two entries are called 'a'",
        ),
        ("a.yaml", "- {pr: 'https://x/y'}", "entries[0].pr: given 'https://x/y'"),
        ("a.yaml", "- x", "entries[0]: the whole file: given 'x'"),
        ("a.csv", "repository,repo\nx,y\n", "unknown key"),
        ("a.csv", 'repository\n"x\n', "open quote"),
        ("a.csv", "", "the file is empty"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, name: str, text: str, line: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        read_table(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_entries_without_a_name_get_one_that_is_free(tmp_path: Path) -> None:
    urls = [
        "https://host/a/photos.git",
        "../b/photos/",
        "git@host:c/photos",
        "https://host/d/w%20x y",
        "..",
    ]
    lines = [f"- repository: '{url}'\n" for url in urls]
    lines.append("- pr: https://github.com/a/photos/pull/7\n- {repository: q, name: photos-2}\n")
    (tmp_path / "a.yaml").write_text("".join(lines))
    names = list(read_table(tmp_path / "a.yaml"))
    assert names == ["photos", "photos-3", "photos-4", "w-20x-y", "entry", "photos-7", "photos-2"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["many.yaml", "--attest", "x.json"], "--batch: given with --attest"),
        (["many.yaml", "--record", "me"], "--batch: given with --record"),
        (["many.yaml", "--pr", "https://h/a/b/pull/1"], "--batch: given with --pr"),
        (["many.yaml", "--repo", "honest"], "--batch: given with --repo or a revision"),
        (["many.yaml", "--jobs", "0"], "--jobs: given 0; must be at least 1"),
        (["many.yaml", "--csv", "no/x.csv"], "--csv: given no/x.csv; must be a file"),
        (["nothing.yaml"], "nothing.yaml: No such file"),
    ],
)
def test_wrong_options_are_refused(
    many: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], line: str
) -> None:
    monkeypatch.chdir(many)
    arguments = make_parser("verify").parse_args(["--batch", *options])
    with pytest.raises(UserError) as error:
        arguments.run(arguments)
    assert line in str(error.value)
    assert not (many / "many-results").exists()


@pytest.mark.long
def test_ctrl_c_ends_all_entries_and_keeps_what_is_done(many: Path, original: Path) -> None:
    slow = many / "slow"
    files = {"a": "", "dvc.yaml": "stages:\n  slow:\n    cmd: sleep 60\n    deps: [a]\n"}
    make_project(slow, {**files, "dvc.yaml": files["dvc.yaml"].replace("60", "0")})
    (slow / "dvc.yaml").write_text(files["dvc.yaml"])
    commit(slow, "slow now")
    (many / "two.yaml").write_text("- repository: honest\n- repository: slow\n")
    with start(many, "two.yaml", "--jobs", "2", "--yes") as process:
        assert process.stderr
        for line in process.stderr:
            if "honest" in line:
                break
        for _ in range(300):
            if _sleeping():
                break
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        process.wait(30)
    assert process.returncode == 130
    for _ in range(50):
        if not _sleeping():
            break
        time.sleep(0.1)
    assert not _sleeping()
    assert [path.stem for path in (many / "two-results").glob("*.json")] == ["honest"]


def _sleeping() -> list[str]:
    """Return the processes of the slow stage."""
    commands = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if line.startswith("sleep 60"):
            commands.append(line)
    return commands
