"""Adding a kind: docs/adding-a-kind.md, followed to the letter."""

import json
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from support.project import ROOT, copy_project, evidence, run

PAGE = (ROOT / "docs/adding-a-kind.md").read_text(encoding="utf-8")
REGISTRY = Path("stages/kinds/registry.py")
pytestmark = pytest.mark.slow


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def follow_the_page(project: Path) -> None:
    """Do what the page says, but for the data and the commands."""
    for block in code_blocks("python"):
        mark = re.match(r"# (stages/\S+)\n", block)
        if mark:
            path = project / mark[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.removeprefix(mark[0]))
        else:
            registry = project / REGISTRY
            registry.write_text(registry.read_text().replace("NAMES = (\n", f"NAMES = (\n{block}"))
    (section,) = code_blocks("yaml")
    with (project / "params.yaml").open("a") as file:
        file.write("\n" + indent(section, "  "))
    (note,) = code_blocks("markdown")
    (project / "data/review/lamps.md").write_text(note)
    (project / "evidence/lamps").mkdir(parents=True)
    (project / "evidence/lamps/experiments.csv").touch()


def draw_lamps(folder: Path) -> None:
    """Write images of lamps that are on and off: noise, bright and dark."""
    random = np.random.default_rng(0)
    for name, level in (("off", 40), ("on", 120)):
        (folder / name).mkdir(parents=True)
        for number in range(50):
            brightness = random.integers(level, level + 60)
            pixels = np.clip(random.normal(brightness, 30, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


# The stages and tools of one task, in one process: most of their time would be that of importing torch.
RUN = """
import json
from importlib import import_module
from stages.core.files import round_floats
from stages.core.runtime import pin_threads
from stages.core.task import STAGES
from stages.datasets.dataset import read_dataset
from stages.kinds.params import load_tasks

task = load_tasks()["lamps"]
pin_threads(task.runtime)
for stage in STAGES:
    import_module(f"stages.{stage}").run(task)
(prediction,) = task.module("predict").predict(task, ["data/raw/lamps/on/1.png"])
recomputed = task.module("recompute").recompute(task, read_dataset(task))
experiment = task.module("experiment")
results = task.evidence / "data" / experiment.RESULTS
print(json.dumps({
    "prediction": prediction.ranked(),
    "metrics": round_floats(recomputed.metrics),
    "verdict": experiment.compare(results, results, task).verdict,
}))
"""


@pytest.fixture(scope="module")
def lamps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a copy of the project in which the task of the page has run, and what its tools return."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    follow_the_page(project)
    draw_lamps(project / "data/raw/lamps")
    run(project, "python", "-m", "stages.params")
    printed = run(project, "python", "-c", RUN).stdout
    return project, json.loads(printed.strip().split("\n")[-1])


def test_a_kind_is_one_package_and_one_line(lamps: tuple[Path, dict[str, Any]]) -> None:
    project, _ = lamps
    changes = run(project, "git", "status", "--porcelain").stdout.split("\n")
    code = [line for line in changes if "stages/" in line]
    assert code == [f" M {REGISTRY}", "?? stages/kinds/brightness/"]
    diff = run(project, "git", "diff", "--numstat", str(REGISTRY)).stdout
    assert diff.split("\t")[:2] == ["1", "0"]


def test_its_task_has_evidence_like_every_other(lamps: tuple[Path, dict[str, Any]]) -> None:
    project, _ = lamps
    assert re.match(r"task: lamps\nimprovement: \+0\.\d+\n", evidence(project, "record", "lamps"))
    headings = [
        re.findall(r"^## (.*)$", (project / f"evidence/{name}/README.md").read_text(), re.MULTILINE)
        for name in ("lamps", "workshop")
    ]
    assert headings[0] == headings[1]


def test_its_tools_work(lamps: tuple[Path, dict[str, Any]]) -> None:
    project, results = lamps
    assert results["prediction"][0][0] == "on"
    metrics = json.loads((project / "evidence/lamps/data/metrics.json").read_text())
    assert results["metrics"] == metrics
    assert results["verdict"] != "better"


def test_the_dependencies_command_lists_its_code(lamps: tuple[Path, dict[str, Any]]) -> None:
    project, _ = lamps
    assert "stages/kinds/brightness/model.py" not in (project / "dvc.yaml").read_text()
    run(project, "python", "-m", "stages.tools.dependencies")
    pipeline = YAML(typ="safe").load((project / "dvc.yaml").read_text())
    dependencies = pipeline["stages"]["train"]["do"]["deps"]
    assert "stages/kinds/${item.kind}/train.py" in dependencies
    assert "stages/kinds/${item.kind}/model.py" in dependencies
