"""Statements of a verification: their form, their digests, signatures, and the table of reproductions."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support.project import commit, environment, run
from support.toy import FILES, PIPELINE, make_project

from stages.core.errors import UserError
from stages.tools.verify.attestation.reproductions import FOLDER, table
from stages.tools.verify.attestation.statement import EXTENSION, read_statement
from stages.tools.verify.code import CODE

IDENTITY = "reviewer@example.org"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a toy repository with the note of a task's raw data."""
    files = {**FILES, "dvc.yaml": PIPELINE}
    return make_project(tmp_path_factory.mktemp("toy") / "toy", files)


@pytest.fixture
def toy(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "toy")


def verify(folder: Path, *options: str, status: int = 0) -> str:
    """Run the command in a folder, with the code of this project; return what it prints."""
    return evidence(folder, "verify", "--yes", *options, status=status)


def evidence(folder: Path, *words: str, status: int = 0) -> str:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "stages.tools", *words],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(CODE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id_ed25519"
    run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path))
    public = path.with_suffix(".pub").read_text().split()
    (tmp_path / "allowed").write_text(f"{IDENTITY} {public[0]} {public[1]}\n")
    return path


def test_a_statement_names_what_was_verified_by_whom_and_with_what_verdict(
    toy: Path, tmp_path: Path
) -> None:
    verify(toy, "--attest", str(tmp_path / "result.json"), status=3)
    content = json.loads((tmp_path / "result.json").read_text())
    head = run(toy, "git", "rev-parse", "HEAD").stdout.strip()
    lock = hashlib.sha256((toy / "dvc.lock").read_bytes()).hexdigest()
    assert content["_type"] == "https://in-toto.io/Statement/v1"
    assert content["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert content["subject"] == [
        {"name": "commit", "digest": {"gitCommit": head}},
        {"name": "dvc.lock", "digest": {"sha256": lock}},
    ]
    predicate = content["predicate"]
    assert predicate["result"] == "WARNED"  # the toy's code is its own
    assert predicate["failedTests"] == []
    assert "retrain: score" in predicate["passedTests"]
    verifier, options = predicate["configuration"]
    assert len(verifier["digest"]["sha256"]) == 64
    assert options["annotations"]["tier"] == "retrain"
    extension = predicate[EXTENSION]
    assert extension["stages"] == {"upper": "bit for bit", "score": "bit for bit"}
    assert extension["machine"]["python"]
    assert str(tmp_path) not in json.dumps(content)  # nothing of this machine's folders


def test_a_failed_verification_is_a_failed_statement(toy: Path, tmp_path: Path) -> None:
    (toy / "metrics.json").write_text("{}")
    commit(toy, "forged")
    verify(toy, "--tier", "hashes", "--attest", str(tmp_path / "result.json"), status=1)
    predicate = json.loads((tmp_path / "result.json").read_text())["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", ["hashes: score"])


@pytest.mark.slow
def test_a_signed_statement_can_be_checked_and_not_changed(
    toy: Path, tmp_path: Path, key: Path
) -> None:
    path, allowed = tmp_path / "result.json", tmp_path / "allowed"
    options = ("--tier", "hashes", "--attest", str(path), "--sign-key", str(key))
    verify(toy, *options, status=3)
    check = ("attestation", "check", str(path), "--repo", str(toy))
    output = evidence(tmp_path, *check, "--signers", str(allowed))
    assert f"right: signature: by {IDENTITY}" in output
    assert "right: dvc.lock: " in output
    assert "by the code of this verifier" in output
    assert "not checked: signature: there is one" in evidence(tmp_path, *check, status=2)
    text = path.read_text()
    path.write_text(text.replace('"WARNED"', '"PASSED"'))
    output = evidence(tmp_path, *check, "--signers", str(allowed), status=1)
    assert "wrong: signature: " in output
    path.write_text(text)
    allowed.write_text(allowed.read_text().replace("ed25519 AAAA", "ed25519 AAAB", 1))
    output = evidence(tmp_path, *check, "--signers", str(allowed), status=1)
    assert "wrong: signature: " in output
    # Verified again, an old signature does not stay beside a new statement.
    verify(toy, "--tier", "hashes", "--attest", str(path), status=3)
    assert not path.with_name("result.json.sig").exists()


def test_a_signature_for_another_purpose_does_not_count(
    toy: Path, tmp_path: Path, key: Path
) -> None:
    path = tmp_path / "result.json"
    verify(toy, "--tier", "hashes", "--attest", str(path), status=3)
    run(tmp_path, "ssh-keygen", "-Y", "sign", "-f", str(key), "-n", "git", str(path))
    check = ("attestation", "check", str(path), "--repo", str(toy))
    output = evidence(tmp_path, *check, "--signers", str(tmp_path / "allowed"), status=1)
    assert "no valid signature" in output


