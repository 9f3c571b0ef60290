"""Verify on repositories that know nothing of this project: hashes, and everything run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, commit, environment, run

from stages.shared.refusal import Refusal
from stages.shared.verifying.band import Band
from stages.shared.verifying.report import Report
from stages.shared.verifying.verdicts import Finding, Verdict, summed, worst
from stages.verify import verify

COPY = "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read().upper())\n"
SCORE = (
    "import json, yaml\n"
    "given = yaml.safe_load(open('params.yaml'))\n"
    "json.dump({'accuracy': given['right'] / 4, 'kind': 'toy'}, open('metrics.json', 'w'))\n"
)
PIPELINE = """
stages:
  upper:
    cmd: python upper.py raw.txt upper.txt
    deps: [upper.py, raw.txt]
    outs: [upper.txt]
  score:
    cmd: python score.py
    deps: [score.py, upper.txt]
    params: [right]
    metrics: [metrics.json: {cache: false}]
"""


def project(where: Path, files: dict[str, str]) -> Path:
    """Make a DVC repository of these files, run it, and commit what came of it."""
    where.mkdir()
    run(where, "git", "init", "--quiet", "--initial-branch", "main")
    run(where, "dvc", "init", "--quiet")
    for name, text in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    run(where, "dvc", "repro", "--quiet", "--all-pipelines")
    commit(where, "reproduced")
    return where


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    files = {"upper.py": COPY, "score.py": SCORE, "raw.txt": "abc", "params.yaml": "right: 3\n"}
    return project(tmp_path / "toy", {**files, "dvc.yaml": PIPELINE})


def told(report: Report) -> dict[str, tuple[str, str]]:
    """Return by stage the verdict and why."""
    return {one.stage: (str(one.verdict), one.said) for one in report.stages()}


def snapshot(where: Path) -> dict[str, bytes]:
    """Return every file of a repository, git's and DVC's own ones too."""
    return {
        str(path.relative_to(where)): path.read_bytes()
        for path in sorted(where.rglob("*"))
        if path.is_file()
    }


def test_an_honest_repository_is_bit_for_bit_and_left_as_it_is(toy: Path) -> None:
    (toy / "raw.txt").write_text("not committed")
    (toy / "new.txt").write_text("not committed")
    before = snapshot(toy)
    report = verify(str(toy), "HEAD")
    assert told(report) == {"upper": ("bit for bit", ""), "score": ("bit for bit", "")}
    assert report.status() == 0
    assert "2 uncommitted changes are not looked at" in report.notes[0]
    assert snapshot(toy) == before


def test_each_edit_is_caught_by_hashes_with_what_disagrees(toy: Path) -> None:
    def edit(name: str, old: str, new: str) -> list[str]:
        text = (toy / name).read_text()
        assert old in text
        (toy / name).write_text(text.replace(old, new))
        commit(toy, "edited")
        report = verify(str(toy), "HEAD", last="hashes")
        run(toy, "git", "reset", "--quiet", "--hard", "HEAD~1")
        assert report.status() == 1
        return [one.said for one in report.tiers[0].findings if one.verdict is Verdict.OUTSIDE]

    assert "metrics.json: dvc.lock has md5" in edit("metrics.json", "0.75", "0.95")[0]
    assert "raw.txt: dvc.lock was run with md5" in edit("raw.txt", "abc", "abd")[0]
    assert edit("params.yaml", "right: 3", "right: 4") == [
        "right: dvc.lock was run with 3, params.yaml says 4"
    ]
    assert edit("dvc.lock", "right: 3", "right: 2") == [
        "right: dvc.lock was run with 2, params.yaml says 3"
    ]
    assert edit("dvc.yaml", "python score.py", "python upper.py raw.txt metrics.json")[
        0
    ].startswith("command: dvc.lock has run 'python score.py', dvc.yaml says")
    assert edit("dvc.yaml", "deps: [score.py, upper.txt]", "deps: [score.py]") == [
        "deps: upper.txt is in dvc.lock and not in dvc.yaml"
    ]


def test_a_dependency_must_be_what_the_stage_before_made(toy: Path) -> None:
    lock = (toy / "dvc.lock").read_text()
    made = lock.split("outs:\n    - path: upper.txt\n      hash: md5\n      md5: ")[1][:32]
    first, _, rest = lock.partition(made)
    assert "score:" in rest  # first what was made, then what that is said to have been
    lock = first + made + rest.replace(made, "a" * 32, 1)
    (toy / "dvc.lock").write_text(lock)
    commit(toy, "another input")
    report = verify(str(toy), "HEAD", last="hashes")
    assert report.status() == 1
    assert (
        "dvc.lock says that it was run with" in report.stages()[-1].said + report.stages()[0].said
    )


def test_what_plain_dvc_believes_is_caught_by_running_it_again(toy: Path) -> None:
    (toy / "metrics.json").write_text('{"accuracy": 0.99, "kind": "toy"}')
    run(toy, "dvc", "commit", "--force", "--quiet")
    commit(toy, "forged")
    assert "up to date" in run(toy, "dvc", "status").stdout
    assert verify(str(toy), "HEAD", last="hashes").status() == 0
    report = verify(str(toy), "HEAD")
    verdict, why = told(report)["score"]
    assert verdict == "outside"
    assert why.endswith("accuracy is 0.99, run again 0.75: 0.24 apart, the tolerance is 0")
    assert report.status() == 1
    assert told(verify(str(toy), "HEAD", tolerance=0.25))["score"][0] == "within the measured band"


# --- what honest repositories hold, and forged ones hide
ODD_PARAMS = """
lr: 0.00001
mode: "on"
"""
ODD_CODE = "layers = [(1, 2), (3, 4)]\nsize = (3, 3)\n"
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


def test_what_dvc_writes_in_its_own_way_is_no_disagreement(tmp_path: Path) -> None:
    """Small numbers, words that YAML 1.1 takes for others, tuples, a folder with tracked data in it."""
    where = tmp_path / "toy"
    where.mkdir()
    run(where, "git", "init", "--quiet", "--initial-branch", "main")
    run(where, "dvc", "init", "--quiet")
    (where / "data").mkdir()
    (where / "data/raw.bin").write_text("raw")
    (where / "data/note.txt").write_text("in git")
    run(where, "dvc", "add", "--quiet", "data/raw.bin")
    files = {"score.py": SCORE, "params.yaml": ODD_PARAMS + "right: 3\n", "conf.py": ODD_CODE}
    for name, text in {**files, "dvc.yaml": ODD}.items():
        (where / name).write_text(text)
    run(where, "dvc", "repro", "--quiet")
    commit(where, "reproduced")
    assert verify(str(where), "HEAD", last="hashes").status() == 0
    assert {verdict for verdict, _ in told(verify(str(where), "HEAD")).values()} == {"bit for bit"}


def test_what_a_lock_hides_is_seen(toy: Path) -> None:
    lock = (toy / "dvc.lock").read_text()
    kept = lock[lock.index("    - path: metrics.json") :]
    kept = "".join(line for line in kept.splitlines(keepends=True)[:4])

    def said(text: str) -> list[str]:
        (toy / "dvc.lock").write_text(text)
        commit(toy, "hidden")
        report = verify(str(toy), "HEAD", last="hashes")
        assert report.status() == 1
        return [one.said for one in report.tiers[0].findings if one.verdict is Verdict.OUTSIDE]

    assert "outs: metrics.json is in dvc.lock 2 times" in said(lock.replace(kept, kept + kept))
    bare = kept.splitlines(keepends=True)[0]
    assert said(lock.replace(kept, bare)) == ["metrics.json: dvc.lock has no hash of it"]
    (toy / "metrics.json").unlink()
    assert said(lock) == [
        "metrics.json: dvc.lock has it, and git, where dvc.yaml keeps it, has not"
    ]


def test_what_is_no_number_is_within_nothing() -> None:
    band, nan = Band({}, tolerance=0.5), float("nan")
    assert list(band.outside("", {"a": nan}, {"a": 0.75})) != []
    assert list(band.outside("", {"a": 0.75}, {"a": nan})) != []
    assert list(band.outside("", {"a": nan}, {"a": nan})) == []


def test_what_was_not_run_again_vouches_for_nothing(tmp_path: Path) -> None:
    pipeline = """
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
    files = {"score.py": SCORE, "params.yaml": "right: 3\n", "dvc.yaml": pipeline}
    where = project(tmp_path / "toy", files)
    for name in ("model.txt", "kept.txt"):
        (where / name).unlink()
        (where / name).write_text("forged")
    run(where, "dvc", "commit", "--force", "--quiet")
    (where / "dvc.yaml").write_text(pipeline.replace("frozen: false", "frozen: true"))
    commit(where, "forged")
    found = told(verify(str(where), "HEAD"))
    assert found["model"] == (
        "outside",
        "model.txt: other bytes, and no metric in git tells how far",
    )
    assert found["score"][0] == "not checked"
    assert found["kept"][0] == "outside"
    only = verify(str(where), "HEAD", only=["model"])
    assert [one.stage for one in only.stages()] == ["model"]
    assert only.status() == 1


