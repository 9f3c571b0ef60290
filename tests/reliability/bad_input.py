"""Mutated params and mutated data: each gets exit status 0, or one clear line and exit status 2."""

import contextlib
import io
import random
import re
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from support.images import image_task, make_folder
from support.project import ROOT, copy_project, default_task, new_project, run
from support.texts import text_task, write_texts

from reliability.data_mutants import TABLES, mutate_folder, mutate_table
from reliability.text_mutants import mutate_yaml
from reliability.trials import Trial, difference, file_digests, run_to_end, spread
from stages import params as params_stage
from stages import prepare as prepare_stage
from stages.core.errors import exit_on_user_error
from stages.core.task import Task
from stages.kinds.sources import check_sources

SECONDS = 30  # that a mutation may take
_OTHER_PROCESSES = 25  # of as many mutated params, one goes through a process, and one through DVC
_LONGEST_LINE = 1300  # characters that can still be read


class TooSlowError(Exception):
    """A mutation took longer than it may."""


def call(function: Callable[[], object]) -> tuple[int, list[str]]:
    """Call what a command would run in this process; return its exit status and its lines on stderr.

    Status 1 is an error that no user can read; the last line is where it was raised.
    """

    def interrupt(*_: object) -> None:
        raise TooSlowError(f"no answer in {SECONDS} s")

    errors, previous = io.StringIO(), signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            function()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 (any other error is what is looked for)
        status = 1
        errors.write("\n" + traceback.format_exc()[-600:])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    lines = errors.getvalue().split("\n")
    return status, [line for line in lines if line and not re.search(r", \d+%$", line)]  # progress


def judge(status: int, lines: list[str], prefix: str) -> tuple[str, str]:
    """Return the outcome of a command on bad input, and what is wrong with it ("" for nothing).

    Args:
        status: its exit status.
        lines: on stderr; before the last there may be remarks.
        prefix: with which each of its lines starts.
    """
    if status == 0:
        return "accepted", ""
    if status not in {2, 3}:
        return "", f"exit status {status}: {' | '.join(lines[-4:])}"
    if not lines or not all(line.startswith(prefix) and line.isprintable() for line in lines):
        return "", f"a line that is not one of ours: {lines!r}"[:600]
    line = lines[-1]
    if len(line) > _LONGEST_LINE:
        return "", f"a line of {len(line)} characters: {line[:300]}"
    return "one line, exit status 2", ""


def mutated_params(
    folder: Path, count: int, seed: int, *, processes: bool = True
) -> Iterator[Trial]:
    """Yield what becomes of `count` mutations of params.yaml.

    Args:
        folder: for the projects.
        count: of mutations; of every 25, one is given to `python -m stages.params` and one to `dvc repro`
            as well.
        seed: of the mutations.
        processes: False leaves those out.
    """
    draw = random.Random(seed)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    plain, whole = folder / "plain", folder / "whole"
    plain.mkdir(parents=True)
    whole.mkdir()
    new_project(plain)
    shutil.copytree(ROOT / "data/raw", plain / "data/raw", dirs_exist_ok=True)
    copy_project(whole)
    for project in (plain, whole):
        for stage in ("prepare", "train"):
            for task in ("image", "sentiment", "generative", "workshop"):
                path = project / f"data/{stage}/{task}/output.bin"
                path.parent.mkdir(parents=True)
                path.write_bytes(b"an output")
    before = {project: file_digests(project) for project in (plain, whole)}

    def check(number: int) -> Trial:
        name, data = mutate_yaml(text, draw)
        (plain / "params.yaml").write_bytes(data)
        with contextlib.chdir(plain):
            status, lines = call(params_stage.main)
        outcome, problem = judge(status, lines, "params: ")
        problem = problem or _changed(plain, before[plain], accepted=status == 0)
        if processes and number % _OTHER_PROCESSES == 0:
            problem = problem or _in_a_process(
                whole, data, status, folder / "scratch", before[whole]
            )
        if processes and number % _OTHER_PROCESSES == _OTHER_PROCESSES // 2:
            problem = problem or _through_dvc(whole, data, folder / "scratch", before[whole])
        if problem:
            (folder / f"params-{number}.yaml").write_bytes(data)
        return Trial("`params.yaml`", outcome, problem, f"seed {seed}, number {number}: {name}")

    yield from spread(count, check)


def _changed(project: Path, before: dict[str, str], *, accepted: bool) -> str:
    """Return which files differ; the outputs of tasks that accepted params do not name may be gone."""
    changes = {"params.yaml", "data/params/valid.txt"}
    after = file_digests(project)
    for path in [path for path in before if path.endswith("output.bin") and path not in after]:
        if accepted:
            (project / path).parent.mkdir(parents=True)
            (project / path).write_bytes(b"an output")
            changes.add(path)
    kept = {path: digest for path, digest in before.items() if path not in changes}
    return difference(kept, {path: after[path] for path in after if path not in changes})


def _in_a_process(
    project: Path, data: bytes, expected: int, scratch: Path, before: dict[str, str]
) -> str:
    (project / "params.yaml").write_bytes(data)
    status, output = run_to_end(project, ("python", "-m", "stages.params"), scratch)
    if status != expected or "Traceback" in output or (status and output.count("\n")):
        return f"as a process: exit status {status}: {output[-300:]}"
    return _changed(project, before, accepted=status == 0)