@pytest.mark.slow
def test_digests_are_held_against_the_repository(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    verify(toy, "--tier", "hashes", "--attest", str(path), status=3)
    content = json.loads(path.read_text())

    def check(subjects: list[dict[str, Any]], status: int) -> str:
        path.write_text(json.dumps({**content, "subject": subjects}))
        return evidence(toy, "attestation", "check", str(path), status=status)

    commit_, lock = content["subject"]
    wrong = {**lock, "digest": {"sha256": "0" * 64}}
    assert "wrong: dvc.lock: another digest" in check([commit_, wrong], 1)
    assert "wrong: dvc.lock: the statement does not name it" in check([commit_], 1)
    weak = {**lock, "digest": {"md5": "0" * 32}}
    assert "not checked: dvc.lock: no digest by sha256" in check([commit_, weak], 2)
    other = {"name": "commit", "digest": {"gitCommit": "1" * 40}}
    assert "not checked: commit: 1111" in check([other, lock], 2)
    outside = {"name": "../../etc/passwd", "digest": {"sha256": "0" * 64}}
    assert "not checked: ../../etc/passwd: not here" in check([commit_, lock, outside], 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no statement: not JSON"),
        ("[]", "no statement of a verification"),
        ('{"_type": "x"}', "no statement of a verification"),
        ("[" * 100_000, "no statement: not JSON"),
        ('{"_type": "https://in-toto.io/Statement/v1"}', "predicateType: Field required"),
    ],
)
def test_what_is_no_statement_is_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_statement(path)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_recorded_reproduction_is_kept_and_listed(toy: Path, tmp_path: Path, key: Path) -> None:
    head = run(toy, "git", "rev-parse", "HEAD").stdout.strip()
    options = ("--tier", "hashes", "--record", "lab-3", "--sign-key", str(key))
    verify(toy, *options, status=3)
    folder = toy / FOLDER
    name = f"{head[:12]}-lab-3.json"
    assert {path.name for path in folder.iterdir()} == {"README.md", name, f"{name}.sig"}
    page = (folder / "README.md").read_text()
    assert f"| {head[:12]} | toy | lab-3 |" in page.replace("\\", "")
    assert "| yes |" in page
    # It disturbs no later verification, of this commit or of one that holds it.
    verify(toy, "--tier", "hashes", status=3)
    commit(toy, "recorded")
    verify(toy, "--tier", "hashes", status=3)
    (folder / name).unlink()
    evidence(toy, "attestation", "table")
    assert "None is recorded yet." in (folder / "README.md").read_text()


def test_the_table_escapes_what_strangers_write(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> | [x](http://evil.example) `a` \x1b[2J\n# big"
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": hostile, "digest": {"gitCommit": "a" * 40}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "PASSED",
            "configuration": [],
            EXTENSION: {
                **dict.fromkeys(("who", "date", "repository", "verdict"), hostile),
                "tiers": {hostile: 1},
                "machine": {"processor": hostile},
            },
        },
    }
    (tmp_path / "a.json").write_text(json.dumps(statement))
    (tmp_path / "b.json").write_text("no statement")
    statement["predicate"][EXTENSION] = {"tiers": 3, "machine": [], "who": {}}  # type: ignore[index]
    (tmp_path / "c.json").write_text(json.dumps(statement))
    page = table(tmp_path)
    assert "\x1b" not in page
    assert page.count("\n| ") == 5  # header, rule and three rows
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    inline = [child for token in tokens for child in token.children or []]
    assert not [child for child in inline if child.type == "html_inline"]
    links = [child.attrs["href"] for child in inline if child.type == "link_open"]
    assert links == ["../../docs/verify.md#a-result-that-can-be-handed-on"]
    assert "no statement" in page


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--sign-key", "nowhere", "--attest", "x.json"],
            "--sign-key: given nowhere; no such file",
        ),
        (["--sign-key", "raw.txt"], "--sign-key signs a statement: give --attest or --record too"),
        (["--attest", "no/x.json"], "--attest: given no/x.json; must be in an existing folder"),
        (["--record", "a/b"], "--record: given 'a/b'; must be at most 40 letters"),
        (["--record", "../x"], "--record: given '../x'"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(
    toy: Path, options: list[str], line: str
) -> None:
    output = verify(toy, *options, status=2)
    assert line in output
    assert "hashes ..." not in output


def test_a_key_that_cannot_sign_is_one_line(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    options = ("--attest", str(path), "--sign-key", str(toy / "raw.txt"))
    output = verify(toy, "--tier", "hashes", *options, status=2)
    assert "--sign-key: " in output
    assert path.exists()  # the result is not lost
