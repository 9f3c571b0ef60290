"""What the command line asks for beside the tiers: claims, a policy, other data, a statement, a batch."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.files import sha256
from stages.core.repositories import resolve_revision
from stages.tools.verify import pull_request
from stages.tools.verify.attestation import reproductions, signing, statement
from stages.tools.verify.conditions import claim, other_data
from stages.tools.verify.conditions import policy as policies
from stages.tools.verify.conditions.condition import Condition, Outcome
from stages.tools.verify.report import TIERS, Report
from stages.tools.verify.verification import CHEAP_TIERS

_STATED = ("only", "tolerance", "base", "claim", "network")  # options that a statement repeats


@dataclass
class Receiver:
    """What is asked of a result beside its reproduction, checked before anything runs.

    Attributes:
        claims: of the command line and the policy.
        data: on which models are evaluated too.
        policy: None without one.
        policy_path: of its file.
        options: of the statement, by name.
        repository: the path or URL of the git repository.
        revision: of it.
        base: the revision whose code is trusted, "" for this project's.
        remote: the DVC remote to take weights from, "" for any.
        digests: of what was verified, once `inspect` has run and a statement is wanted.
    """

    claims: list[claim.Claim] = field(default_factory=list)
    data: list[other_data.OtherData] = field(default_factory=list)
    policy: policies.Policy | None = None
    policy_path: Path | None = None
    attest: Path | None = None
    record: str = ""
    sign_key: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    repository: str = "."
    revision: str = "HEAD"
    base: str = ""
    remote: str = ""
    digests: statement.Digests = field(default_factory=dict)

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> "Receiver":
        """Return what the options ask for.

        Raises:
            UserError: an option is wrong, or one needs another.
        """
        claims = [claim.parse_claim(text) for text in arguments.claim]
        rules = policies.read_policy(arguments.policy) if arguments.policy else None
        if rules:
            claims += rules.parsed_claims(arguments.policy)
        if arguments.sign_key:
            if not (arguments.attest or arguments.record):
                raise UserError("--sign-key signs a statement: give --attest or --record too")
            signing.require_key(arguments.sign_key)
        if arguments.attest and not arguments.attest.absolute().parent.is_dir():
            raise UserError(f"--attest: given {arguments.attest}; must be in an existing folder")
        return cls(
            list(dict.fromkeys(claims)),
            [other_data.parse_other_data(text) for text in arguments.data],
            rules,
            arguments.policy,
            arguments.attest,
            reproductions.require_who(arguments.record) if arguments.record else "",
            arguments.sign_key,
            _options(arguments),
            *_subject(arguments),
            arguments.remote,
        )

    def last_tier(self, tier: str | None) -> str:
        """Return the last tier to run.

        Args:
            tier: of the command line, None for the policy's.

        Raises:
            UserError: the policy requires a later one.
        """
        required = self.policy.tier if self.policy else None
        if tier and required and TIERS.index(tier) < TIERS.index(required):
            raise UserError(f"--tier: given {tier}; {self.policy_path} requires {required}")
        return tier or required or TIERS[-1]

    def inspect(self, root: Path, report: Report) -> None:
        """Check the conditions on a clone, and put them into its report; collect digests.

        Args:
            root: the clone after the last tier.
            report: of the tiers that ran.
        """
        if self.attest or self.record:
            self.digests = statement.subject_digests(root, report)
        report.conditions += claim.check_claims(self.claims, root, report)
        for data in self.data:
            report.conditions += self._on_other_data(data, root, report)
        if self.policy and self.policy_path:
            report.conditions += policies.check_policy(self.policy, self.policy_path, root, report)

    def _on_other_data(
        self, data: other_data.OtherData, root: Path, report: Report
    ) -> list[Condition]:
        from stages.tools.verify import rerun

        try:
            if report.tiers[-1].name in CHEAP_TIERS:  # no tier has fetched or made weights
                storage = rerun.Storage(self.remote, rerun.local_cache(report.origin))
                rerun.fetch_weights(root, data.task, storage)
            scores = other_data.evaluate_other_data(data, root)
        except UserError as error:
            return [Condition(f"{data.task} on other data", Outcome.UNCHECKED, str(error))]
        report.notes += scores.remarks
        return scores.conditions(self.claims)

    def write(self, report: Report, folder: Path) -> list[Path]:
        """Write and sign the statements that are asked for; return their paths.

        Args:
            report: of the verification.
            folder: the current one; a repository in it keeps the reproductions.

        Raises:
            UserError: one cannot be written or signed.
        """
        if not (self.attest or self.record):
            return []
        content = statement.make_statement(report, self.digests, self.options, self.record)
        paths = []
        try:
            if self.attest:
                statement.write_statement(self.attest, content)
                paths.append(self.attest)
            if self.record:
                target = reproductions.reproductions_folder(folder)
                paths.append(reproductions.record(target, content, report.revision, self.record))
        except OSError as error:
            raise UserError(f"{error.filename}: {error.strerror}") from None
        if self.sign_key:
            paths += [signing.sign(path, self.sign_key) for path in list(paths)]
            if self.record:  # its table says which are signed
                reproductions.write_table(reproductions.reproductions_folder(folder))
        return paths


def _source(repository: str, revision: str) -> tuple[str, str]:
    """Return repository and revision; of a revision that is a file, the archive and its only commit.

    Raises:
        UserError: it is the name of a revision as well, or a repository is given beside the file.
    """
    if revision == "HEAD" or not Path(revision).is_file():
        return repository, revision
    if repository != ".":
        raise UserError(
            f"{revision} is a file: an archive is a repository of its own, without --repo"
        )
    try:
        resolve_revision(Path(repository), revision)
    except UserError:
        return revision, "HEAD"
    raise UserError(
        f"{revision!r} is a file and a revision; give ./{revision} for the file, or the full ref"
    )


def _subject(arguments: argparse.Namespace) -> tuple[str, str, str]:
    """Return the repository, the revision and the base that the options name."""
    if not arguments.pr:
        return *_source(arguments.repo, arguments.revision), arguments.base
    if arguments.repo != "." or arguments.revision != "HEAD":
        raise UserError("--pr names repository and revision: leave out --repo and the revision")
    request = pull_request.parse_url(arguments.pr)
    base = arguments.base or pull_request.find_base(request)
    return request.repository, request.ref, base


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that decide a verdict, by name, without the folders of this machine."""
    options: dict[str, Any] = {
        name: value for name in _STATED if (value := getattr(arguments, name)) not in ("", [], 0)
    }
    if arguments.policy:
        options["policy"] = arguments.policy.name
        options["policy_sha256"] = sha256(arguments.policy)
    if arguments.data:
        texts = (text.partition("=") for text in arguments.data)
        options["data"] = [f"{task}={Path(path).name}" for task, _, path in texts]
    return options