def _through_dvc(project: Path, data: bytes, scratch: Path, before: dict[str, str]) -> str:
    (project / "params.yaml").write_bytes(data)
    status, output = run_to_end(project, ("timeout", "600", "dvc", "repro", "params"), scratch)
    if "Traceback" in output or status not in {0, 255}:
        return f"through dvc repro: exit status {status}: {output[-300:]}"
    if status == 0:  # DVC has noted the stage
        run(project, "git", "checkout", "--quiet", "--", "dvc.lock")
    return _changed(project, before, accepted=status == 0)


# --- data
def image_classes(folder: Path) -> Task:
    """Return a task with a folder of images for each class."""
    return image_task(make_folder(folder / "raw", "abc", 12))


def image_splits(folder: Path) -> Task:
    """Return a task with folders of splits."""
    for number, split in enumerate(("train", "test")):
        make_folder(folder / "raw" / split, "ab", 14, start=100 * number)
    return image_task(folder / "raw")


def image_table(folder: Path) -> Task:
    """Return a task with images and a table of their labels."""
    root = make_folder(folder / "raw", "abc", 12)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    table = pd.DataFrame(
        {"file": files, "label": [name[0] for name in files], "group": range(len(files))}
    )
    (root / "labels.csv").write_text(table.to_csv(index=False))
    labels = {
        "path": "labels.csv",
        "file": "file",
        "label": "label",
        "group": "group",
        "split": None,
    }
    return image_task(root, layout="table", labels=labels)


def text_csv(folder: Path) -> Task:
    """Return a task with a CSV file of texts."""
    return text_task(write_texts(folder, 80))


def text_tsv(folder: Path) -> Task:
    """Return a task with a TSV file of texts."""
    path = write_texts(folder, 80)
    path.with_suffix(".tsv").write_text(path.read_text().replace(",", "\t"))
    path.unlink()
    return text_task(path.with_suffix(".tsv"))


def text_splits(folder: Path) -> Task:
    """Return a task with a folder of two tables."""
    path = write_texts(folder, 160)
    header, *rows = path.read_text().splitlines()
    path.unlink()
    (folder / "raw").mkdir()
    for name, part in (("train", rows[:110]), ("test", rows[110:])):
        (folder / f"raw/{name}.csv").write_text("\n".join([header, *part]) + "\n")
    return text_task(folder / "raw")


def text_parquet(folder: Path) -> Task:
    """Return a task with a Parquet file of texts."""
    path = write_texts(folder, 80)
    pd.read_csv(path).to_parquet(path.with_suffix(".parquet"))
    path.unlink()
    return text_task(path.with_suffix(".parquet"))


SOURCES: dict[str, Callable[[Path], Task]] = {
    "images in folders": image_classes,
    "images in folders of splits": image_splits,
    "images and a table of labels": image_table,
    "CSV": text_csv,
    "TSV": text_tsv,
    "CSV files of splits": text_splits,
    "Parquet": text_parquet,
}


def mutate_source(task: Task, draw: random.Random) -> str:
    """Change the raw data of a task; return what was done."""
    path = Path(task.params.prepare.path)
    tables = sorted(file for file in [path, *path.rglob("*")] if file.suffix in TABLES)
    if tables and (task.kind.startswith("text") or draw.random() < 0.6):
        return mutate_table(draw.choice(tables), draw)
    return mutate_folder(path, draw)


def _tree(folder: Path) -> dict[str, str]:
    """Return the digest of each file, and the type of what is no file."""
    others = {
        path.relative_to(folder).as_posix(): "other"
        for path in folder.rglob("*")
        if not path.is_file()
    }
    return others | file_digests(folder)


def mutated_data(folder: Path, count: int, seed: int) -> Iterator[Trial]:
    """Yield what becomes of `count` mutations of images and tables, checked and prepared.

    Args:
        folder: for the data.
        count: of mutations.
        seed: of the mutations.
    """
    draw = random.Random(seed)
    default_task("image")

    def check(number: int) -> Trial:
        source = [*SOURCES][number % len(SOURCES)]
        where = folder / str(number)
        where.mkdir(parents=True)
        task = SOURCES[source](where)
        changes = [mutate_source(task, draw) for _ in range(draw.choice([1, 1, 2]))]
        before = _tree(where)

        def run() -> None:
            with exit_on_user_error(f"prepare@{task.name}"):
                check_sources({task.name: task})
                prepare_stage.run(task)

        with contextlib.chdir(where):
            status, lines = call(run)
        outcome, problem = judge(status, lines, f"prepare@{task.name}: ")
        output = task.folder("prepare").as_posix()
        after = {
            path: digest
            for path, digest in _tree(where).items()
            if not path.startswith(output) and path not in {"data", "data/prepare"}
        }
        prepared = {path.name for path in (where / output).glob("*")}
        problem = problem or difference(before, after) or _half_written(prepared, status)
        if not problem:
            shutil.rmtree(where)
        return Trial(
            source, outcome, problem, f"seed {seed}, number {number}: {', '.join(changes)}"
        )

    yield from spread(count, check)


def _half_written(prepared: set[str], status: int) -> str:
    temporary = sorted(name for name in prepared if name.startswith("."))
    if temporary:
        return f"temporary files: {', '.join(temporary)}"
    if status and prepared:
        return f"outputs after an error: {', '.join(sorted(prepared))}"
    return ""
