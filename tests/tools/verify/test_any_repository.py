"""Verify on repositories without this project's packs: hashes, and everything run again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.forgery import relock
from support.project import ROOT, commit, environment, run
from support.toy import FILES, PIPELINE, SCORE, make_project, reproduce, write_project

from stages.core.errors import UserError
from stages.tools.verify.report import Report
from stages.tools.verify.verdicts import Verdict
from stages.tools.verify.verification import verify


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("toy") / "toy", {**FILES, "dvc.yaml": PIPELINE})


@pytest.fixture
def toy(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "toy")


def verdicts(report: Report) -> dict[str, tuple[str, str]]:
    """Return by stage the verdict and the reason."""
    return {finding.stage: (str(finding.verdict), finding.reason) for finding in report.stages()}


def disagreements(report: Report) -> list[str]:
    """Return what disagrees according to the tier hashes."""
    return [
        finding.reason for finding in report.tiers[0].findings if finding.verdict is Verdict.OUTSIDE
    ]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file of a repository, those of git and DVC too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_honest_repository_is_bit_for_bit_and_is_not_changed(toy: Path) -> None:
    (toy / "raw.txt").write_text("not committed")
    (toy / "new.txt").write_text("not committed")
    before = snapshot(toy)
    report = verify(str(toy), "HEAD")
    assert verdicts(report) == {"upper": ("bit for bit", ""), "score": ("bit for bit", "")}
    assert report.status() == 3  # its code is not the verifier's
    assert {(item.path, item.change) for item in report.code} == {
        (".dvc/config", "differs"),
        (".dvcignore", "differs"),
        ("dvc.yaml", "differs"),
        ("score.py", "added"),
        ("upper.py", "added"),
    }
    assert any("2 uncommitted changes are not checked" in note for note in report.notes)
    assert report.line().startswith("reproduced: bit for bit with the revision's own code: 5 files")
    assert verify(str(toy), "HEAD", base="HEAD").status() == 0
    assert snapshot(toy) == before


def test_edits_disagree_with_the_hashes(toy: Path) -> None:
    """All edits in one commit: each is reported, with what disagrees."""
    edit(toy / "metrics.json", "0.75", "0.95")
    edit(toy / "raw.txt", "abc", "abd")
    edit(toy / "params.yaml", "right: 3", "right: 4")
    edit(toy / "dvc.yaml", "python score.py", "python upper.py raw.txt metrics.json")
    edit(toy / "dvc.yaml", "deps: [upper.py, raw.txt]", "deps: [raw.txt]")
    lock = (toy / "dvc.lock").read_text()
    made = lock.split("outs:\n    - path: upper.txt\n      hash: md5\n      md5: ")[1][:32]
    first, _, rest = lock.partition(made)
    assert "score:" in rest  # the output of one stage, then the input of the next
    (toy / "dvc.lock").write_text(first + made + rest.replace(made, "a" * 32, 1))
    commit(toy, "edited")
    report = verify(str(toy), "HEAD", last="hashes")
    assert report.status() == 1
    reasons = disagreements(report)
    expected = [
        "metrics.json: dvc.lock has md5",
        "raw.txt: dvc.lock was run with md5",
        "right: dvc.lock was run with 3, params.yaml says 4",
        "command: dvc.lock has run 'python score.py', dvc.yaml says",
        "deps: upper.py is in dvc.lock and not in dvc.yaml",
        f"upper.txt: dvc.lock says that it was run with {'a' * 32}, and that upper made {made}",
    ]
    for start in expected:
        assert [reason for reason in reasons if reason.startswith(start)], (start, reasons)
    assert len(reasons) == len(expected)


@pytest.mark.slow
def test_what_dvc_reports_as_up_to_date_is_caught_by_running_it_again(toy: Path) -> None:
    (toy / "metrics.json").write_text('{"accuracy": 0.99, "kind": "toy"}')
    relock(toy)
    commit(toy, "forged")
    assert "up to date" in run(toy, "dvc", "status").stdout
    report = verify(str(toy), "HEAD")
    assert disagreements(report) == []
    verdict, reason = verdicts(report)["score"]
    assert verdict == "outside"
    assert reason.endswith("accuracy is 0.99, rerun 0.75: they differ by 0.24, the tolerance is 0")
    assert report.status() == 1
    tolerant = verify(str(toy), "HEAD", tolerance=0.25)
    assert verdicts(tolerant)["score"][0] == "within the measured tolerance"


ODD = """
stages:
  score:
    cmd:
      - python score.py
      - echo done
    deps: [score.py, data]
    params:
      - lr
      - mode
      - right
      - conf.py: [layers, size]
    metrics: [metrics.json: {cache: false}]
