"""Settings of DVC, and data that DVC would fetch to another place."""

import hashlib

from attacks.attack import METRICS, OTHER_CODE, OUTSIDE, UNCHECKED, Target, family
from attacks.pipeline import edit_stage

attack = family("settings of DVC")


@attack(METRICS, tier="metrics")
def cache_elsewhere(target: Target) -> None:
    """A cache and records in a folder outside."""
    target.path(".dvc/config").write_text(
        f"[core]\n    site_cache_dir = {target.canary}\n[cache]\n    dir = {target.canary}\n"
    )
    target.forge_metric()


@attack(".dvc/config.local")
def local_settings_in_git(target: Target) -> None:
    """Settings that are meant for one machine."""
    target.add(".dvc/config.local", f"[cache]\n    dir = {target.canary}\n")
    target.forge_metric()


@attack(".dvc/config.local", status=OTHER_CODE)
def local_settings_linked_to_git(target: Target) -> None:
    """The file that verify writes is a link to the settings of git."""
    target.link(".dvc/config.local", "../.git/config")


@attack(".dvc/tmp", status=OUTSIDE, quick=True)
def temporary_folder_linked(target: Target) -> None:
    """The folder in which DVC writes its records is a link to code."""
    target.link(".dvc/tmp", "../stages")
    target.forge_metric()


@attack(".dvc/config", status=OTHER_CODE)
def settings_damaged(target: Target) -> None:
    """Settings that DVC cannot read."""
    target.path(".dvc/config").write_text("[core\nremote = \n")


@attack("dvc.yaml", status=OTHER_CODE)
def params_in_a_program(target: Target) -> None:
    """Params in a file of Python."""
    target.add("conf.py", f"layers = 3\n{target.python}")
    edit_stage(target, "train", lambda stage: stage["params"].append({"conf.py": ["layers"]}))
    target.relock()


@attack("dvc.yaml", status=OTHER_CODE)
def variables_in_a_program(target: Target) -> None:
    """Variables of dvc.yaml in a file of Python."""
    target.add("conf.py", f"layers = 3\n{target.python}")
    target.edit_yaml("dvc.yaml", lambda content: content.update(vars=["conf.py"]))


@attack(METRICS, tier="metrics")
def data_from_a_program(target: Target) -> None:
    """Data of another repository, whose address is a program."""
    url = f"ext::sh -c {target.shell.replace(' ', '% ')}"
    target.add(
        "photos.dvc",
        "frozen: true\ndeps:\n- path: photos\n  repo:\n"
        f'    url: "{url}"\n    rev_lock: {"a" * 40}\n'
        f"outs:\n- md5: {'b' * 32}\n  size: 3\n  hash: md5\n  path: photos\n",
    )
    target.forge_metric()


def add_data(target: Target, path: str, content: bytes) -> None:
    """Add data that DVC would fetch from a store in the revision to a path."""
    name = hashlib.md5(content, usedforsecurity=False).hexdigest()
    target.add(f"store/files/md5/{name[:2]}/{name[2:]}", content)
    target.append(
        ".dvc/config", "['remote \"store\"']\n    url = ../store\n[core]\n    remote = store\n"
    )
    target.add(
        "photos.dvc",
        f"outs:\n- md5: {name}\n  size: {len(content)}\n  hash: md5\n  path: {path}\n",
    )


@attack(METRICS, tier="metrics")
def data_to_a_place_outside(target: Target) -> None:
    """Data whose path leads out of the clone."""
    target.forge_metric()
    add_data(target, f"../../../{target.canary.name}", b"evil\n")


@attack(METRICS, tier="metrics")
def data_to_an_absolute_place(target: Target) -> None:
    """Data whose path is absolute."""
    target.forge_metric()
    add_data(target, str(target.canary), b"evil\n")


@attack("", tier="metrics", status=UNCHECKED)
def data_in_the_settings_of_git(target: Target) -> None:
    """Data that are the clone's own settings of git, with a filter that runs a program."""
    target.add(".gitattributes", "* filter=evil\n")
    settings = (
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
        f'[filter "evil"]\n\tsmudge = "{target.shell}; cat"\n\tclean = "{target.shell}; cat"\n'
    )
    add_data(target, ".git/config", settings.encode())


@attack("yaml.py", tier="metrics", status=OTHER_CODE)
def data_that_hide_a_library(target: Target) -> None:
    """Data that are a module in the root, which git does not track."""
    add_data(target, "yaml.py", target.python.encode())
