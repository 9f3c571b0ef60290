"""Runs `evidence verify` on a project under attack, as its own process, and judges what it did."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from markdown_it import MarkdownIt
from support.project import ROOT, commit, environment

from attacks.attack import FAKE, HOST, MARK, Attack, Target

if TYPE_CHECKING:
    from markdown_it.token import Token

# The command, with a look into the clone before it is deleted: did foreign code leave its mark there?
_DRIVER = f"""
import os, sys
from functools import partial
from pathlib import Path
from stages.tools import cli
from stages.tools.verify import command

def look(root, report):
    if any(Path(root).rglob({MARK!r})):
        Path(os.environ["EVIDENCE_CANARY"]).touch()

command.verify = partial(command.verify, inspect=look)
cli.main(sys.argv[1:])
"""
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_REPORTS = {"json": "verify.json", "markdown": "verify.md", "page": "verify.html"}


@dataclass(frozen=True)
class Outcome:
    """What verify did.

    Attributes:
        status: its exit status, None if it did not end in time.
        output: what it printed for the reader.
        errors: what it printed about its progress, and the reason of a refusal.
        reports: the text of each report that it wrote, by form.
    """

    status: int | None
    output: str
    errors: str
    reports: dict[str, str]


def stage_attack(attack: Attack, target: Target) -> None:
    """Change a project, commit that, and clear what the attack itself has left."""
    attack.change(target)
    if not target.committed:
        commit(target.folder, "forged")
    for path in (target.canary, target.folder / MARK):
        path.unlink(missing_ok=True)


def run_verify(target: Target, tier: str, seconds: int, folder: Path) -> Outcome:
    """Run the command; all that it writes goes into folders below `folder`."""
    places = {"HOME": folder / "home", "TMPDIR": folder / "tmp"}
    for place in places.values():
        place.mkdir()
    forms = [f"--{form}={folder / name}" for form, name in _REPORTS.items()]
    arguments = [f"--repo={target.source}", f"--tier={tier}", *forms, *target.options]
    settings = {
        **{name: str(place) for name, place in places.items()},
        "PYTHONPATH": str(ROOT),
        "EVIDENCE_CANARY": str(target.canary),
    }
    with subprocess.Popen(
        [sys.executable, "-c", _DRIVER, "verify", *arguments, "--", target.revision],
        cwd=folder,
        env={**environment(), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=True,
    ) as process:
        status: int | None
        try:
            output, errors = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            status = None
    paths = {form: folder / name for form, name in _REPORTS.items()}
    reports = {
        form: path.read_bytes().decode(errors="surrogateescape")
        for form, path in paths.items()
        if path.exists()
    }
    return Outcome(status, output, errors, reports)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file of a repository, those of git and DVC too."""
    states = {path: path.lstat() for path in folder.rglob("*")}
    return {
        str(path.relative_to(folder)): (state.st_size, state.st_mtime_ns)
        for path, state in states.items()
        if path.is_symlink() or not path.is_dir()
    }


def complaints(attack: Attack, target: Target, folder: Path) -> list[str]:
    """Run verify on an attacked project; return what it did and should not have done."""
    before = snapshot(target.folder)
    outcome = run_verify(target, attack.tier, attack.seconds, folder)
    words = f"{outcome.output}\n{outcome.errors}"
    reasons = []
    if outcome.status is None:
        reasons.append(f"it did not end in {attack.seconds} s")
    elif outcome.status != attack.status:
        reasons.append(f"status {outcome.status} in place of {attack.status}")
    if attack.report not in words:
        reasons.append(f"it does not say {attack.report!r}")
    if "Traceback" in words:
        reasons.append("it shows a traceback")
    if target.canary.exists():
        reasons.append("foreign code ran, or something was written outside")
    if any((folder / "tmp").iterdir()) and outcome.status is not None:
        reasons.append("it left files behind")
    if snapshot(target.folder) != before:
        reasons.append("it changed the repository")
    reasons += _deceptions(outcome)
    return [*reasons, words] if reasons else []


def _deceptions(outcome: Outcome) -> list[str]:
    """Return what would deceive a reader of the terminal or of a report."""
    words = f"{outcome.output}\n{outcome.errors}"
    reasons = [f"the terminal: {reason}" for reason in _read_lines(words)]
    if text := outcome.reports.get("markdown"):
        reasons += [f"Markdown: {reason}" for reason in _read_markdown(text)]
    if text := outcome.reports.get("page"):
        reasons += [f"the page: {reason}" for reason in _read_page(text)]
    if text := outcome.reports.get("json"):
        json.loads(text, parse_constant=_no_json)
    return reasons


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _read_lines(text: str) -> list[str]:
    """Return what would deceive a reader of lines."""
    odd = sorted({c for c in text if c != "\n" and not c.isprintable()})
    reasons = [f"characters {odd}"] if odd else []
    if any(line.strip(" |>#*-`").startswith(FAKE) for line in text.split("\n")):
        reasons.append("a line of the attacker's")
    return reasons


def _read_markdown(text: str) -> list[str]:
    """Return what would deceive a reader of Markdown."""
    reasons = _read_lines(text)
    if f"http://{HOST}" in text or f"www.{HOST}" in text:
        reasons.append("an address that becomes a link")  # as GitHub does, outside of brackets too
    tokens: list[Token] = []
    for token in _PARSER.parse(text):
        tokens += [token, *(token.children or [])]
    for token in tokens:
        if token.type.startswith("html_"):
            reasons.append(f"markup {token.content!r}")
        addresses = [str(token.attrGet(key) or "") for key in ("href", "src")]
        if any(HOST in address for address in addresses):
            reasons.append(f"an address {addresses}")
    return reasons


class _Page(HTMLParser):
    """Collects what would run or load in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        for key, value in attrs:
            if key.startswith("on") or HOST in (value or ""):
                self.reasons.append(f"<{tag} {key}={value!r}>")

    def handle_data(self, data: str) -> None:
        if self._in_script and "alert" in data:
            self.reasons.append(f"a script {data!r}")


def _read_page(text: str) -> list[str]:
    page = _Page()
    page.feed(text)
    return [*page.reasons, *_read_lines(text)]


def prepare_target(project: Path, folder: Path) -> Target:
    """Return a copy of a project to be attacked, and its canary."""
    shutil.copytree(project, folder / "project", symlinks=True)
    return Target(folder / "project", folder / "canary.txt")
