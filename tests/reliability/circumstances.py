"""The pipeline under unfriendly circumstances: it survives, or says in one line what is wrong."""

import locale
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from support.project import run

from reliability.kills import REPRO, RESTORE, Project
from reliability.trials import Running, Trial, difference, file_digests, run_to_end, spread

MEGABYTE = 2**20
ROOM = (0.1, 0.3, 1.0)  # MB that a full disk still has
_PLENTY = 500  # MB
READ_ONLY = ("evidence", "data", ".")
SURVIVED, REFUSED = "same bytes", "refused in a line, then the same bytes"
_IDENTITY = (
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "EMAIL",
)
_FINISH = f"{' '.join(RESTORE)}; {' '.join(REPRO)}"


@dataclass(frozen=True)
class Circumstance:
    """What is unfriendly about the machine.

    Attributes:
        name: the row of the table.
        variables: of the environment; None: not set.
        place: the name of the project's folder.
        wrapper: a command that runs the pipeline's.
        arrange: changes the copy of the project beforehand.
        reason: why it cannot be tried on this machine, "" if it can.
    """

    name: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    place: str = "project"
    wrapper: Sequence[str] = ()
    arrange: Callable[[Path], None] = lambda _: None
    reason: str = ""


def _from_the_future(folder: Path) -> None:
    """Let every file be of tomorrow, as after a clock was set back."""
    for path in folder.rglob("*"):
        future = path.lstat().st_mtime + 86_400
        os.utime(path, (future, future), follow_symlinks=False)


def _no_locale(name: str) -> str:
    """Return why a locale cannot be tried, "" if it can."""
    try:
        previous = locale.setlocale(locale.LC_ALL)
        locale.setlocale(locale.LC_ALL, name)
        locale.setlocale(locale.LC_ALL, previous)
    except locale.Error:
        return f"the locale {name} is not installed"
    return ""


def _no_namespace(*options: str) -> str:
    """Return why `unshare` cannot be used, "" if it can."""
    try:
        result = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return "unshare is not installed"
    return "the system offers no namespaces" if result.returncode else ""


