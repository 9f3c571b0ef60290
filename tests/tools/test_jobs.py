"""Jobs in clones: by processes of this command, by submitit on this machine, and on a SLURM cluster."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.project import (
    ROOT,
    change_params,
    commit,
    evidence,
    evidence_refused,
    read_params,
    run,
)
from support.slurm import slurm_cluster

from stages.core.errors import UserError
from stages.kinds.params import Params, load_params, load_tasks
from stages.kinds.registry import KINDS
from stages.tools.jobs import submitted
from stages.tools.jobs.job import OUTCOME, PROGRESS, Job, make_ready
from stages.tools.jobs.site import FOLDER, open_site
from stages.tools.repeats import results, run_repeats

needs_submitit = pytest.mark.skipif(
    find_spec("submitit") is None, reason="submitit is not installed: make extras"
)
# A stage that goes on from its checkpoint, and whose whole job is killed the first time.
RESUMING = """
import os, pathlib, signal, time
steps = pathlib.Path("steps.txt")
with steps.open("a") as file:
    file.write("step\\n")
if len(steps.read_text().split()) < 2:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the project's code and params, the current folder."""
    where = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "stages", where / "stages", ignore=ignored)
    shutil.copy(ROOT / "params.yaml", where)
    (where / ".dvc").mkdir()
    for name in (".gitignore", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, where / name)
    run(where, "git", "init", "--quiet", "--initial-branch", "main")
    commit(where, "code")
    monkeypatch.chdir(where)
    monkeypatch.setattr(submitted, "_SETTLE", 0.5)
    monkeypatch.setattr(submitted, "_PAUSE", 0.1)
    return where


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a SLURM cluster on this machine."""
    with slurm_cluster(tmp_path_factory.mktemp("slurm")):
        yield


ENGINES = [
    "",
    pytest.param("local", marks=needs_submitit),
    pytest.param("slurm", marks=[needs_submitit, pytest.mark.long]),
]


@pytest.fixture(params=ENGINES)
def on(request: pytest.FixtureRequest) -> str:
    if request.param == "slurm":
        request.getfixturevalue("cluster")
    return str(request.param)


def params(**cluster: object) -> Params:
    """Return the project's params with changes of the section cluster."""
    section = load_params(ROOT / "params.yaml")
    assert section.cluster
    settings = {"memory_gb": 0.5, "minutes": 5, "restarts": 2, **cluster}
    return section.model_copy(update={"cluster": section.cluster.model_copy(update=settings)})


def note(clone: Path) -> None:
    (clone / "note.txt").write_text("prepared\n")


def test_a_job_runs_in_a_clone_of_its_own(project: Path, on: str) -> None:
    (project / "params.yaml").write_text("not committed")
    commands = [("sh", "-c", "cat note.txt > result.txt"), ("sh", "-c", "echo $0 >> result.txt")]
    jobs = [Job(name, [*commands, ("git", "diff", "--quiet")], note) for name in ("a b", "c")]
    results = {}
    with open_site(on, "test", params(), []) as site:
        for ended in site.run(jobs):
            results[ended.name] = (ended.clone / "result.txt").read_text()
            assert ended.failure == ""
            assert ended.seconds > 0
            assert ended.machine["cores"]
    assert results == dict.fromkeys(["a b", "c"], "prepared\nsh\n")
    assert not list((project / FOLDER).glob("*"))
    assert (project / "params.yaml").read_text() == "not committed"


def test_a_command_that_fails_ends_its_job_with_its_line(project: Path, on: str) -> None:
    script = "echo first >&2; echo 'train@x: wrong' >&2; exit 2"
    jobs = [
        Job("fails", [("sh", "-c", script), ("touch", "next.txt")]),
        Job("crashes", [("python", "-m", "no_module")]),
    ]
    failures = {}
    with open_site(on, "test", params(), []) as site:
        for ended in site.run(jobs):
            failures[ended.name] = ended.failure
            assert not (ended.clone / "next.txt").exists()
    assert failures["fails"] == "train@x: wrong"
    assert failures["crashes"].startswith("no_module crashed: ")