def test_nothing_outside_the_clone_is_written(toy: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "config.local").write_text("precious")
    stage = f"  out:\n    cmd: 'false'\n    outs: [{victim}: {{cache: false}}]\n"
    (toy / "dvc.yaml").write_text(PIPELINE + stage)
    config = f"[cache]\n    local = far\n['remote \"far\"']\n    url = {victim}\n"
    (toy / ".dvc/config").write_text(config)
    commit(toy, "writes elsewhere")
    found = told(verify(str(toy), "HEAD"))
    assert all("outside the repository: nothing is run" in why for _, why in found.values())
    (toy / "dvc.yaml").write_text(PIPELINE)
    commit(toy, "has its cache elsewhere")
    assert verify(str(toy), "HEAD").status() == 0
    (toy / ".dvc/config.local").symlink_to(victim / "config.local")
    run(toy, "git", "add", "--force", ".dvc/config.local")
    commit(toy, "links elsewhere")
    with pytest.raises(Refusal, match=r"\.dvc/config\.local is a link that leads out of"):
        verify(str(toy), "HEAD", last="hashes")
    assert snapshot(victim) == {"config.local": b"precious"}


def test_a_tier_that_could_not_run_is_not_passed(toy: Path) -> None:
    assert verify(str(toy), "HEAD", last="hashes").status() == 0
    assert verify(str(toy), "HEAD", last="predictions").status() == 2


