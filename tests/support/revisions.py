"""Two revisions of the committed packs that differ."""

import json
import shutil
from pathlib import Path

import pandas as pd

from stages.core.files import read_csv
from support.project import ROOT, commit, run

TASKS = ("generative", "image", "sentiment")


def copy_packs(folder: Path) -> Path:
    """Make a repository of the committed packs in `folder`, tagged `before`."""
    for task in TASKS:
        shutil.copytree(ROOT / f"evidence/{task}", folder / f"evidence/{task}")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder, "before")
    run(folder, "git", "tag", "before")
    return folder


def fix_cases(repository: Path, task: str, count: int) -> pd.DataFrame:
    """Let the primary seed's model get the first failure cases right, and commit; return the cases."""
    data = repository / f"evidence/{task}/data"
    cases = read_csv(data / "failure_cases.csv")[:count]
    table = read_csv(data / "predictions.csv")
    rows = table["id"].isin(cases["id"])
    table.loc[rows, "seed_0"] = table.loc[rows, "label"]
    table.to_csv(data / "predictions.csv", index=False)
    commit(repository, f"{count} fixed")
    return cases


def edit_json(path: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
