"""Count with how many different params the test data of a draw have been evaluated.

Whoever sees a test result and then changes something lets test data choose. The count shows how often that
was possible. It follows from what git holds, so that no stage has to write it: the packs in the history,
the pack in the work tree, and the experiments, each of which evaluates test data too.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.repositories import git
from stages.tools.experiment_series import Draw, draw_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from stages.core.task import Task

_ROOT = Path()
_FILES = ("params.json", "dataset_note.json")
_SECTIONS = ("prepare", "baseline", "train", "evaluate")  # on which test results depend


def count_test_evaluations(task: "Task", draw: Draw, log: "pd.DataFrame") -> int:
    """Return with how many different params the test data of a draw have been evaluated.

    That is the number of different params of the packs on this draw, in all branches of git and in the work
    tree, and of the tries that ran and were not kept (a kept one is a pack). A number that an earlier
    row of the log states stands where history has been rewritten since.

    Args:
        task: with a pack.
        draw: the present one.
        log: the experiments so far.
    """
    packs = {
        json.dumps([params.get(section) for section in _SECTIONS], sort_keys=True)
        for params, note in _packs(task)
        if _on(draw, params, note)
    }
    tries = draw.rows(log, "test")
    unkept = tries[(tries["after"] != "") & (tries["kept"] != "yes")]
    stated = [int(number) for number in tries["test_evaluations"] if number]
    return max([len(packs) + len(unkept[["change", "before"]].drop_duplicates()), *stated])


def _on(draw: Draw, params: dict[str, Any], note: dict[str, Any]) -> bool:
    try:
        return draw.shares("test", draw_of(params, note))
    except (LookupError, TypeError):  # a pack of an early version
        return False


def _packs(task: "Task") -> "Iterator[list[Any]]":
    """Yield params and dataset note of the pack in the work tree and of those in git."""
    paths = [(task.evidence / "data" / name) for name in _FILES]
    yield [read_json(path) for path in paths]
    names = [f"./{path.as_posix()}" for path in paths]
    versions = set()
    revisions = ("HEAD", "--branches", "--remotes")
    for commit in git(_ROOT, "log", "--format=%H", *revisions, "--", *names).split():
        try:
            blobs = tuple(git(_ROOT, "rev-parse", f"{commit}:{name}") for name in names)
            if blobs not in versions:
                versions.add(blobs)
                yield [json.loads(git(_ROOT, "cat-file", "blob", blob)) for blob in blobs]
        except (UserError, ValueError):  # a commit that deletes the pack, or holds a damaged one
            continue