def circumstances() -> list[Circumstance]:
    """Return the circumstances that need no file system of their own."""
    no_name: dict[str, str | None] = dict.fromkeys(_IDENTITY)
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    turkish = {"LC_ALL": "tr_TR.UTF-8"}
    return [
        Circumstance("no HOME", {"HOME": None}),
        Circumstance("a TMPDIR that does not exist", {"TMPDIR": "/nowhere"}),
        Circumstance("locale C without UTF-8", ascii_only),
        Circumstance("locale tr_TR", turkish, reason=_no_locale("tr_TR.UTF-8")),
        Circumstance("umask 077", wrapper=("sh", "-c", 'umask 077; exec "$@"', "sh")),
        Circumstance(
            "a path with blanks, a quote and other letters", place="a 'b\" \u00e9\u4e2d $x & (y)"
        ),
        Circumstance(
            "no git identity", {**no_name, "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}
        ),
        Circumstance("no network", wrapper=("unshare", "-rn"), reason=_no_namespace("-rn")),
        Circumstance("files of tomorrow (a clock set back)", arrange=_from_the_future),
        Circumstance(
            "a clock 30 days behind that of the files' times",
            wrapper=("faketime", "-m", "-f", "-30d"),
            reason="" if shutil.which("faketime") else "faketime is not installed",
        ),
    ]


def copy_from_nothing(project: Project, place: Path) -> Path:
    """Copy a project without what its pipeline has made, except for the evidence in git."""
    skipped = shutil.ignore_patterns("cache", "dvc.lock")
    shutil.copytree(project.folder, place, symlinks=True, ignore=skipped)
    for name in ("params", *_stage_folders(place)):
        shutil.rmtree(place / "data" / name, ignore_errors=True)
    run(place, "git", "update-ref", "-d", "refs/tags/baseline")
    return place


def _stage_folders(place: Path) -> list[str]:
    return [path.name for path in (place / "data").iterdir() if path.name not in {"raw", "review"}]


def refusal(status: int, output: str) -> str:
    """Return what is wrong with how a command refused to go on, "" if it said in a line why."""
    if "Traceback" in output:
        return f"a traceback: {output[-400:]}"
    lines = [
        line for line in output.splitlines() if line.startswith("ERROR: ") or "@workshop: " in line
    ]
    return "" if lines else f"exit status {status} without a reason: {output[-300:]}"


def judge(project: Project, place: Path, runs: Sequence[tuple[int, str]]) -> tuple[str, str]:
    """Return how a circumstance ended, and what is wrong ("" for nothing).

    Args:
        project: with the bytes that are expected.
        place: where the pipeline ran, or what it made was copied to.
        runs: exit status and output: of the run under the circumstance, and of one after it.
    """
    (status, output), *later = runs
    problem = refusal(status, output) if status else ""
    if status and later and later[-1][0]:
        problem = problem or f"afterwards: {later[-1][1][-300:]}"
    problem = problem or difference(project.digests, file_digests(place))
    return REFUSED if status else SURVIVED, problem


def _command(circumstance: Circumstance) -> list[str]:
    unset = [
        part
        for name, value in circumstance.variables.items()
        if value is None
        for part in ("-u", name)
    ]
    set_ = [
        f"{name}={value}" for name, value in circumstance.variables.items() if value is not None
    ]
    return ["env", *unset, *set_, *circumstance.wrapper, *REPRO]


def try_circumstance(project: Project, circumstance: Circumstance, folder: Path) -> Trial:
    """Run the pipeline from nothing under a circumstance."""
    if circumstance.reason:
        return Trial(circumstance.name, f"not tried: {circumstance.reason}")
    place = copy_from_nothing(project, folder / circumstance.place)
    circumstance.arrange(place)
    runs = [run_to_end(place, _command(circumstance), folder / "scratch")]
    if runs[0][0]:
        runs.append(run_to_end(place, ("sh", "-c", _FINISH), folder / "scratch"))
    outcome, problem = judge(project, place, runs)
    if not problem:
        shutil.rmtree(place)
    return Trial(circumstance.name, outcome, problem)


def try_two_at_once(project: Project, folder: Path) -> Trial:
    """Run the pipeline twice at the same time in one folder."""
    place = copy_from_nothing(project, folder / "twice")
    both = [Running(place, REPRO, folder / "scratch") for _ in range(2)]
    runs = sorted((running.finish() for running in both), reverse=True)
    runs.append(run_to_end(place, ("sh", "-c", _FINISH), folder / "scratch"))
    outcome, problem = judge(project, place, [runs[0], runs[-1]])
    if all(status for status, _ in runs[:-1]):
        problem = problem or "neither of the two finished"
    return Trial("two `dvc repro` at once", outcome, problem)


_IN_A_NAMESPACE = """
mount -t tmpfs -o size={size} tmpfs "$1" && cp -a "$2/." "$1/" && cd "$1" || exit 99
{{ {before}; }} || exit 98
dvc repro > "$3/first" 2>&1; echo $? > "$3/first.status"
{after}
{{ {finish}; }} > "$3/second" 2>&1; echo $? > "$3/second.status"
cp -a "$1/." "$3/result/"
"""


def try_file_system(
    project: Project, folder: Path, name: str, lines: Mapping[str, str], room: float
) -> Trial:
    """Run the pipeline in a small file system of its own, then once more after it has been mended.

    Args:
        project: to copy.
        folder: to make, for its files.
        name: the row of the table.
        lines: shell commands: "before" and "after" the run.
        room: MB that the file system has beyond the project.
    """
    if reason := _no_namespace("-rm"):
        return Trial(name, f"not tried: {reason}")
    source = copy_from_nothing(project, folder / "source")
    place, results = folder / "mounted", folder / "results"
    place.mkdir()
    (results / "result").mkdir(parents=True)
    used = subprocess.run(["du", "-sk", source], capture_output=True, text=True, check=True).stdout
    size = int(used.split()[0]) * 1024 + int(room * MEGABYTE)
    script = _IN_A_NAMESPACE.format(size=size, finish=_FINISH, **lines)
    paths = [str(path) for path in (place, source, results)]
    status, output = run_to_end(
        folder, ("unshare", "-rm", "sh", "-c", script, "sh", *paths), folder / "scratch"
    )
    if status:
        return Trial(name, "", f"exit status {status}: {output}")
    runs = [
        (int((results / f"{run}.status").read_text()), (results / run).read_text(errors="replace"))
        for run in ("first", "second")
    ]
    outcome, problem = judge(project, results / "result", runs)
    if not problem:
        shutil.rmtree(folder)
    return Trial(name, outcome, problem, runs[0][1].splitlines()[-1] if runs[0][0] else "")


def try_full_disk(project: Project, folder: Path, room: float) -> Trial:
    """Run the pipeline where only some MB are left, then with more."""
    lines = {"before": "true", "after": 'mount -o remount,size=1g "$1"'}
    return try_file_system(
        project, folder / f"full-{room}", f"a full disk: {room} MB left", lines, room
    )


def try_read_only(project: Project, folder: Path, name: str) -> Trial:
    """Run the pipeline where a folder of the project cannot be written, then where it can."""
    lines = {
        "before": f"mount --bind {name} {name} && mount -o remount,ro,bind {name}",
        "after": f'umount {name}; cd /; cd "$1"',
    }
    if name == ".":
        lines = {"before": 'mount -o remount,ro "$1"', "after": 'mount -o remount,rw "$1"'}
    place = folder / f"read-only{name.replace('.', '-')}"
    return try_file_system(project, place, f"read-only: {name}", lines, _PLENTY)


def try_circumstances(folder: Path, minutes: float = math.inf) -> Iterator[Trial]:
    """Yield how the pipeline of the workshop ends under each circumstance.

    Args:
        folder: for the projects.
        minutes: after which no other one begins.
    """
    project = Project.build(folder / "workshop", ("workshop",))
    trials = [
        partial(try_two_at_once, project, folder),
        *(partial(try_full_disk, project, folder, room) for room in ROOM),
        *(partial(try_read_only, project, folder, name) for name in READ_ONLY),
        *(partial(try_circumstance, project, each, folder) for each in circumstances()),
    ]
    yield from spread(len(trials), lambda number: trials[number](), minutes)
