"""dvc.yaml: the code dependencies are computed, every stage keeps an output in the cache."""

from typing import Any

import pytest
from support.project import ROOT

from stages.core.params import read_yaml
from stages.core.task import STAGES
from stages.kinds.registry import KINDS
from stages.tools.dependencies import CHECKED_BY_VALUE, KIND_FOLDER, closure, rewrite
from stages.train import code_files

PIPELINE = read_yaml(ROOT / "dvc.yaml")


def body(stage: str) -> dict[str, Any]:
    entry: dict[str, Any] = PIPELINE["stages"][stage]
    return dict(entry.get("do", entry))


def test_the_code_dependencies_are_those_that_the_command_computes() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert rewrite(text) == text, "run: python -m stages.tools.dependencies"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_file_that_it_imports(stage: str, kind: str) -> None:
    entries = [ROOT / f"stages/{stage}.py", ROOT / KIND_FOLDER / kind / f"{stage}.py"]
    imported = closure(*(path.relative_to(ROOT) for path in entries), excluded=CHECKED_BY_VALUE)
    listed = {dep.replace("${item.kind}", kind) for dep in body(stage)["deps"]}
    assert imported <= listed


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_has_the_code_that_began_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    entry = KIND_FOLDER / kind / "train.py"
    imported = closure(entry, excluded=CHECKED_BY_VALUE)
    assert imported <= {path.as_posix() for path in code_files(kind)}


def test_every_stage_keeps_an_output_in_the_cache() -> None:
    # DVC skips a stage whose outputs are all in git, so a forged one would never be computed again.
    for stage in PIPELINE["stages"]:
        assert any(isinstance(out, str) for out in body(stage)["outs"]), stage


def test_tasks_are_data() -> None:
    """A new task is an entry in params.yaml: no file of the pipeline or of its code names one."""
    for stage in STAGES:
        assert PIPELINE["stages"][stage]["foreach"] == "${tasks}"
    for path in [ROOT / "dvc.yaml", *(ROOT / "stages").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        # The other two names are words of the language as well.
        assert not {name for name in ("generative", "workshop") if f'"{name}"' in text}, path


def test_one_word_names_the_stage_its_module_and_its_section() -> None:
    for stage in STAGES:
        assert (ROOT / f"stages/{stage}.py").exists()
        for name, kind in KINDS.items():
            assert (ROOT / KIND_FOLDER / name / f"{stage}.py").exists()
            assert stage in kind.schema.model_fields
