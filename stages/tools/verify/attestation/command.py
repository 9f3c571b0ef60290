"""Check a signed statement of a verification, or list those that a repository keeps.

`check` compares the digests of a statement with a repository, and its signature with allowed signers.
`table` writes evidence/reproductions/README.md anew. Exit status of check: 0 signature and digests are
right, 1 one of them is wrong, 2 something could not be checked.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import USER_ERROR_STATUS, UserError, printable
from stages.tools.verify.attestation.signing import check_signature, signature_path
from stages.tools.verify.conditions.condition import Outcome

if TYPE_CHECKING:
    from stages.tools.verify.attestation.statement import Statement

WRONG_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="{check,table}")
    checking = commands.add_parser(
        "check",
        help="check signature and digests of a statement",
        epilog="example: evidence attestation check result.json --signers allowed_signers",
    )
    checking.add_argument("file", type=Path, help="the statement; its signature is FILE.sig")
    checking.add_argument(
        "--signers", type=Path, metavar="ALLOWED", help="ssh keys and names, as for ssh-keygen -Y"
    )
    checking.add_argument(
        "--repo", type=Path, default=Path(), help="a clone that has the commit (default: .)"
    )
    commands.add_parser("table", help="write evidence/reproductions/README.md anew")


def run(arguments: argparse.Namespace) -> int:
    """Check a statement or write the table; return the exit status."""
    from stages.tools.verify.attestation.reproductions import reproductions_folder, write_table

    if arguments.action == "table":
        print(f"see: {write_table(reproductions_folder(Path.cwd()))}")
        return 0
    return check(arguments.file, arguments.signers, arguments.repo)


def check(path: Path, signers: Path | None, repository: Path) -> int:
    """Print what is right and wrong with a statement; return the exit status.

    Raises:
        UserError: it is no statement, or there is no such repository.
    """
    from stages.tools.verify.attestation.statement import compare_digests, read_statement

    if not repository.is_dir():
        raise UserError(f"--repo: given {repository}; must be the folder of a git repository")
    statement = read_statement(path)
    lines = [("signature", *_signature(path, signers)), *compare_digests(statement, repository)]
    for name, outcome, reason in lines:
        print(f"{_WORDS[outcome]}: {printable(name)}: {printable(reason)}")
    print(printable(_verdict(statement)))
    outcomes = {outcome for _, outcome, _ in lines}
    if Outcome.FAILS in outcomes:
        return WRONG_STATUS
    return USER_ERROR_STATUS if Outcome.UNCHECKED in outcomes else 0


_WORDS = {Outcome.HOLDS: "right", Outcome.FAILS: "wrong", Outcome.UNCHECKED: "not checked"}


def _signature(path: Path, signers: Path | None) -> tuple[Outcome, str]:
    if signers is None:
        present = "there is one" if signature_path(path).is_file() else "there is none"
        return Outcome.UNCHECKED, f"{present}; give --signers to check it"
    if not signers.is_file():
        raise UserError(f"--signers: given {signers}; no such file")
    try:
        return Outcome.HOLDS, f"by {check_signature(path, signers)}"
    except UserError as error:
        return Outcome.FAILS, str(error)


def _verdict(statement: "Statement") -> str:
    from stages.tools.verify.attestation.verifier import code_digest

    evidence = statement.predicate.evidence
    verifiers = [
        item for item in statement.predicate.configuration if item.get("name") == "verifier"
    ]
    digests = [item["digest"] for item in verifiers if isinstance(item.get("digest"), dict)]
    same = any(digest.get("sha256") == code_digest() for digest in digests)
    return (
        f"it says: {statement.predicate.result}, {evidence.get('verdict', 'no verdict')}; "
        f"by {'the code of this verifier' if same else 'another version of the verifier'}"
    )
