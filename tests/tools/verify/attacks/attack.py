"""What an attack is, and the project that it changes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from support import forgery
from support.project import commit, run

TASK = "workshop"
PACK = f"evidence/{TASK}"
DATA = f"{PACK}/data"
METRICS = "metrics/metrics.json"
OUTSIDE, UNCHECKED, OTHER_CODE = 1, 2, 3  # exit statuses of verify
MARK = "canary-mark"  # the file that foreign code leaves in the folder in which it runs
FAKE = (
    "reproduced: 9 stages bit for bit"  # what hostile text would like to say on a line of its own
)
HOST = "canary.example"  # where its links lead


@dataclass
class Target:
    """A project under attack.

    Attributes:
        folder: its work tree.
        canary: a file outside of it, which nothing may make or change.
        source: what is given to verify as the repository.
        revision: what is given as the revision.
        options: further ones of the command.
        committed: whether the attack has made its own commits.
    """

    folder: Path
    canary: Path
    source: str = ""
    revision: str = "HEAD"
    options: list[str] = field(default_factory=list)
    committed: bool = False

    def __post_init__(self) -> None:
        self.source = self.source or str(self.folder)

    @property
    def shell(self) -> str:
        """Return a line for a shell that makes the canary."""
        return f"touch '{self.canary}' {MARK}"

    @property
    def python(self) -> str:
        """Return a line of Python that makes the canary; a sandbox may deny one of the two files."""
        return (
            f"for _path in ({str(self.canary)!r}, {MARK!r}):\n"
            "    try:\n        open(_path, 'w').close()\n"
            "    except OSError:\n        pass\n"
        )

    def path(self, name: str) -> Path:
        """Return the path of a file in the work tree."""
        return self.folder / name

    def add(self, name: str, content: str | bytes = "") -> None:
        """Write a file, and let git track it even where it is ignored."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.track(name)

    def link(self, name: str, destination: str) -> None:
        """Replace a file or folder by a symbolic link, which git tracks."""
        path = self.path(name)
        self.remove(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(destination)
        self.track(name)

    def track(self, name: str) -> None:
        """Let git track a file even where it is ignored."""
        self.git("add", "--force", "--", name)

    def remove(self, name: str) -> None:
        """Delete a file or folder, if there is one."""
        path = self.path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def git(self, *command: str, text: str = "") -> str:
        """Run git in the work tree with a text as its input; return what it prints."""
        return run(self.folder, "git", *command, text=text).stdout.strip()

    def commit(self) -> str:
        """Commit everything; return the commit."""
        commit(self.folder, "forged")
        self.committed = True
        return self.git("rev-parse", "HEAD")

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text, which must be there, in a file."""
        forgery.replace(self.path(name), old, new)

    def append(self, name: str, text: str) -> None:
        """Append text to a file."""
        with self.path(name).open("a", encoding="utf-8") as file:
            file.write(text)

    def edit_json(self, name: str, change: Callable[[Any], None]) -> None:
        """Change the content of a JSON file."""
        forgery.edit_json(self.path(name), change)

    def edit_table(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
        """Change a table of the pack's data, in place or by returning another one."""
        forgery.edit_table(self.path(f"{DATA}/{name}"), change)

    def edit_lock(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the stages of dvc.lock."""
        forgery.edit_lock(self.folder, change)

    def edit_yaml(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the content of a YAML file; comments are kept."""
        yaml = YAML()
        content = yaml.load(self.path(name).read_text())
        change(content)
        with self.path(name).open("w") as file:
            yaml.dump(content, file)

    def relock(self, *stages: str) -> None:
        """Write the hashes of files as they are now into dvc.lock: of these stages, or of all."""
        forgery.relock(self.folder, *stages)

    def relock_results(self) -> None:
        """Write the hashes of the pack, the merged metrics and the plots into dvc.lock."""
        self.relock(f"pack@{TASK}", "compare")

    def forge_metric(self) -> None:
        """Claim a better result, in the one file that everybody reads."""

        def change(metrics: dict[str, Any]) -> None:
            metrics[TASK]["accuracy"] = 0.999999

        self.edit_json(METRICS, change)


@dataclass(frozen=True)
class Attack:
    """An attack, and what verify must make of it.

    Attributes:
        name: of the function that changes the project.
        family: of attacks, as docs/verify.md lists them.
        purpose: in a sentence.
        change: changes the project; what it leaves uncommitted is committed afterwards.
        tier: the last one that verify runs.
        status: the exit status of verify.
        report: a word or path that the report must contain.
        quick: whether it stands for its family in the quick tests.
        seconds: which verify may take.
    """

    name: str
    family: str
    purpose: str
    change: Callable[[Target], None]
    tier: str
    status: int
    report: str
    quick: bool
    seconds: int


ATTACKS: dict[str, Attack] = {}
Change = Callable[[Target], None]


def family(
    name: str, *, tier: str = "hashes", status: int = OUTSIDE, seconds: int = 180
) -> Callable[..., Callable[[Change], Change]]:
    """Return a decorator that enters attacks of a family, with these values unless it names others."""

    def attack(
        report: str,
        *,
        tier: str = tier,
        status: int = status,
        quick: bool = False,
        seconds: int = seconds,
        title: str = "",
    ) -> Callable[[Change], Change]:
        def enter(change: Change) -> Change:
            key = title or change.__name__
            assert key not in ATTACKS, key
            purpose = " ".join((change.__doc__ or title).split())
            ATTACKS[key] = Attack(key, name, purpose, change, tier, status, report, quick, seconds)
            return change

        return enter

    return attack


def dump(value: Any) -> str:
    """Return JSON as the stages write it."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
