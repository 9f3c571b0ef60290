"""Names and texts that would say to a reader of the terminal, Markdown or page what verify does not say."""

from collections.abc import Iterable
from typing import Any

from attacks.attack import (
    DATA,
    FAKE,
    HOST,
    METRICS,
    OTHER_CODE,
    OUTSIDE,
    PACK,
    TASK,
    UNCHECKED,
    Target,
    family,
)

attack = family("words to deceive a reader")
MACHINES = "evidence/machine.json"
LINES = {
    "a line end": f"x\n{FAKE}",
    "a return": f"x\r{FAKE}",
    "a line separator": f"x\N{LINE SEPARATOR}{FAKE}",
    "a form feed": f"x\f{FAKE}\v{FAKE}",
}
CONTROLS = {
    "an escape": f"\x1b[2J\x1b[1;1H\x1b[32m{FAKE}\x1b[8m",
    "a bell": "x\x07\x08\x7f",
    "a control of one byte": f"x\x9b2J{FAKE}",
    "a link of the terminal": f"\x1b]8;;http://{HOST}/\x1b\\{FAKE}\x1b]8;;\x1b\\",
}
INVISIBLE = {
    "a change of direction": "x\N{RIGHT-TO-LEFT OVERRIDE}tib rof tib",
    "no width": "pa\N{ZERO WIDTH SPACE}ck\N{ZERO WIDTH JOINER}\N{SOFT HYPHEN}workshop\N{WORD JOINER}",
    "tags without width": "x\N{TAG LATIN SMALL LETTER A}\N{TAG LATIN SMALL LETTER B}",
}
MARKUP = {
    "a table": f"x | {FAKE} | bit for bit |",
    "markup": f"<script>alert(1)</script><img src='http://{HOST}/x' onerror='alert(1)'>",
    "a comment": f"--><h1>{FAKE}</h1><!--",
    "a link": f"[{FAKE}](http://{HOST}/)",
    "a picture": f"![x](http://{HOST}/x.png)",
    "a block of code": f"``` {FAKE}",
    "an address": f"http://{HOST}/ www.{HOST}",
    "a mention": "@everyone #1 GH-1",
    "a formula": f"$\\href{{http://{HOST}}}{{x}}$",
}
ODD = LINES | CONTROLS | INVISIBLE | MARKUP
ALL = " ".join(ODD.values())
FILE_NAME = "".join(text.replace("/", "\N{DIVISION SLASH}") for text in list(ODD.values())[:12])


def name_stages(target: Target, names: Iterable[str]) -> None:
    """Add stages of these names, and forge a metric."""
    stages = {name: {"cmd": "true", "outs": [f"{number}.txt"]} for number, name in enumerate(names)}
    target.edit_yaml("dvc.yaml", lambda content: content["stages"].update(stages))
    target.forge_metric()


@attack(METRICS, quick=True)
def stages_named_with_line_ends(target: Target) -> None:
    """Stages whose names would begin lines of their own."""
    name_stages(target, LINES.values())


@attack(METRICS)
def stages_named_with_controls(target: Target) -> None:
    """Stages whose names would steer a terminal."""
    name_stages(target, CONTROLS.values())


@attack(METRICS)
def stages_named_with_invisible_characters(target: Target) -> None:
    """Stages whose names a reader cannot tell from others."""
    name_stages(target, INVISIBLE.values())


@attack("DVC cannot read", status=UNCHECKED)
def stages_named_with_markup(target: Target) -> None:
    """Stages whose names would be markup in Markdown and on the page; DVC refuses such keys."""
    name_stages(target, MARKUP.values())


@attack(METRICS)
def stage_named_like_the_verdict(target: Target) -> None:
    """A stage whose name is what verify says of honest results."""
    name_stages(target, ["nothing disagrees", FAKE[:-4]])


@attack("DVC cannot read", status=UNCHECKED)
def loop_with_odd_keys(target: Target) -> None:
    """Stages whose names come from a loop."""
    target.edit_yaml(
        "dvc.yaml",
        lambda content: content["stages"].update(
            each={"foreach": {ALL: 1}, "do": {"cmd": "true", "outs": ["x.txt"]}}
        ),
    )
    target.forge_metric()


@attack(METRICS)
def paths_with_odd_names(target: Target) -> None:
    """Inputs and outputs that do not exist."""
    target.edit_yaml(
        "dvc.yaml",
        lambda content: content["stages"].update(
            odd={"cmd": ALL, "deps": [FILE_NAME], "outs": [f"x{FILE_NAME}"], "desc": ALL}
        ),
    )
    target.forge_metric()