"""


@pytest.mark.slow
def test_what_dvc_writes_differently_is_no_disagreement(tmp_path: Path) -> None:
    """Small numbers, words that YAML 1.1 takes for others, tuples, a folder with tracked data in it."""
    folder = tmp_path / "toy"
    files = {
        "data/raw.bin": "raw",
        "data/note.txt": "in git",
        "score.py": SCORE,
        "params.yaml": 'lr: 0.00001\nmode: "on"\nright: 3\n',
        "conf.py": "layers = [(1, 2), (3, 4)]\nsize = (3, 3)\n",
        "dvc.yaml": ODD,
    }
    write_project(folder, files)
    run(folder, "dvc", "add", "--quiet", "data/raw.bin")
    reproduce(folder)
    commit(folder, "reproduced")
    report = verify(str(folder), "HEAD")
    assert disagreements(report) == []
    assert {verdict for verdict, _ in verdicts(report).values()} == {"bit for bit"}


@pytest.mark.slow
def test_entries_of_the_lock_that_dvc_ignores_are_checked(toy: Path) -> None:
    lock = (toy / "dvc.lock").read_text()
    entry = "".join(lock[lock.index("    - path: metrics.json") :].splitlines(keepends=True)[:4])

    def forged(text: str) -> list[str]:
        (toy / "dvc.lock").write_text(text)
        commit(toy, "forged")
        return disagreements(verify(str(toy), "HEAD", last="hashes"))

    assert "outs: metrics.json is in dvc.lock 2 times" in forged(lock.replace(entry, entry * 2))
    without_hash = entry.splitlines(keepends=True)[0]
    assert forged(lock.replace(entry, without_hash)) == ["metrics.json: dvc.lock has no hash of it"]
    (toy / "metrics.json").unlink()
    assert forged(lock) == [
        "metrics.json: dvc.lock has it, but it is not in git, where dvc.yaml keeps it"
    ]


PERSISTENT = """
stages:
  model:
    cmd: echo honest > model.txt
    outs: [model.txt]
  score:
    frozen: false
    cmd: python score.py
    deps: [score.py, model.txt]
    params: [right]
    metrics: [metrics.json: {cache: false}]
  kept:
    cmd: test -f kept.txt || echo honest > kept.txt
    outs: [kept.txt: {persist: true, cache: false}]
"""


def test_stages_that_were_not_run_again_confirm_nothing(tmp_path: Path) -> None:
    """A frozen stage's metrics do not excuse its input; an output that persists is made again."""
    files = {"score.py": SCORE, "params.yaml": "right: 3\n", "dvc.yaml": PERSISTENT}
    folder = make_project(tmp_path / "toy", files)
    for name in ("model.txt", "kept.txt"):
        (folder / name).unlink()
        (folder / name).write_text("forged")
    relock(folder)
    edit(folder / "dvc.yaml", "frozen: false", "frozen: true")
    commit(folder, "forged")
    results = verdicts(verify(str(folder), "HEAD"))
    assert results["model"] == (
        "outside",
        "model.txt: other bytes, and no metric in git to compare",
    )
    assert results["score"][0] == "not checked"
    assert results["kept"][0] == "outside"


def test_nothing_outside_the_clone_is_written(toy: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "config.local").write_text("precious")
    stage = f"  out:\n    cmd: 'false'\n    outs: [{victim}: {{cache: false}}]\n"
    (toy / "dvc.yaml").write_text(PIPELINE + stage)
    config = f"[cache]\n    local = far\n['remote \"far\"']\n    url = {victim}\n"
    (toy / ".dvc/config").write_text(config)
    commit(toy, "writes elsewhere")
    reasons = [reason for _, reason in verdicts(verify(str(toy), "HEAD")).values()]
    assert all("outside the repository: nothing is run" in reason for reason in reasons)
    (toy / "dvc.yaml").write_text(PIPELINE)
    commit(toy, "has its cache elsewhere")
    assert verify(str(toy), "HEAD").status() == 3
    for link in (".dvc/config.local", "é"):  # git quotes the name of the second one
        (toy / link).symlink_to(victim / "config.local")
        run(toy, "git", "add", "--force", link)
        commit(toy, "links elsewhere")
        with pytest.raises(UserError, match=f"{link} is a symbolic link to a place outside"):
            verify(str(toy), "HEAD", last="hashes")
        (toy / link).unlink()
    assert snapshot(victim) == {"config.local": b"precious"}


