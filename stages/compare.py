"""Compare: one metrics file, one folder of plots and one page for all tasks, and the revision `baseline`.

After it, `dvc metrics diff baseline` and `dvc plots diff baseline` show baseline, current and change in
any clone, and DVC's plot pages open without a network.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from stages.core.errors import exit_on_user_error
from stages.core.files import to_json, write, write_all
from stages.core.params import read_yaml
from stages.core.processes import end_with_launcher
from stages.core.task import DATA, Task
from stages.kinds.params import load_tasks
from stages.kinds.registry import KINDS
from stages.kinds.results import Results
from stages.report.baseline_revision import create_baseline_revision
from stages.report.index_page import PAGE, render_index
from stages.report.plot_page import plot_page

PLOTS = Path("plots")
METRICS = Path("metrics/metrics.json")
PIPELINE = Path("dvc.yaml")
FOLDER = DATA / "compare"
NAME = "baseline"


def plot_files(task: Task, folder: str) -> dict[Path, bytes]:
    """Return a task's plot tables by the path at which `dvc plots` reads them.

    Args:
        task: whose stage evaluate has run.
        folder: `plots` of the current model, or `baseline_plots`.
    """
    tables = sorted((task.folder("evaluate") / folder).glob("*.csv"))
    return {PLOTS / table.stem / f"{task.name}.csv": table.read_bytes() for table in tables}


def read_results() -> list[Results]:
    """Return the results of every task.

    Raises:
        UserError: a stage has not run.
    """
    return [Results.of_stages(task) for task in load_tasks().values()]


def baseline_files(results: Sequence[Results]) -> dict[str, bytes]:
    """Return the files of the revision `baseline`: measured files under the paths of the current ones."""
    plots = {
        path.as_posix(): content
        for part in results
        for path, content in plot_files(part.task, "baseline_plots").items()
    }
    folders = {PurePosixPath(path).parent.as_posix() for path in plots}
    # DVC warns of each plot that a revision names and lacks.
    declared = [entry for entry in read_yaml(PIPELINE)["plots"] if entry.keys() <= folders]
    return {
        PIPELINE.as_posix(): to_json({"metrics": [METRICS.as_posix()], "plots": declared}),
        METRICS.as_posix(): to_json({part.task.name: part.baseline() for part in results}),
        **plots,
    }


def main() -> None:
    """Write the merged metrics and plots, the pages, and the revision."""
    end_with_launcher()
    with exit_on_user_error("compare"):
        results = read_results()
        write(METRICS, to_json({part.task.name: part.current() for part in results}))
        for name in {name for kind in KINDS.values() for name in kind.plots}:
            shutil.rmtree(PLOTS / name, ignore_errors=True)  # plots of tasks that are gone
            (PLOTS / name).mkdir(parents=True)
        for part in results:
            for path, content in plot_files(part.task, "plots").items():
                write(path, content)
        write(PAGE, render_index(part.task for part in results))
        commit = create_baseline_revision(NAME, baseline_files(results))
        strongest = {part.task.name: part.metrics["strongest_baseline"] for part in results}
        page = plot_page(strongest)
        write_all(FOLDER, {"plots.html": page, "revision.txt": f"{commit}\n"})


if __name__ == "__main__":
    main()