@attack(METRICS)
def command_of_the_lock(target: Target) -> None:
    """A command, a path, a param and a hash of the lock."""

    def change(stages: dict[str, Any]) -> None:
        stage = stages[f"train@{TASK}"]
        stage["cmd"] = ALL
        stage["params"]["params.yaml"][ALL] = {ALL: [ALL]}
        stage["outs"].append({"path": ALL, "hash": "md5", "md5": ALL})
        stages[ALL] = dict(stages["compare"])

    target.edit_lock(change)
    target.forge_metric()


@attack(DATA)
def file_with_an_odd_name(target: Target) -> None:
    """A file of the pack."""
    target.add(f"{DATA}/{FILE_NAME[:80]}.csv", "x\n")


@attack(DATA, tier="metrics")
def locked_file_with_an_odd_name(target: Target) -> None:
    """A file of the pack, with its hash in the lock."""
    target.add(f"{DATA}/{FILE_NAME[:80]}.csv", "x\n")
    target.relock_results()


@attack("stages", status=OTHER_CODE)
def code_with_an_odd_name(target: Target) -> None:
    """A module that nobody can type."""
    target.add(f"stages/{FILE_NAME[:80]}.py", "x = 1\n")


@attack("dvc", status=OUTSIDE)
def data_file_with_an_odd_name(target: Target) -> None:
    """A file of DVC's data."""
    target.add(
        f"{FILE_NAME[:80]}.dvc",
        f"outs:\n- md5: {'a' * 32}\n  size: 3\n  hash: md5\n  path: x.txt\n",
    )
    target.forge_metric()


@attack("DVC cannot read", status=UNCHECKED)
def task_with_an_odd_name(target: Target) -> None:
    """A task of params.yaml."""
    target.edit_yaml(
        "params.yaml", lambda params: params["tasks"].update({ALL: dict(params["tasks"][TASK])})
    )


@attack("params.yaml", status=OUTSIDE)
def params_with_odd_values(target: Target) -> None:
    """Values of params that are not allowed, and that a message would repeat."""

    def change(params: dict[str, Any]) -> None:
        params["tasks"][TASK]["prepare"]["source"] = ALL
        params["tasks"][TASK]["train"][ALL] = ALL

    target.edit_yaml("params.yaml", change)


@attack(METRICS)
def machine_with_odd_words(target: Target) -> None:
    """The record of another machine, which the report shows."""

    def change(records: dict[str, Any]) -> None:
        records[TASK]["machine"] |= {"processor": ALL, ALL: ALL, "system": [ALL, {ALL: ALL}]}

    target.edit_json(MACHINES, change)
    target.forge_metric()


@attack(METRICS, tier="metrics")
def results_with_odd_words(target: Target) -> None:
    """Keys and values of metrics, notes and tables, which a reason would repeat."""

    def change(metrics: dict[str, Any]) -> None:
        metrics["current"][ALL] = ALL
        metrics[ALL] = {ALL: ALL}

    target.edit_json(f"{DATA}/metrics.json", change)
    target.edit_json(METRICS, lambda metrics: metrics.update({ALL: {ALL: ALL}}))
    target.edit_json(
        f"{DATA}/dataset_note.json", lambda note: note.update({ALL: ALL, "origin": ALL})
    )
    target.relock_results()


@attack("predictions.csv", tier="metrics")
def table_with_odd_words(target: Target) -> None:
    """Cells and heads of tables, which a reason would repeat."""
    target.edit_table("per_class.csv", lambda table: table.rename(columns={"f1": ALL}))
    target.edit_table("predictions.csv", lambda table: table.assign(group=ALL))
    target.relock_results()


@attack("README.md", tier="metrics")
def page_with_odd_words(target: Target) -> None:
    """A page, of which a reason would repeat the part that differs."""
    target.replace(f"{PACK}/README.md", "accuracy", ALL)
    target.relock_results()


@attack(METRICS)
def branch_with_an_odd_name(target: Target) -> None:
    """A branch whose name the report shows."""
    name = "x|<script>alert(1)<!--`$x$`\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}@everyone"
    target.forge_metric()
    target.commit()
    target.git("branch", name)
    target.revision = name


@attack("git", status=UNCHECKED)
def address_with_odd_words(target: Target) -> None:
    """A repository in a folder whose name the report shows."""
    folder = target.folder.with_name(FILE_NAME[:80])
    target.forge_metric()
    target.commit()
    target.folder.rename(folder)
    target.folder = folder
    target.source = str(folder)
