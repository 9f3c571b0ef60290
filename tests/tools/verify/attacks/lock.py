"""Entries of dvc.lock that are not what a run wrote."""

from typing import Any

from attacks.attack import DATA, METRICS, PACK, TASK, UNCHECKED, Target, family

attack = family("entries of dvc.lock")
Stages = dict[str, Any]


def entry(stages: Stages, stage: str, kind: str, path: str) -> dict[str, Any]:
    """Return the entry of a dependency or output."""
    return next(item for item in stages[stage][kind] if item["path"] == path)


@attack("has no hash of it", quick=True)
def hash_removed(target: Target) -> None:
    """An output without a hash, so that any file fits."""
    target.forge_metric()

    def change(stages: Stages) -> None:
        item = entry(stages, "compare", "outs", METRICS)
        for key in ("hash", "md5", "size"):
            del item[key]

    target.edit_lock(change)


@attack(METRICS)
def hash_of_another_kind(target: Target) -> None:
    """A hash that DVC does not compute of files."""
    target.forge_metric()

    def change(stages: Stages) -> None:
        item = entry(stages, "compare", "outs", METRICS)
        item["hash"] = "etag"
        item["etag"] = item.pop("md5")

    target.edit_lock(change)


@attack(METRICS)
def hash_in_other_case(target: Target) -> None:
    """The hash of a forged file in capitals, one digit of it another."""
    target.forge_metric()
    target.relock()

    def change(stages: Stages) -> None:
        item = entry(stages, "compare", "outs", METRICS)
        item["md5"] = item["md5"][:-1].upper() + ("0" if item["md5"][-1] != "0" else "1")

    target.edit_lock(change)


@attack("size")
def size_changed(target: Target) -> None:
    """A size that is not the file's."""

    def change(stages: Stages) -> None:
        entry(stages, "compare", "outs", METRICS)["size"] += 1

    target.edit_lock(change)


@attack("nfiles")
def number_of_files_changed(target: Target) -> None:
    """A number of files that is not the folder's."""

    def change(stages: Stages) -> None:
        entry(stages, f"pack@{TASK}", "outs", DATA)["nfiles"] += 3

    target.edit_lock(change)


@attack(DATA)
def folder_locked_as_a_file(target: Target) -> None:
    """The hash of a folder without its ending."""

    def change(stages: Stages) -> None:
        item = entry(stages, f"pack@{TASK}", "outs", DATA)
        item["md5"] = item["md5"].removesuffix(".dir")

    target.edit_lock(change)


@attack("2 times")
def output_twice(target: Target) -> None:
    """An output with two entries, the second of which fits."""
    target.forge_metric()

    def change(stages: Stages) -> None:
        outs = stages["compare"]["outs"]
        outs.append(dict(entry(stages, "compare", "outs", METRICS)))

    target.edit_lock(change)


@attack("was run with")
def chain_broken(target: Target) -> None:
    """A stage that was run with other data than the stage before has made."""

    def change(stages: Stages) -> None:
        entry(stages, f"pack@{TASK}", "deps", f"data/evaluate/{TASK}")["md5"] = "a" * 32 + ".dir"

    target.edit_lock(change)


@attack(f"data/evaluate/{TASK}")
def chain_broken_by_an_old_hash(target: Target) -> None:
    """The same in the hashes of an older release of DVC, which cannot be compared with new ones."""

    def change(stages: Stages) -> None:
        item = entry(stages, f"pack@{TASK}", "deps", f"data/evaluate/{TASK}")
        item["md5"] = "a" * 32 + ".dir"
        del item["hash"]

    target.edit_lock(change)


@attack("is in dvc.lock and not in dvc.yaml")
def entry_for_another_path(target: Target) -> None:
    """The entry of an output names another file."""
    target.forge_metric()

    def change(stages: Stages) -> None:
        entry(stages, "compare", "outs", METRICS)["path"] = "metrics/other.json"

    target.edit_lock(change)


@attack("params")
def params_removed(target: Target) -> None:
    """Nobody knows with which params the model was trained."""

    def change(stages: Stages) -> None:
        del stages[f"train@{TASK}"]["params"]

    target.edit_lock(change)


@attack("learning_rate")
def params_changed(target: Target) -> None:
    """Trained with another learning rate than params.yaml says."""

    def change(stages: Stages) -> None:
        params = stages[f"train@{TASK}"]["params"]["params.yaml"]
        params[f"tasks.{TASK}.train"]["learning_rate"] = 0.5

    target.edit_lock(change)


@attack("learning_rate")
def params_not_a_number(target: Target) -> None:
    """A number that is not equal to itself."""

    def change(stages: Stages) -> None:
        params = stages[f"train@{TASK}"]["params"]["params.yaml"]
        params[f"tasks.{TASK}.train"]["learning_rate"] = float("nan")

    target.edit_lock(change)


@attack("command")
def command_changed(target: Target) -> None:
    """Run with another command than dvc.yaml says."""

    def change(stages: Stages) -> None:
        stages[f"evaluate@{TASK}"]["cmd"] = "python forge.py"

    target.edit_lock(change)


@attack(f"check@{TASK}")
def entry_removed(target: Target) -> None:
    """The check that failed has no entry."""

    def change(stages: Stages) -> None:
        del stages[f"check@{TASK}"]

    target.edit_lock(change)


@attack("train@imagenet")
def entry_of_no_stage(target: Target) -> None:
    """An entry for a task that does not exist."""
    target.forge_metric()

    def change(stages: Stages) -> None:
        stages["train@imagenet"] = dict(stages[f"train@{TASK}"])

    target.edit_lock(change)


@attack("dvc.lock")
def lock_removed(target: Target) -> None:
    """There is no lock."""
    target.remove("dvc.lock")


@attack("dvc.lock", status=UNCHECKED)
def lock_emptied(target: Target) -> None:
    """The lock is an empty file."""
    target.path("dvc.lock").write_text("")


@attack("dvc.lock", status=UNCHECKED)
def lock_with_a_stage_twice(target: Target) -> None:
    """A key twice, of which parsers take either."""
    text = target.path("dvc.lock").read_text()
    target.path("dvc.lock").write_text(f"{text}{text[text.index('  compare:') :]}")


@attack("dvc.lock", status=UNCHECKED)
def lock_of_two_documents(target: Target) -> None:
    """A second document behind the first."""
    text = target.path("dvc.lock").read_text()
    target.path("dvc.lock").write_text(f"{text}---\n{text}")


@attack("dvc.lock", status=UNCHECKED)
def lock_is_a_list(target: Target) -> None:
    """A lock of another shape."""
    target.path("dvc.lock").write_text("- schema: '2.0'\n")


@attack("dvc.lock", status=UNCHECKED)
def lock_of_another_schema(target: Target) -> None:
    """A format that does not exist."""
    target.replace("dvc.lock", "schema: '2.0'", "schema: '9.0'")


@attack("dvc.lock", status=UNCHECKED)
def entry_with_other_types(target: Target) -> None:
    """A list in place of a hash, and a mapping in place of a path."""

    def change(stages: Stages) -> None:
        entry(stages, f"pack@{TASK}", "outs", f"{PACK}/README.md")["md5"] = ["a", "b"]

    target.edit_lock(change)
