"""A pipeline that is not this project's: dvc.yaml, and other files of stages."""

from typing import Any

from support.forgery import without_path

from attacks.attack import DATA, METRICS, OTHER_CODE, TASK, UNCHECKED, Target, family

attack = family("stages of dvc.yaml")
Yaml = dict[str, Any]


def edit_stage(target: Target, name: str, change: Any) -> None:
    """Change a stage in dvc.yaml; of one for each task, what is done for it."""

    def edit(content: Yaml) -> None:
        stage = content["stages"][name]
        change(stage.get("do", stage))

    target.edit_yaml("dvc.yaml", edit)


@attack("command", quick=True)
def command_replaced(target: Target) -> None:
    """Another command, in the lock as well."""
    target.add("forge.py", target.python)
    target.replace("dvc.yaml", "python -m stages.evaluate ${key}", "python forge.py ${key}")
    target.edit_lock(
        lambda stages: stages[f"evaluate@{TASK}"].update(cmd=f"python forge.py {TASK}")
    )


@attack("command")
def command_made_a_list(target: Target) -> None:
    """A second command behind the stage's own."""
    commands = [f"python -m stages.evaluate {TASK}", target.shell]
    edit_stage(target, "evaluate", lambda stage: stage.update(cmd=commands))
    target.edit_lock(lambda stages: stages[f"evaluate@{TASK}"].update(cmd=commands))


@attack("command")
def command_extended(target: Target) -> None:
    """A second command on a further line, far to the right."""
    command = f"python -m stages.evaluate {TASK}" + " " * 300 + f"\n{target.shell}"
    edit_stage(target, "evaluate", lambda stage: stage.update(cmd=command))
    target.edit_lock(lambda stages: stages[f"evaluate@{TASK}"].update(cmd=command))


@attack("command")
def command_with_a_look_alike_letter(target: Target) -> None:
    """The module `stages.evaluate` with a Cyrillic letter."""
    name = "evalu\N{CYRILLIC SMALL LETTER A}te"
    target.add(f"stages/{name}.py", target.python)
    target.replace("dvc.yaml", "-m stages.evaluate ${key}", f"-m stages.{name} ${{key}}")
    target.edit_lock(
        lambda stages: stages[f"evaluate@{TASK}"].update(cmd=f"python -m stages.{name} {TASK}")
    )


@attack("dvc.yaml", status=OTHER_CODE)
def dependency_removed(target: Target) -> None:
    """The code of a stage is not among its dependencies, so that DVC never runs it again."""
    path = "stages/evaluate.py"
    edit_stage(target, "evaluate", lambda stage: stage["deps"].remove(path))
    target.edit_lock(lambda stages: without_path(stages[f"evaluate@{TASK}"]["deps"], path))


@attack("dvc.yaml", status=OTHER_CODE)
def params_no_longer_named(target: Target) -> None:
    """The params of training are not among its dependencies."""
    edit_stage(target, "train", lambda stage: stage.pop("params"))
    target.edit_lock(lambda stages: stages[f"train@{TASK}"].pop("params"))


@attack("wdir")
def run_in_another_folder(target: Target) -> None:
    """A stage that runs in a folder with modules of its own."""
    target.add("elsewhere/stages/evaluate.py", target.python)
    edit_stage(target, "evaluate", lambda stage: stage.update(wdir="elsewhere"))


@attack("frozen", status=OTHER_CODE)
def stage_frozen(target: Target) -> None:
    """Training is frozen, so that DVC never runs it again."""
    edit_stage(target, "train", lambda stage: stage.update(frozen=True))


@attack("dvc.yaml", status=OTHER_CODE)
def stage_always_changed(target: Target) -> None:
    """A stage of which DVC compares nothing."""
    edit_stage(target, "evaluate", lambda stage: stage.update(always_changed=True))


@attack("dvc.yaml", status=OTHER_CODE)
def output_persists(target: Target) -> None:
    """Predictions that the stage finds instead of making them."""
    edit_stage(
        target,
        "evaluate",
        lambda stage: stage.update(outs=[{"data/evaluate/${key}": {"persist": True}}]),
    )


@attack("dvc.yaml", status=OTHER_CODE)
def plots_from_another_place(target: Target) -> None:
    """`dvc plots show` shows other tables than the evaluated ones."""
    target.add("better/loss.csv", "epoch,train_loss,validation_loss\n0,0,0\n")
    target.edit_yaml("dvc.yaml", lambda content: content.update(plots=["better/loss.csv"]))


@attack("dvc.yaml", status=OTHER_CODE)
def metrics_from_another_place(target: Target) -> None:
    """`dvc metrics show` shows a file that no stage writes."""
    target.add("better.json", '{"accuracy": 1.0}')
    target.edit_yaml("dvc.yaml", lambda content: content.update(metrics=["better.json"]))