@pytest.mark.parametrize(
    "engine", [parameter for parameter in ENGINES if parameter], ids=["local", "slurm"]
)
def test_a_job_that_dies_goes_on_where_it_was(
    project: Path,
    engine: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if engine == "slurm":
        request.getfixturevalue("cluster")
    (project / "stage.py").write_text(RESUMING)
    commit(project, "a stage")
    count = ("sh", "-c", "echo once >> first.txt")
    with open_site(engine, "test", params(), []) as site:
        (ended,) = site.run([Job("dies", [count, ("python", "stage.py")])])
        assert (ended.clone / "first.txt").read_text() == "once\n"  # it is not run again
        assert (ended.clone / "steps.txt").read_text() == "step\nstep\n"
    assert "dies: its job has died; restart 1 of 2, from its checkpoint" in capsys.readouterr().err


@needs_submitit
@pytest.mark.long
def test_a_job_that_always_dies_is_an_error_and_keeps_what_has_ended(project: Path) -> None:
    jobs = [Job("good", [("true",)]), Job("bad", [("sh", "-c", "kill -9 $$")])]
    names = []

    def run_all() -> None:
        with open_site("local", "test", params(restarts=1), []) as site:
            for ended in site.run(jobs):
                names.append(ended.name)  # noqa: PERF401 (a list would be lost with the error)

    with pytest.raises(UserError, match=r"bad: its job ended 2 times without a result"):
        run_all()
    assert names == ["good"]
    (folder,) = (project / FOLDER).glob("*")
    outcome = folder / "0" / OUTCOME
    before = outcome.stat().st_mtime_ns
    # The same command goes on: what has ended is not run again.
    (folder / "1" / "clone" / "mended").touch()
    (folder / "1" / "commands.json").write_text(
        json.dumps({"cores": 1, "commands": [["test", "-e", "mended"]]})
    )
    with open_site("local", "test", params(), []) as site:
        assert {ended.name for ended in site.run(jobs)} == {"good", "bad"}
        assert outcome.stat().st_mtime_ns == before


def test_two_workers_of_a_job_do_not_run_at_the_same_time(project: Path, tmp_path: Path) -> None:
    """As where one is taken for dead, or two commands run the same job."""
    script = "echo in >> log.txt; sleep 1; echo out >> log.txt"
    folder = tmp_path / "job"
    make_ready(Job("slow", [("sh", "-c", script)]), folder, 1)
    words = ("python", "-m", "stages.tools.jobs.worker", str(folder))
    workers = [subprocess.Popen(words, cwd=folder / "clone") for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert (folder / "clone/log.txt").read_text() == "in\nout\n"


def test_a_worker_ends_with_what_has_started_it(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    make_ready(Job("slow", [("true",), ("sleep", "100")]), folder, 1)
    script = f"python -m stages.tools.jobs.worker {folder} & wait"
    with subprocess.Popen(("sh", "-c", script), cwd=folder / "clone") as shell:
        end = time.monotonic() + 60
        while not (folder / PROGRESS).exists() and time.monotonic() < end:
            time.sleep(0.1)
        os.kill(shell.pid, signal.SIGKILL)
    begin = time.monotonic()
    run(folder / "clone", "python", "-c", "import filelock; filelock.FileLock('../lock').acquire()")
    assert time.monotonic() - begin < 30
    assert not (folder / OUTCOME).exists()


def test_a_stage_does_not_see_the_cluster(project: Path, tmp_path: Path) -> None:
    """Else Lightning Fabric would take the job for one process of a run on several nodes."""
    folder = tmp_path / "job"
    make_ready(Job("env", [("sh", "-c", "env > env.txt")]), folder, 3)
    environment = {**os.environ, "SLURM_NTASKS": "4", "SUBMITIT_EXECUTOR": "slurm"}
    words = ("python", "-m", "stages.tools.jobs.worker", str(folder))
    subprocess.run(words, cwd=folder / "clone", env=environment, check=True)
    variables = (folder / "clone/env.txt").read_text()
    assert "SLURM" not in variables
    assert "SUBMITIT" not in variables
    assert "EVIDENCE_SLOTS=3" in variables


@needs_submitit
def test_slurm_that_is_not_there_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with (
        pytest.raises(UserError, match="--on slurm: sbatch is not on PATH"),
        open_site("slurm", "test", params(), []),
    ):
        pass


def test_params_without_the_section_are_as_before(project: Path) -> None:
    change_params(project, lambda content: content.pop("cluster"))
    assert load_params().cluster is None
    with (
        pytest.raises(UserError, match=r"params\.yaml: cluster: this section is missing"),
        open_site("local", "test", load_params(), []),
    ):
        pass


def test_a_wrong_section_is_refused(project: Path) -> None:
    change_params(project, lambda content: content["cluster"].update(minute=3))
    line = evidence_refused(project, "bench", "--task", "workshop", "--on", "slurm")
    assert "cluster.minute: unknown key; the nearest known key is 'minutes'" in line


@needs_submitit
@pytest.mark.long
def test_a_cluster_that_takes_no_job_is_one_line(
    project: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(
            UserError, match=r"x: the cluster does not take the job: .*Invalid partition"
        ),
        open_site("slurm", "test", params(partition="absent"), []) as site,
    ):
        list(site.run([Job("x", [("true",)])]))
    assert capsys.readouterr().err == ""


@needs_submitit
@pytest.mark.long
def test_the_table_of_a_bench_is_the_same_wherever_it_ran(
    small: Path, tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shutil.copytree(small, tmp_path / "project", symlinks=True)
    change_params(project, lambda content: content["cluster"].update(memory_gb=2.0))
    commit(project, "memory")
    monkeypatch.chdir(project)
    section = load_params()
    task = load_tasks(section)["workshop"]
    tables = []
    for engine in ("", "local"):
        with open_site(engine, "bench", section, [task]) as site:
            metrics = run_repeats([task], {task.name: 2}, site)
        tables.append(results(task, KINDS[task.kind].bench, metrics[task.name]))
    assert tables[0] == tables[1]
    assert tables[0].count("\n| ") == 3
    command = ("bench", "--task", "workshop", "--repeats", "2", "--on", "slurm")
    assert f"\n{tables[0]}\n" in evidence(project, *command)


@needs_submitit
@pytest.mark.long
def test_a_sweep_on_a_cluster_is_that_of_one_machine(
    small: Path, tmp_path: Path, cluster: None
) -> None:
    changes = ("train.learning_rate=0.01", "train.learning_rate=0.015")
    logs, folders = [], []
    for name, options in (("cluster", ["--on", "slurm"]), ("machine", [])):
        project = shutil.copytree(small, tmp_path / name, symlinks=True)
        change_params(project, lambda content: content["cluster"].update(memory_gb=2.0))
        commit(project, "memory")
        evidence(project, "experiment", "workshop", *changes, "--why", "a sweep", *options)
        logs.append((project / "evidence/workshop/experiments.csv").read_text())
        folders.append(project)
        assert read_params(project)["tasks"]["workshop"]["train"]["learning_rate"] == 0.02
    assert logs[0] == logs[1]
    before = (small / "evidence/workshop/experiments.csv").read_text()
    assert logs[0].count("\n") == before.count("\n") + 2
    assert "failed" not in logs[0]
    names = [run(folder, "dvc", "exp", "list", "--name-only").stdout for folder in folders]
    assert sorted(names[0].split()) == sorted(names[1].split())
    assert len(names[0].split()) == 2
    assert run(folders[0], "git", "diff", "--name-only").stdout.split() == [
        "dvc.lock",
        *(f"evidence/workshop/{name}" for name in ("README.md", "experiments.csv", "index.html")),
    ]
