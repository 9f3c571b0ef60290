"""The grid holds: dvc.yaml names exactly the files that a stage uses, and no row reaches another."""

import ast
from pathlib import Path

import pytest
import yaml

from stages.shared.schema import Params
from stages.shared.task import STAGES
from stages.train import code

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
TASKS = Params.tasks()
# Params are tracked value by value; the stage `params` stands for the code that checks them.
CHECKED_FIRST = {ROOT / "stages/params.py", ROOT / "stages/shared/schema.py"}


def _imports(path: Path) -> set[Path]:
    """Return the project's modules that `path` imports when it runs (not for types only)."""
    found: set[Path] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = ROOT / (name.replace(".", "/") + ".py")
            if name.startswith("stages") and file.exists():
                found.add(file)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def used(*entries: Path) -> set[str]:
    todo, seen = list(entries), set[Path]()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imports(path) - CHECKED_FIRST
    return {path.relative_to(ROOT).as_posix() for path in seen}


def named_for(task: str, dep: str) -> str:
    dep = dep.replace("${key}", task)
    for name, value in PIPELINE["stages"]["prepare"]["foreach"].get(task, {}).items():
        dep = dep.replace(f"${{item.{name}}}", value)
    return dep


def declared(stage: str, task: str) -> set[str]:
    body = PIPELINE["stages"][stage]
    deps = body.get("do", body)["deps"]
    return {name for dep in deps if (name := named_for(task, dep)).startswith("stages/")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_exactly_the_files_that_its_cells_use(stage: str) -> None:
    deps = PIPELINE["stages"][stage]["do"]["deps"]
    idle = {file for file in deps if named_for(TASKS[0], file).startswith("stages/")}
    idle = {file for file in idle if named_for(TASKS[0], file).endswith(".py")}
    for task in TASKS:
        mine = used(ROOT / f"stages/{stage}.py", ROOT / f"stages/tasks/{task}/{stage}.py")
        named = declared(stage, task)
        assert mine <= named, f"{stage}@{task} uses {sorted(mine - named)}"
        assert all((ROOT / file).exists() for file in named)
        idle -= {file for file in idle if named_for(task, file) in mine}
    assert not idle, f"{stage} names what no row uses: {sorted(idle)}"


@pytest.mark.parametrize("task", TASKS)
def test_a_run_goes_on_only_with_the_code_that_began_it(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    hallway = ROOT / "stages/train.py"  # it only carries what the rooms return
    needed = used(hallway, ROOT / f"stages/tasks/{task}/train.py") - {"stages/train.py"}
    assert needed <= {file.as_posix() for file in code(task)}


@pytest.mark.parametrize("stage", ["params", "compare"])
def test_a_stage_for_all_tasks_names_exactly_the_files_that_it_uses(stage: str) -> None:
    checking = CHECKED_FIRST if stage == "params" else set()
    assert declared(stage, "") == used(ROOT / f"stages/{stage}.py", *checking)


@pytest.mark.parametrize("task", TASKS)
def test_no_row_reaches_into_another_and_no_shared_room_into_a_row(task: str) -> None:
    for path in (ROOT / "stages/shared").rglob("*.py"):
        assert not {f for f in _imports(path) if "tasks" in f.parts}, path
    for path in (ROOT / "stages/tasks" / task).glob("*.py"):
        others = {f for f in _imports(path) if "tasks" in f.parts and f.parent.name != task}
        assert not others, path


def test_every_stage_keeps_an_output_in_the_cache() -> None:
    # DVC skips a stage whose outputs are all in git, so that a forged one is never made again.
    for name, stage in PIPELINE["stages"].items():
        outs = stage.get("do", stage)["outs"]
        assert any(isinstance(out, str) for out in outs), name


def test_one_word_names_the_stage_its_module_and_its_section() -> None:
    for stage in STAGES:
        assert stage in PIPELINE["stages"]
        assert (ROOT / f"stages/{stage}.py").exists()
        for task in TASKS:
            assert (ROOT / f"stages/tasks/{task}/{stage}.py").exists()
            section = Params.model_fields[task].annotation
            assert section is not None
            assert stage in section.model_fields