@attack("dvc.yaml")
def loop_over_fewer_tasks(target: Target) -> None:
    """The stages are made for a list that leaves out the task that failed."""
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"].update(harder=dict(params["tasks"][TASK])),
    )

    def change(content: Yaml) -> None:
        for stage in content["stages"].values():
            if "foreach" in stage:
                stage["foreach"] = {TASK: dict.fromkeys(("kind",), "image_classification")}
                stage["foreach"][TASK]["prepare"] = {"path": "data/raw/stripes"}

    target.edit_yaml("dvc.yaml", change)


@attack("dvc.yaml", status=UNCHECKED)
def variables_shadow_params(target: Target) -> None:
    """Variables of dvc.yaml that give its templates other values than params.yaml."""
    target.edit_yaml(
        "dvc.yaml", lambda content: content.update(vars=[{"tasks": {TASK: {"kind": "other"}}}])
    )


@attack("spoil", status=OTHER_CODE)
def stage_spoils_outputs(target: Target) -> None:
    """A stage hung before evaluate that makes the baseline worse in place."""
    target.add("spoil.py", "import sys\nopen('spoiled.txt', 'w').write('done')\n")
    target.add("spoiled.txt", "done")

    def change(content: Yaml) -> None:
        content["stages"]["spoil"] = {
            "cmd": "python spoil.py",
            "deps": ["spoil.py", f"data/baseline/{TASK}"],
            "outs": [{"spoiled.txt": {"cache": False}}],
        }
        content["stages"]["evaluate"]["do"]["deps"].append("spoiled.txt")

    target.edit_yaml("dvc.yaml", change)
    target.relock()


@attack("sub/dvc.yaml", status=UNCHECKED)
def stages_in_a_second_file(target: Target) -> None:
    """A stage of another dvc.yaml, with the name of this project's."""
    target.add("sub/dvc.yaml", f"stages:\n  evaluate@{TASK}:\n    cmd: echo 1 > a\n    outs: [a]\n")
    target.add("sub/a", "1\n")


@attack("metrics.json.dvc", status=UNCHECKED)
def output_of_two_makers(target: Target) -> None:
    """The metrics are data that DVC tracks, and the output of a stage as well."""
    target.forge_metric()
    target.add(
        "metrics/metrics.json.dvc",
        f"outs:\n- md5: {'a' * 32}\n  size: 3\n  hash: md5\n  path: metrics.json\n",
    )


@attack(DATA)
def pack_kept_out_of_git(target: Target) -> None:
    """The pack is in a cache that nobody has, instead of in git."""

    def change(stage: Yaml) -> None:
        stage["outs"] = [
            DATA.replace(TASK, "${key}")
            if isinstance(out, dict) and next(iter(out)).endswith("/data")
            else out
            for out in stage["outs"]
        ]

    edit_stage(target, "pack", change)
    target.git("rm", "-r", "--quiet", "--cached", DATA)
    target.append(".gitignore", f"/{DATA}/\n")


@attack("metrics/raw.json")
def metrics_written_elsewhere(target: Target) -> None:
    """The stage's metrics go elsewhere, and the file that everybody reads belongs to no stage."""
    target.add("metrics/raw.json", target.path(METRICS).read_bytes())
    target.forge_metric()
    target.replace("dvc.yaml", f"- {METRICS}", "- metrics/raw.json")
    target.edit_lock(
        lambda stages: next(
            out for out in stages["compare"]["outs"] if out["path"] == METRICS
        ).update(path="metrics/raw.json")
    )


@attack("dvc.yaml", status=UNCHECKED)
def pipeline_with_a_stage_twice(target: Target) -> None:
    """A key twice, of which parsers take either."""
    target.append("dvc.yaml", "stages:\n  compare:\n    cmd: 'true'\n")


@attack("no stage", status=UNCHECKED)
def pipeline_removed(target: Target) -> None:
    """There is no pipeline, only results."""
    target.remove("dvc.yaml")


@attack("dvc.yaml", status=OTHER_CODE)
def outputs_from_another_remote(target: Target) -> None:
    """Weights that are fetched from the attacker's place."""
    edit_stage(
        target,
        "train",
        lambda stage: stage.update(outs=[{"data/train/${key}": {"remote": "far"}}]),
    )
    target.append(".dvc/config", "['remote \"far\"']\n    url = http://canary.example/\n")


@attack("both a dependency and an output", status=UNCHECKED)
def depends_on_itself(target: Target) -> None:
    """A circle of stages, which no order can run."""
    edit_stage(target, "prepare", lambda stage: stage["deps"].append(METRICS))
