"""What a repository must have, and the attacker has taken away."""

from typing import Any

from support.forgery import without_path

from attacks.attack import DATA, PACK, TASK, UNCHECKED, Target, family

attack = family("parts removed")
Yaml = dict[str, Any]


def remove_stage(target: Target, name: str) -> None:
    """Remove a stage from dvc.yaml and dvc.lock."""
    target.edit_yaml("dvc.yaml", lambda content: content["stages"].pop(name))

    def change(stages: Yaml) -> None:
        for key in list(stages):
            if key.partition("@")[0] == name:
                del stages[key]

    target.edit_lock(change)


def remove_output(target: Target, stage: str, path: str) -> None:
    """Remove an output of a stage from dvc.yaml, dvc.lock and git."""
    target.remove(path)
    pattern = path.replace(TASK, "${key}")

    def change(content: Yaml) -> None:
        outs = content["stages"][stage]["do"]["outs"]
        outs[:] = [out for out in outs if not isinstance(out, dict) or pattern not in out]

    target.edit_yaml("dvc.yaml", change)
    target.edit_lock(lambda stages: without_path(stages[f"{stage}@{TASK}"]["outs"], path))


@attack(f"check@{TASK}", quick=True)
def stage_removed(target: Target) -> None:
    """The checks that failed are no stage any more, and the accuracy in the pack is forged."""
    remove_stage(target, "check")

    def change(metrics: Yaml) -> None:
        metrics["current"]["accuracy"] = 0.999999

    target.edit_json(f"{DATA}/metrics.json", change)
    target.relock_results()


@attack(f"check@{TASK}", tier="metrics")
def stage_removed_before_metrics(target: Target) -> None:
    """The same at the tier that computes figures."""
    stage_removed(target)


@attack("compare")
def merging_removed(target: Target) -> None:
    """The stage that merges all metrics is gone, and its file is forged."""
    target.forge_metric()
    remove_stage(target, "compare")


@attack("params")
def params_check_removed(target: Target) -> None:
    """Nothing checks params.yaml."""
    remove_stage(target, "params")
    target.edit_yaml(
        "dvc.yaml",
        lambda content: content["stages"]["prepare"]["do"]["deps"].remove("data/params/valid.txt"),
    )
    target.edit_lock(
        lambda stages: without_path(stages[f"prepare@{TASK}"]["deps"], "data/params/valid.txt")
    )


@attack(f"pack@{TASK}")
def pack_stage_removed(target: Target) -> None:
    """The page is not made by any stage, and says what the attacker likes."""
    remove_stage(target, "pack")
    target.path(f"{PACK}/index.html").write_text("<h1>accuracy 100%</h1>")


@attack(f"pack@{TASK}")
def pack_stage_renamed(target: Target) -> None:
    """The stage has another name, under which nothing is known of it."""
    target.replace("dvc.yaml", "  pack:\n", "  packing:\n")
    target.edit_lock(lambda stages: stages.update({f"packing@{TASK}": stages.pop(f"pack@{TASK}")}))


@attack("README.md")
def page_removed(target: Target) -> None:
    """A page is gone, and no output any more."""
    remove_output(target, "pack", f"{PACK}/README.md")


@attack(f"{PACK}/data")
def data_of_the_pack_removed(target: Target) -> None:
    """The figures are gone; what is left are pages that say them."""
    remove_output(target, "pack", DATA)


@attack(f"{PACK}/pictures")
def pictures_removed(target: Target) -> None:
    """The pictures are gone, and their folder is no output any more."""
    remove_output(target, "pack", f"{PACK}/pictures")


@attack("predictions.csv")
def predictions_removed(target: Target) -> None:
    """The predictions are gone, and the lock knows of none."""
    target.remove(f"{DATA}/predictions.csv")
    target.relock_results()


@attack("failure_cases.csv")
def failures_removed(target: Target) -> None:
    """The list of mistakes is gone, and the lock knows of none."""
    target.remove(f"{DATA}/failure_cases.csv")
    target.relock_results()


@attack("plots/reliability")
def plotted_table_removed(target: Target) -> None:
    """A plot is gone, and the lock knows of none."""
    target.remove(f"plots/reliability/{TASK}.csv")
    target.relock_results()


@attack("harder")
def task_without_results(target: Target) -> None:
    """A task that has params and no results: it failed, or was never run."""
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"].update(harder=dict(params["tasks"][TASK])),
    )


@attack(f"{PACK}/data")
def pack_removed(target: Target) -> None:
    """The whole pack is gone from git."""
    target.remove(PACK)


@attack("imagenet", tier="metrics")
def pack_of_no_task(target: Target) -> None:
    """A pack of a task that params.yaml does not have."""
    for name in ("README.md", "data/metrics.json"):
        target.add(f"evidence/imagenet/{name}", target.path(f"{PACK}/{name}").read_bytes())


@attack("tasks", status=UNCHECKED)
def all_params_removed(target: Target) -> None:
    """There are no params."""
    target.remove("params.yaml")


@attack("dvc.lock")
def all_hashes_removed(target: Target) -> None:
    """No output has a hash."""
    target.forge_metric()

    def change(stages: Yaml) -> None:
        for stage in stages.values():
            for out in stage["outs"]:
                out.pop("md5", None)
                out.pop("hash", None)

    target.edit_lock(change)


@attack("DVC", status=UNCHECKED)
def repository_without_dvc(target: Target) -> None:
    """The results are there, and no DVC repository."""
    target.git("rm", "-r", "--quiet", "--cached", ".dvc")
    target.remove(".dvc")