def test_it_works_from_a_shallow_clone_a_url_and_an_older_revision(
    toy: Path, tmp_path: Path
) -> None:
    first = run(toy, "git", "rev-parse", "HEAD").stdout.strip()
    (toy / "metrics.json").write_text("{}")
    commit(toy, "broken")
    url = toy.as_uri()
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", url, "shallow")
    assert verify(str(tmp_path / "shallow"), "HEAD", last="hashes").status() == 1
    assert verify(url, "main", last="hashes").status() == 1
    assert verify(url, first, last="hashes").status() == 0
    assert verify(str(toy), "HEAD~1").status() == 0
    run(toy, "git", "reset", "--quiet", "--hard", first)
    assert verify(str(toy), "HEAD@{1}", last="hashes").status() == 1  # no branch leads there


def test_foreach_matrix_wdir_and_several_files_are_resolved(tmp_path: Path) -> None:
    loops = """
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
    other = "stages:\n  own:\n    cmd: cat made.txt > own.txt\n    deps: [made.txt]\n    outs: [own.txt]\n"
    where = project(
        tmp_path / "toy", {"dvc.yaml": loops, "sub/dvc.yaml": other, "sub/note.txt": "x"}
    )
    found = told(verify(str(where), "HEAD"))
    names = {"each@a", "each@b", "grid@1-p", "grid@2-p", "inside", "sub/dvc.yaml:own"}
    assert found == dict.fromkeys(names, ("bit for bit", ""))
    only = told(verify(str(where), "HEAD", last="hashes", only=["a"]))
    assert set(only) == {"each@a"}
    with pytest.raises(Refusal, match="--only: given 'nothing'; must be one of"):
        verify(str(where), "HEAD", last="hashes", only=["nothing"])


def test_what_cannot_be_run_again_is_not_checked_and_says_why(tmp_path: Path) -> None:
    pipeline = """