@pytest.mark.long
def test_a_shallow_clone_a_url_and_older_revisions_can_be_verified(
    toy: Path, tmp_path: Path
) -> None:
    first = run(toy, "git", "rev-parse", "HEAD").stdout.strip()
    (toy / "metrics.json").write_text("{}")
    commit(toy, "broken")
    url = toy.as_uri()
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", url, "shallow")

    def status(source: str, revision: str, last: str = "hashes") -> int:
        return verify(source, revision, last=last).status()

    assert status(str(tmp_path / "shallow"), "HEAD") == 1
    assert status(url, "main") == 1
    assert status(url, first) == 3
    assert status(str(toy), "HEAD~1") == 3
    assert status(str(toy), "HEAD~1", "predictions") == 2  # there is no such tier here
    run(toy, "git", "reset", "--quiet", "--hard", first)
    assert status(str(toy), "HEAD@{1}") == 1  # no branch leads there


LOOPS = """
stages:
  each:
    foreach: {a: {n: 1}, b: {n: 2}}
    do:
      cmd: echo ${item.n} > each-${key}.txt
      outs: ["each-${key}.txt"]
  grid:
    matrix: {x: [1, 2], y: [p]}
    cmd: echo ${item.x}${item.y} > grid-${item.x}-${item.y}.txt
    outs: ["grid-${item.x}-${item.y}.txt"]
  inside:
    wdir: sub
    cmd: cat ../each-a.txt > made.txt
    deps: [../each-a.txt]
    outs: [made.txt]
"""
SECOND = """
stages:
  second:
    cmd: cat made.txt > second.txt
    deps: [made.txt]
    outs: [second.txt]
"""


@pytest.mark.slow
def test_foreach_matrix_wdir_and_several_files_are_resolved(tmp_path: Path) -> None:
    files = {"dvc.yaml": LOOPS, "sub/dvc.yaml": SECOND, "sub/note.txt": "x"}
    folder = make_project(tmp_path / "toy", files)
    names = {"each@a", "each@b", "grid@1-p", "grid@2-p", "inside", "sub/dvc.yaml:second"}
    assert verdicts(verify(str(folder), "HEAD")) == dict.fromkeys(names, ("bit for bit", ""))
    assert set(verdicts(verify(str(folder), "HEAD", last="hashes", only=["a"]))) == {"each@a"}
    with pytest.raises(UserError, match="--only: given 'nothing'; must be one of"):
        verify(str(folder), "HEAD", last="hashes", only=["nothing"])


INCOMPLETE = """
stages:
  ice:
    frozen: true
    cmd: echo ice > ice.txt
    outs: [ice.txt]
  kept:
    cmd: echo kept > kept.txt
    outs: [kept.txt: {persist: true}]
  fails:
    cmd: test -f key.txt && echo ok > fails.txt || exit 3
    outs: [fails.txt]
  after:
    cmd: cat fails.txt > after.txt
    deps: [fails.txt]
    outs: [after.txt]
  lists:
    cmd: [echo 1 > lists.txt, echo 2 >> lists.txt]
    outs: [lists.txt]
"""


def test_what_cannot_be_run_again_is_not_checked_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    files = {
        "dvc.yaml": INCOMPLETE.replace("frozen: true", "frozen: false"),
        "key.txt": "a secret that is not committed",
        ".gitignore": "/key.txt\n",
    }
    write_project(folder, files)
    reproduce(folder)
    (folder / "dvc.yaml").write_text(INCOMPLETE)
    commit(folder, "reproduced")
    report = verify(str(folder), "HEAD")
    assert verdicts(report) == {
        "ice": ("not checked", "frozen: DVC does not run it again"),
        "kept": ("bit for bit", ""),
        "lists": ("bit for bit", ""),
        # Status 3 has a meaning in this project's own stages only.
        "fails": ("not checked", "it fails: no message (exit status 3)"),
        "after": ("not checked", "fails, on which it depends, was not run"),
    }
    assert report.status() == 2


