"""Paths that lead out of the clone, or around in it."""

from typing import Any

from attacks.attack import METRICS, OUTSIDE, PACK, TASK, UNCHECKED, Target, family
from attacks.pipeline import edit_stage

attack = family("paths that lead elsewhere")


def edit_prepare(target: Target, **changes: Any) -> None:
    """Change the params of the stage prepare."""
    target.edit_yaml(
        "params.yaml", lambda params: params["tasks"][TASK]["prepare"].update(**changes)
    )


@attack("prepare", tier="metrics")
def download_outside(target: Target) -> None:
    """A folder for downloads above the clone."""
    path = f"../../../{target.canary.name}"
    edit_prepare(target, source="torchvision", dataset="MNIST", path=path, stripes=None)


@attack("prepare", tier="metrics")
def download_to_an_absolute_place(target: Target) -> None:
    """A folder for downloads anywhere."""
    path = str(target.canary)
    edit_prepare(target, source="torchvision", dataset="MNIST", path=path, stripes=None)


@attack("prepare", tier="metrics")
def data_of_the_reviewer(target: Target) -> None:
    """Raw data that are the reviewer's own files."""
    edit_prepare(target, source="folder", path="/etc", stripes=None)


@attack("prepare", tier="metrics")
def data_without_end(target: Target) -> None:
    """Raw data that are a device which never ends."""
    edit_prepare(target, source="folder", path="/dev/zero", stripes=None)


@attack("prepare", tier="metrics", status=UNCHECKED)
def data_of_the_system(target: Target) -> None:
    """Raw data that are all files of the machine."""
    edit_prepare(target, source="folder", path="/", stripes=None)


@attack("train", tier="metrics")
def weights_from_a_device(target: Target) -> None:
    """Weights to start from that never end."""
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"][TASK]["train"].update(initial_weights="/dev/zero"),
    )


@attack("canary", status=UNCHECKED, quick=True)
def link_outside(target: Target) -> None:
    """A symbolic link to a file outside."""
    target.link("canary", str(target.canary))


@attack("link", status=UNCHECKED)
def link_outside_by_another(target: Target) -> None:
    """A link to a link that leads out, folder by folder."""
    target.link("a/link", "..")
    target.link("b/link", "../a/link/../../..")


@attack("data/raw/stripes", status=UNCHECKED)
def raw_data_linked_outside(target: Target) -> None:
    """Raw data that are a link to the root of the system."""
    target.link("data/raw/stripes", "/")


@attack("dvc.lock", status=UNCHECKED)
def lock_linked_outside(target: Target) -> None:
    """A lock that is a file of the system."""
    target.link("dvc.lock", "/etc/passwd")


@attack("loop", status=UNCHECKED)
def link_to_itself(target: Target) -> None:
    """Links that lead in a circle."""
    target.link("loop-a", "loop-b")
    target.link("loop-b", "loop-a")


@attack("data/prepare/workshop", status=OUTSIDE, tier="metrics")
def outputs_linked_into_the_pack(target: Target) -> None:
    """What prepare writes goes into the pack, through a link."""
    target.remove("data/prepare")
    target.link("data/prepare", "../evidence")


@attack(PACK)
def pack_linked_to_code(target: Target) -> None:
    """A pack that is a link to the folder of code."""
    target.link(PACK, "../stages")


@attack("canary")
def output_outside(target: Target) -> None:
    """A stage that writes above the clone."""
    path = f"../../../{target.canary.name}"
    edit_stage(target, "evaluate", lambda stage: stage["outs"].append({path: {"cache": False}}))


@attack("canary")
def output_at_an_absolute_place(target: Target) -> None:
    """A stage that writes anywhere."""
    path = str(target.canary)
    edit_stage(target, "evaluate", lambda stage: stage["outs"].append({path: {"cache": False}}))


@attack("evaluate")
def run_outside(target: Target) -> None:
    """A stage that runs in a folder above the clone."""
    edit_stage(target, "evaluate", lambda stage: stage.update(wdir="../../.."))


@attack("prepare@", status=UNCHECKED)
def task_named_like_a_path(target: Target) -> None:
    """A task whose name leads out of every folder of tasks."""
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"].update(
            {f"../../../{target.canary.name}": dict(params["tasks"][TASK])}
        ),
    )


@attack("params.yaml", status=OUTSIDE)
def tasks_that_differ_in_case(target: Target) -> None:
    """Two tasks that are one folder where names have no case."""
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"].update({TASK.upper(): dict(params["tasks"][TASK])}),
    )


@attack("params.yaml", status=OUTSIDE)
def params_linked_to_others(target: Target) -> None:
    """The params are a link to others in the repository."""
    text = target.path("params.yaml").read_text()
    target.add("other.yaml", text.replace("epochs: 4", "epochs: 5"))
    target.link("params.yaml", "other.yaml")


@attack(METRICS, status=OUTSIDE)
def folders_that_differ_in_case(target: Target) -> None:
    """Two files that are one where names have no case."""
    target.add(METRICS.title(), target.path(METRICS).read_bytes())
    target.forge_metric()
