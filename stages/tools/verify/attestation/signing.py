"""Signatures by ssh keys: `ssh-keygen -Y`, with the signature in a file beside the signed one."""

import shutil
import subprocess
from pathlib import Path

from stages.core.errors import UserError
from stages.core.processes import last_line

NAMESPACE = "evidence-first"
_PROGRAM = "ssh-keygen"


def signature_path(path: Path) -> Path:
    """Return where the signature of a file is: beside it, as ssh-keygen writes it."""
    return path.with_name(f"{path.name}.sig")


def require_key(key: Path) -> None:
    """Require that a file can be signed with a key, before it is made.

    Raises:
        UserError: there is no such key, or OpenSSH is not installed.
    """
    if not key.is_file():
        raise UserError(f"--sign-key: given {key}; no such file")
    if shutil.which(_PROGRAM) is None:
        raise UserError(f"{_PROGRAM} is not installed, or not on PATH; install OpenSSH")


def sign(path: Path, key: Path) -> Path:
    """Sign a file; return the path of the signature. ssh-keygen may ask for the key's passphrase.

    Args:
        path: of the file.
        key: a private key; or a public one whose private key an agent holds.

    Raises:
        UserError: ssh-keygen refuses.
    """
    signature = signature_path(path)
    signature.unlink(missing_ok=True)
    # In this terminal, in which ssh-keygen may ask for the passphrase.
    command = (_PROGRAM, "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(path))
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode or not signature.is_file():
        raise UserError(f"--sign-key: {key}: {_reason(result)}")
    return signature


def check_signature(path: Path, signers: Path) -> str:
    """Return who has signed a file, as the allowed signers name them.

    Args:
        path: of the file; its signature is beside it.
        signers: in the format of ssh's ALLOWED SIGNERS (see ssh-keygen(1)).

    Raises:
        UserError: there is no signature, by no allowed signer, or not of these bytes.
    """
    signature = signature_path(path)
    for file in (signature, signers):
        if not file.is_file():
            raise UserError(f"{file}: no such file")
    names = _run("find-principals", "-s", str(signature), "-f", str(signers))
    if names.returncode or not names.stdout.strip():
        raise UserError(f"{signature}: by no key that {signers} allows")
    name = names.stdout.decode(errors="replace").strip().split("\n")[0]
    options = ("-f", str(signers), "-I", name, "-n", NAMESPACE, "-s", str(signature))
    result = _run("verify", *options, content=path.read_bytes())
    if result.returncode:
        raise UserError(f"{signature}: no valid signature of {path} ({_reason(result)})")
    return name


def _run(action: str, *options: str, content: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = (_PROGRAM, "-Y", action, *options)
    try:
        return subprocess.run(command, input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError(f"{_PROGRAM} is not installed, or not on PATH; install OpenSSH") from None


def _reason(result: "subprocess.CompletedProcess[bytes]") -> str:
    lines = (last_line(text.decode(errors="replace")) for text in (result.stderr, result.stdout))
    return next(filter(None, lines), f"exit {result.returncode}")
