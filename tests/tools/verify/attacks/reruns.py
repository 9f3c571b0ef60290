"""Forgeries that only a run of the stages shows, and code that runs then."""

import os
import pickle
import shutil

import numpy as np
from support.forgery import forge_predictions
from support.project import run

from attacks.attack import METRICS, OTHER_CODE, OUTSIDE, TASK, UNCHECKED, Target, family
from attacks.configuration import add_data
from stages.core.files import read_arrays, read_json, write

attack = family("run again", tier="predictions", seconds=300)
APPROVED = ["--yes"]


def follow(target: Target, *stages: str) -> None:
    """Run stages, as a forger does after the forgery, and lock everything."""
    for stage in stages:
        run(target.folder, "python", "-m", f"stages.{stage}", TASK)
    run(target.folder, "python", "-m", "stages.compare")
    target.relock()


class Bomb:
    """Runs a program when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@attack("evaluate@workshop")
def predictions_with_all_that_follows(target: Target) -> None:
    """Predictions that are nearly all right, with every metric, plot and page."""
    forge_predictions(target.folder, TASK)
    follow(target, "failures", "pack")


@attack("evaluate")
def weights_swapped(target: Target) -> None:
    """Weights of another seed."""
    folder = target.path(f"data/train/{TASK}")
    shutil.copy(folder / "weights-1.safetensors", folder / "weights-0.safetensors")
    target.relock()


@attack("evaluate", status=UNCHECKED)
def weights_pickled(target: Target) -> None:
    """Weights in a format that runs programs."""
    path = target.path(f"data/train/{TASK}/weights-0.safetensors")
    path.write_bytes(pickle.dumps(Bomb(target.shell)))
    target.relock()


@attack("baseline")
def baseline_spoiled(target: Target) -> None:
    """A baseline that is worse than its code makes it, with all that follows."""
    folder = target.path(f"data/baseline/{TASK}")
    predictions = read_arrays(folder / "test.safetensors")
    strongest = read_json(folder / "baseline.json")["strongest"]
    predictions[strongest] = np.roll(predictions[strongest], 1, axis=1)
    write(folder / "test.safetensors", predictions)
    follow(target, "evaluate", "failures", "pack")


@attack("pictures")
def pictures_swapped_and_locked(target: Target) -> None:
    """A mistake shown as a success, with its hash in the lock."""
    folder = target.path(f"evidence/{TASK}/pictures")
    shutil.copy(folder / "right-01.png", folder / "case-01.png")
    target.relock_results()


@attack("stages/evaluate.py", status=UNCHECKED)
def foreign_code_without_approval(target: Target) -> None:
    """Code that would run, and nobody has said that it may."""
    target.append("stages/evaluate.py", f"\n{target.python}")
    target.relock()


@attack("stages/evaluate.py", status=OTHER_CODE)
def foreign_code_writes_outside(target: Target) -> None:
    """Code that may run, and writes outside of the clone."""
    target.options += APPROVED
    target.append("stages/evaluate.py", f"\n{target.python}")
    target.relock()


@attack("stages/evaluate.py", status=OTHER_CODE)
def foreign_code_goes_on(target: Target) -> None:
    """Code that may run, and leaves a process that goes on when verify has ended."""
    target.options += APPROVED
    target.append(
        "stages/evaluate.py",
        "\nimport subprocess\nsubprocess.Popen(['sh', '-c', "
        f"'sleep 5; touch {target.canary}'], start_new_session=True)\n",
    )
    target.relock()


@attack("yaml.py", status=UNCHECKED)
def code_among_the_data(target: Target) -> None:
    """A module in the root that DVC fetches, and that git does not have."""
    add_data(target, "yaml.py", target.python.encode())


@attack("spoil", tier="retrain", status=OUTSIDE)
def outputs_spoiled_in_place(target: Target) -> None:
    """A stage hung before evaluate that makes the baseline worse, rerun with all that follows."""
    target.options += APPROVED
    target.add(
        "spoil.py",
        "import numpy as np\n"
        "from stages.core.files import read_arrays, read_json, write\n"
        "from pathlib import Path\n"
        f"folder = Path('data/baseline/{TASK}')\n"
        "arrays = read_arrays(folder / 'test.safetensors')\n"
        "name = read_json(folder / 'baseline.json')['strongest']\n"
        "arrays[name] = np.eye(3, dtype=np.float32)[(arrays[name].argmin(1))] * 0.9 + 0.03\n"
        "write(folder / 'test.safetensors', arrays)\n"
        "Path('spoiled.txt').write_text('done')\n",
    )

    def change(content: dict[str, dict[str, dict[str, dict[str, list[str]]]]]) -> None:
        content["stages"]["evaluate"]["do"]["deps"].append("spoiled.txt")

    target.edit_yaml("dvc.yaml", change)
    target.edit_yaml(
        "dvc.yaml",
        lambda content: content["stages"].update(
            spoil={
                "cmd": "python spoil.py",
                "deps": ["spoil.py", f"data/baseline/{TASK}"],
                "outs": [{"spoiled.txt": {"cache": False}}],
            }
        ),
    )
    run(target.folder, "python", "spoil.py")
    target.track("spoiled.txt")
    follow(target, "evaluate", "failures", "pack")


@attack(METRICS, tier="retrain")
def metric_locked_before_retraining(target: Target) -> None:
    """A figure that retraining would give back to the file, were it not compared before."""
    target.forge_metric()
    target.relock_results()