@pytest.mark.long
def test_data_that_dvc_tracks_come_from_a_remote(toy: Path, tmp_path: Path) -> None:
    (toy / "big.bin").write_text("data")
    run(toy, "dvc", "add", "--quiet", "big.bin")
    edit(toy / "dvc.yaml", "raw.txt upper", "big.bin upper")
    edit(toy / "dvc.yaml", "[upper.py, raw.txt]", "[upper.py, big.bin]")
    run(toy, "dvc", "repro", "--quiet")
    commit(toy, "data in the cache")
    report = verify(toy.as_uri(), "HEAD")
    reason = "big.bin is not in git: not in any accessible cache or remote"
    assert verdicts(report)["big.bin.dvc"] == ("not checked", reason)
    assert report.status() == 2
    run(toy, "dvc", "remote", "add", "--quiet", "--default", "near", str(tmp_path / "remote"))
    run(toy, "dvc", "push", "--quiet")
    commit(toy, "a remote")
    assert verify(toy.as_uri(), "HEAD").status() == 3


@pytest.mark.long
def test_data_that_no_cache_has_keep_no_others_away(toy: Path) -> None:
    for name in ("here.bin", "gone.bin"):
        (toy / name).write_text(name)
        run(toy, "dvc", "add", "--quiet", name)
    md5 = hashlib.md5(b"gone.bin", usedforsecurity=False).hexdigest()
    (toy / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    commit(toy, "two files")
    results = verdicts(verify(str(toy), "HEAD"))
    reason = "gone.bin is not in git: not in any accessible cache or remote"
    assert results["gone.bin.dvc"] == ("not checked", reason)
    assert results["here.bin.dvc"] == ("bit for bit", "")


def start_verify(folder: Path, *options: str, **settings: str) -> subprocess.Popen[str]:
    """Start the command in a folder, with the code of this project."""
    return subprocess.Popen(
        [sys.executable, "-m", "stages.tools", "verify", *options],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background processes ignore Ctrl-C, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def test_the_report_is_written_in_each_format_and_is_escaped(toy: Path) -> None:
    command = "echo '<script>alert(1)</script>' > \"a<b>.txt\""
    odd = f"  odd:\n    cmd: {json.dumps(command)}\n    outs: ['a<b>.txt']\n"
    (toy / "dvc.yaml").write_text((toy / "dvc.yaml").read_text() + odd)
    commit(toy, "never run")
    reports = ["--json", "v.json", "--markdown", "v.md", "--page", "v.html"]
    with start_verify(toy, "--tier", "hashes", *reports) as process:
        output, errors = process.communicate()
    assert process.returncode == 2, errors
    data = json.loads((toy / "v.json").read_text())
    assert data["status"] == 2
    findings = {finding["stage"]: finding for finding in data["stages"]}
    assert findings["odd"] == {
        "stage": "odd",
        "verdict": "not checked",
        "reason": "dvc.lock has no entry of it: it has never been run",
        "tiers": {"hashes": "not checked"},
    }
    assert data["tiers"][0]["findings"][0].keys() == {"stage", "verdict", "reason"}
    assert len(data["summary"]) == 3
    assert data["host"]["dvc"]
    page = (toy / "v.html").read_text()
    for text in (output, (toy / "v.md").read_text(), page):
        assert "could not be checked" in text
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["nowhere"], "has no revision 'nowhere'; `git log --all`"),
        (["--repo", "nothing-there"], "nothing-there: no such folder, and no URL"),
        (["--repo", "."], "no DVC repository"),
        (["--tolerance", "-1"], "--tolerance: given -1; must be a number, 0 or more"),
        (["--json", "no-folder/v.json"], "must be a file in an existing folder"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], line: str
) -> None:
    from stages.tools.cli import make_parser

    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path, "nothing")
    monkeypatch.chdir(tmp_path)
    arguments = make_parser("verify").parse_args(options)
    with pytest.raises(UserError) as error:
        arguments.run(arguments)
    assert line in str(error.value)


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    slow = "stages:\n  slow:\n    cmd: sleep 60 && echo x > x.txt\n    outs: [x.txt]\n"
    folder = make_project(
        tmp_path / "toy", {"dvc.yaml": slow.replace("sleep 60", "sleep 0"), "a": ""}
    )
    (folder / "dvc.yaml").write_text(slow)
    commit(folder, "slow now")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with start_verify(folder, "--yes", TMPDIR=str(temporary)) as process:
        assert process.stderr
        for line in process.stderr:
            if "retrain" in line:
                break
        for _ in range(100):
            if any("sleep 60" in command for command in _commands()):
                break
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        process.wait(30)
    assert process.returncode == 130
    assert list(temporary.iterdir()) == []
    assert not [command for command in _commands() if f"{temporary}/evidence-" in command]


def _commands() -> list[str]:
    """Return the command line and the folder of every process."""
    commands = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            commands.append(f"{line} {(path / 'cwd').readlink()}")
        except OSError:
            continue
    return commands