stages:
  ice:
    frozen: true
    cmd: echo ice > ice.txt
    outs: [ice.txt]
  kept:
    cmd: echo kept > kept.txt
    outs: [kept.txt: {persist: true}]
  fails:
    cmd: test -f key.txt && echo ok > fails.txt
    outs: [fails.txt]
  after:
    cmd: cat fails.txt > after.txt
    deps: [fails.txt]
    outs: [after.txt]
"""
    where = tmp_path / "toy"
    where.mkdir()
    run(where, "git", "init", "--quiet", "--initial-branch", "main")
    run(where, "dvc", "init", "--quiet")
    (where / "dvc.yaml").write_text(pipeline.replace("frozen: true", "frozen: false"))
    (where / "key.txt").write_text("a secret that is not committed")
    (where / ".gitignore").write_text("/key.txt\n")
    run(where, "dvc", "repro", "--quiet")
    (where / "dvc.yaml").write_text(pipeline)
    commit(where, "reproduced")
    report = verify(str(where), "HEAD")
    found = told(report)
    assert found["kept"] == ("bit for bit", "")
    assert found["ice"][0] == "not checked"
    assert "frozen" in found["ice"][1]
    assert found["fails"][0] == "not checked"
    assert "fails" in found["fails"][1]
    assert found["after"][0] == "not checked"
    assert report.status() == 2


def test_data_that_dvc_tracks_come_from_a_remote(toy: Path, tmp_path: Path) -> None:
    (toy / "big.bin").write_text("data")
    run(toy, "dvc", "add", "--quiet", "big.bin")
    text = (
        (toy / "dvc.yaml")
        .read_text()
        .replace("raw.txt upper", "big.bin upper")
        .replace("[upper.py, raw.txt]", "[upper.py, big.bin]")
    )
    (toy / "dvc.yaml").write_text(text)
    run(toy, "dvc", "repro", "--quiet")
    commit(toy, "data in the cache")
    report = verify(toy.as_uri(), "HEAD")
    assert told(report)["big.bin.dvc"][0] == "not checked"
    assert report.status() == 2
    run(toy, "dvc", "remote", "add", "--quiet", "--default", "near", str(tmp_path / "remote"))
    run(toy, "dvc", "push", "--quiet")
    commit(toy, "a remote")
    assert verify(toy.as_uri(), "HEAD").status() == 0
    assert verify(toy.as_uri(), "HEAD", remote="near").status() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "has no revision 'nowhere'; `git log --all`"),
        (["--repo", "nothing-there"], "nothing-there: no such folder, and no URL"),
        (["--repo", "."], "no DVC repository"),
        (["--tolerance", "-1"], "--tolerance: given -1; must be a number, 0 or more"),
    ],
)
def test_what_cannot_be_verified_gets_one_line(
    tmp_path: Path, options: list[str], said: str
) -> None:
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path, "nothing")
    done = subprocess.run(
        [sys.executable, "-m", "stages.verify", *options],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr.strip().split("\n")[-1]
    assert "Traceback" not in done.stderr


def test_the_report_is_written_in_every_form_and_escapes_what_it_shows(toy: Path) -> None:
    command = "echo '<script>alert(1)</script>' > \"a<b>.txt\""
    odd = f"  odd:\n    cmd: {json.dumps(command)}\n    outs: ['a<b>.txt']\n"
    (toy / "dvc.yaml").write_text((toy / "dvc.yaml").read_text() + odd)
    commit(toy, "never run")
    out = ["--json", "v.json", "--markdown", "v.md", "--page", "v.html"]
    done = subprocess.run(
        [sys.executable, "-m", "stages.verify", "--tier", "hashes", *out],
        cwd=toy,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    data = json.loads((toy / "v.json").read_text())
    assert data["status"] == 2
    assert {one["stage"]: one["verdict"] for one in data["stages"]}["odd"] == "not checked"
    assert data["machines"]["here"]["dvc"]
    assert "could not be checked" in done.stdout
    assert "could not be checked" in (toy / "v.md").read_text()
    page = (toy / "v.html").read_text()
    assert "could not be checked" in page
    assert "<script>" not in page


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    slow = "stages:\n  slow:\n    cmd: sleep 60 && echo x > x.txt\n    outs: [x.txt]\n"
    where = project(tmp_path / "toy", {"dvc.yaml": slow.replace("sleep 60", "sleep 0"), "a": ""})
    (where / "dvc.yaml").write_text(slow)
    commit(where, "slow now")
    folder = tmp_path / "tmp"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "stages.verify"],
        cwd=where,
        env={**environment(), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What runs in a shell's background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if "retrain" in line:
                break
        mark = f"{folder}/evidence-"
        for _ in range(100):
            if any("sleep 60" in one for one in _commands()):
                break
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        process.wait(30)
    assert process.returncode == 130
    assert list(folder.iterdir()) == []
    assert not [one for one in _commands() if mark in one]


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            found.append(f"{line} {(path / 'cwd').readlink()}")
        except OSError:
            continue
    return found


# --- verdicts and the band
def test_a_disagreement_stands_whatever_comes_after_it() -> None:
    one = [
        Finding("a", Verdict.AGREES),
        Finding("a", Verdict.OUTSIDE, "says x"),
        Finding("a", Verdict.BITWISE),
    ]
    assert summed(one) == one[1]
    assert summed([one[0], one[2]]) == one[2]
    assert summed([one[0], Finding("a", Verdict.UNCHECKED, "why")]).said == "why"
    assert worst([one[2], Finding("b", Verdict.BAND)]) is Verdict.BAND
    assert worst([one[2], Finding("b", Verdict.UNCHECKED)]) is Verdict.BITWISE
    assert worst([Finding("b", Verdict.UNCHECKED)]) is Verdict.UNCHECKED


def test_the_band_is_what_was_measured_and_words_are_those_seen() -> None:
    row = {
        "current.accuracy": {"reach": 0.02, "least": 0.9, "most": 0.92, "committed": 0.91},
        "current.verdict": {"seen": ["better", "not distinguishable"]},
    }
    band = Band({"image": row}, tolerance=0.5)
    here = {"current": {"accuracy": 0.91, "verdict": "better", "n": 100}, "seeds": 1}
    assert list(band.outside("image", here, here)) == []
    inside = {"current": {"accuracy": 0.925, "verdict": "not distinguishable", "n": 100}}
    assert list(band.outside("image", here, inside)) == []
    wrong = {"current": {"accuracy": 0.94, "verdict": "worse", "n": 101}}
    assert list(band.outside("image", here, wrong)) == [
        "current.accuracy is 0.91, run again 0.94: 0.03 apart, the measured band is 0.02",
        "current.n is 100, run again 101: 1 apart, the measured band is 0",
        "current.verdict is 'better', run again 'worse'",
    ]
    assert list(band.outside("", {"a": 1.0}, {"a": 1.5})) == []
    assert list(band.outside("", {"a": 1.0}, {"b": 1.0})) == [
        "a is 1.0, run again None",
        "b is None, run again 1.0",
    ]
