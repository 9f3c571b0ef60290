"""Which stages of a repository are those of this project's pipeline, and whether its code is the same."""

from pathlib import Path

from stages.core.task import STAGES
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.verdicts import Finding, Verdict

CODE = Path(__file__).resolve().parents[3]  # the project that verifies


def verifiable_tasks(repo: LockedRepo) -> list[str]:
    """Return the tasks of which every stage is in the pipeline."""
    tasks = [name.partition("@")[2] for name in repo.stages if name.startswith("pack@")]
    return [task for task in tasks if all(f"{stage}@{task}" in repo.stages for stage in STAGES)]


def requested_tasks(repo: LockedRepo) -> list[str]:
    """Return the verifiable tasks that have a requested stage."""
    return [
        task
        for task in verifiable_tasks(repo)
        if any(name.endswith(f"@{task}") for name in repo.requested)
    ]


def pipeline_stages(repo: LockedRepo) -> set[str]:
    """Return the names of this project's stages: those of the verifiable tasks, and the shared ones."""
    tasks = verifiable_tasks(repo)
    shared = {"params", "compare"} & repo.stages.keys() if tasks else set()
    return shared | {f"{stage}@{task}" for task in tasks for stage in STAGES}


def check_commands(repo: LockedRepo) -> list[Finding]:
    """Return the stages of this project's pipeline that run anything but their own module, in the root."""
    reasons = {
        name: command_disagreement(repo, name)
        for name in repo.stages
        if name in pipeline_stages(repo)
    }
    return [Finding(name, Verdict.OUTSIDE, reason) for name, reason in reasons.items() if reason]


def command_disagreement(repo: LockedRepo, name: str) -> str:
    """Return what is wrong with the command of a stage of this project's pipeline, "" if nothing."""
    stage = repo.stages[name]
    command = f"python -m stages.{' '.join(name.partition('@')[::2])}".strip()
    if stage.cmd != command:
        return f"command: dvc.yaml says {stage.cmd!r}, this stage of the pipeline runs {command!r}"
    if Path(stage.wdir) != repo.root:
        return f"wdir: dvc.yaml says {stage.wdir}, this stage of the pipeline runs in the root"
    return ""


def differing_code(repo: LockedRepo) -> str:
    """Return the first file of code that differs between the revision and this project, "" if none.

    All files of the revision's `stages/` count, bytecode included, and modules in its root, which Python
    would import before any library. Further files beside this project's code, such as a draft, do not.
    """
    for path in sorted(_code_files(repo.root)):
        original = CODE / path
        if not original.is_file() or original.read_bytes() != (repo.root / path).read_bytes():
            return path
    return ""


def _code_files(root: Path) -> set[str]:
    patterns = ("*.py", "*.pyc", "*.so", "*/__init__.py", "stages/**/*")
    paths = {
        path.relative_to(root)
        for pattern in patterns
        for path in root.glob(pattern)
        if path.is_file()
    }
    return {path.as_posix() for path in paths if not path.parts[0].startswith(".")}
