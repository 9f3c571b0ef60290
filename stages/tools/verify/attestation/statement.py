"""A verification as a statement that can be handed on: in-toto Statement v1, predicate test-result v0.1.

The statement binds verdicts to digests of what was verified (commit, dvc.lock, raw data, weights) and of
the verifier. It is a test result and no verification summary of SLSA: that one states levels of a build,
which nobody has checked here, and has no place for stages that were not checked.
Specification: https://github.com/in-toto/attestation, spec/v1 and spec/predicates/test-result.md.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.core.errors import UserError
from stages.core.files import sha256, to_json, write
from stages.core.repositories import git, read_blob
from stages.tools.verify.attestation.verifier import verifier_record
from stages.tools.verify.conditions.condition import Outcome
from stages.tools.verify.verdicts import STORED_WEIGHTS, Verdict

if TYPE_CHECKING:
    from stages.tools.verify.report import Report

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
EXTENSION = "evidenceFirst"  # what the predicate has no field for
LOCK = "dvc.lock"
WEIGHTS = "weights-*.safetensors"
_NOTES = "evidence/*/data/dataset_note.json"
_RESULTS = {0: "PASSED", 1: "FAILED", 2: "WARNED", 3: "WARNED"}  # by exit status
_MAX_BYTES = 10_000_000
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

Digests = dict[str, dict[str, str]]  # subject -> algorithm -> hex digits


class Subject(BaseModel):
    """What a statement is about."""

    name: str = Field(default="_", max_length=1000)
    digest: dict[str, str]


class Predicate(BaseModel):
    """The result of a verification; keys that are not named here are kept."""

    model_config = ConfigDict(extra="allow")

    result: str = Field(pattern="^(PASSED|WARNED|FAILED)$")
    configuration: list[dict[str, Any]]
    evidence: dict[str, Any] = Field(default_factory=dict, alias="evidenceFirst")


class Statement(BaseModel):
    """An in-toto statement of a verification."""

    type: str = Field(alias="_type", pattern=f"^{re.escape(STATEMENT_TYPE)}$")
    predicate_type: str = Field(alias="predicateType", pattern=f"^{re.escape(PREDICATE_TYPE)}$")
    subject: list[Subject] = Field(min_length=1)
    predicate: Predicate

    @property
    def commit(self) -> str:
        """Return the commit that was verified, "" if the statement names none."""
        digests = (subject.digest.get("gitCommit", "") for subject in self.subject)
        return next((digest for digest in digests if re.fullmatch(r"[0-9a-f]{40,64}", digest)), "")


def make_statement(
    report: "Report",
    digests: Digests,
    options: Mapping[str, Any],
    recorder: str = "",
) -> dict[str, Any]:
    """Return the statement of a verification.

    Args:
        report: of the verification.
        digests: of what was verified, by `subject_digests`.
        options: of the command, by name.
        recorder: who has verified it; "" where nobody is named.
    """
    verifier = verifier_record()
    commit = {"gitCommit": verifier["commit"]} if verifier["commit"] else {}
    options = {**options, "tier": report.requested}
    tests = _tests(report)
    configuration = [
        {
            "name": "verifier",
            "digest": {**commit, "sha256": verifier["code_sha256"]},
            "annotations": {"modified": verifier["modified"]},
        },
        {
            "name": "options",
            "digest": {"sha256": hashlib.sha256(to_json(options)).hexdigest()},
            "annotations": dict(options),
        },
    ]
    data = report.data()
    extension = {
        "who": recorder,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "repository": report.repository,
        "verdict": data["verdict"],
        "status": data["status"],
        "summary": data["summary"],
        "tiers": {tier["tier"]: tier["seconds"] for tier in data["tiers"]},
        "stages": {stage["stage"]: stage["verdict"] for stage in data["stages"]},
        "base": report.base,
        "code": data["code"],
        "conditions": data["conditions"],
        "machine": data["host"],
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": dict(digest)} for name, digest in sorted(digests.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": _RESULTS.get(data["status"], "WARNED"),
            "configuration": configuration,
            **tests,
            EXTENSION: extension,
        },
    }


def _tests(report: "Report") -> dict[str, list[str]]:
    """Return the names of what passed, of what was not checked or has a reason, and of what failed."""
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for tier in report.tiers:
        for finding in tier.findings:
            if finding.verdict is Verdict.OUTSIDE:
                group = "failedTests"
            elif finding.verdict is Verdict.UNCHECKED and finding.reason != STORED_WEIGHTS:
                group = "warnedTests"
            else:
                group = "passedTests"
            tests[group].append(f"{tier.name}: {finding.stage}")
    groups = {Outcome.HOLDS: "passedTests", Outcome.FAILS: "failedTests"}
    for condition in report.conditions:
        tests[groups.get(condition.outcome, "warnedTests")].append(condition.name)
    return {group: sorted(set(names)) for group, names in tests.items()}


def subject_digests(root: Path, report: "Report") -> Digests:
    """Return the digests of what was verified.

    Args:
        root: the clone, in which the last tier has left its files.
        report: of the tiers that ran.

    Raises:
        UserError: git cannot read the commit.
    """
    digests: Digests = {"commit": {"gitCommit": report.revision}}
    digests |= committed_digests(Path(f"{root}.git"), report.revision)  # no stage can write to it
    bitwise = {finding.stage for finding in report.stages() if finding.verdict is Verdict.BITWISE}
    stored = report.tiers[-1].name == "predictions"
    for folder in sorted((root / "data" / "train").glob("*")):
        if stored or f"train@{folder.name}" in bitwise:
            for path in sorted(folder.rglob(WEIGHTS)):
                # A stage may have put a link to a file elsewhere in its place.
                if path.is_file() and path.resolve().is_relative_to(root.resolve()):
                    digests[path.relative_to(root).as_posix()] = {"sha256": sha256(path)}
    return digests


def committed_digests(repository: Path, commit: str) -> Digests:
    """Return the digests of what a commit holds or names: every dvc.lock, and the raw data of each task.

    Raises:
        UserError: there is no such commit.
    """
    names = git(repository, "ls-tree", "-r", "-z", "--name-only", commit).split("\0")
    digests: Digests = {}
    for name in filter(None, names):
        path = Path(name)
        if path.name == LOCK:
            content = read_blob(repository, commit, name)
            digests[name] = {"sha256": hashlib.sha256(content).hexdigest()}
        elif path.match(_NOTES):
            raw = _raw_digest(read_blob(repository, commit, name))
            if raw:
                digests[f"raw data of {path.parts[1]}"] = {"sha256": raw}
    return digests


def _raw_digest(note: bytes) -> str:
    try:
        digest = json.loads(note)["raw_sha256"]
    except _DAMAGED:
        return ""
    return digest if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) else ""


def write_statement(path: Path, statement: Mapping[str, Any]) -> None:
    """Write a statement, and delete the signature of an earlier one in its place."""
    from stages.tools.verify.attestation.signing import signature_path

    write(path, to_json(statement))
    signature_path(path).unlink(missing_ok=True)


def read_statement(path: Path) -> Statement:
    """Return the statement in a file.

    Raises:
        UserError: there is none, it is too large, or it is no statement of a verification.
    """
    try:
        if path.stat().st_size > _MAX_BYTES or not path.is_file():
            raise UserError(f"{path}: no statement: not a file of at most {_MAX_BYTES:,} bytes")
        return Statement.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: no statement of a verification: {key}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no statement: not JSON ({error})") from None


def compare_digests(statement: Statement, repository: Path) -> Iterator[tuple[str, Outcome, str]]:
    """Yield for each subject its name, whether the repository has the same, and the reason.

    Args:
        statement: whose subjects are compared.
        repository: a clone that has the commit; weights are read from its work tree.
    """
    commit = statement.commit
    try:
        expected_digests: Digests = {
            "commit": {
                "gitCommit": git(repository, "rev-parse", "--verify", f"{commit}^{{commit}}")
            }
        }
    except UserError:
        yield "commit", Outcome.UNCHECKED, f"{commit or 'none named'}: not in this repository"
        return
    expected_digests |= committed_digests(repository, commit)
    for subject in statement.subject:
        expected = expected_digests.get(subject.name) or _file_digest(repository, subject.name)
        algorithms = subject.digest.keys() & (expected or {}).keys()
        if expected is None:
            yield subject.name, Outcome.UNCHECKED, "not here"
        elif not algorithms:
            yield subject.name, Outcome.UNCHECKED, f"no digest by {', '.join(expected)}"
        elif any(subject.digest[name] != expected[name] for name in algorithms):
            yield subject.name, Outcome.FAILS, "another digest than in the statement"
        else:
            yield subject.name, Outcome.HOLDS, next(iter(expected.values()))[:12]
    named = {subject.name for subject in statement.subject}
    for name in sorted(expected_digests.keys() - named):
        yield name, Outcome.FAILS, "the statement does not name it"


def _file_digest(repository: Path, name: str) -> dict[str, str] | None:
    """Return the digest of weights in the work tree, None where there are none of that name."""
    path = repository / name
    if not re.fullmatch(r"data/train/\w+/(fold-\d+/)?weights-\d+\.safetensors", name):
        return None
    return {"sha256": sha256(path)} if path.is_file() else None
