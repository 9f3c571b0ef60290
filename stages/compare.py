"""Compare: one metrics file, one folder of plots and one page for all tasks, and the revision `baseline`.

After it, `dvc metrics diff baseline` and `dvc plots diff baseline` show baseline, current and change in
any clone, and DVC's plot pages open without a network.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.core.errors import exit_on_user_error
from stages.core.files import read_json, to_json, write, write_all
from stages.core.params import read_yaml
from stages.core.processes import end_with_launcher
from stages.core.task import DATA, Task
from stages.kinds.params import load_tasks
from stages.kinds.registry import KINDS
from stages.report.baseline_revision import create_baseline_revision
from stages.report.index_page import PAGE, render_index

PLOTS = Path("plots")
METRICS = Path("metrics/metrics.json")
PIPELINE = Path("dvc.yaml")
FOLDER = DATA / "compare"
NAME = "baseline"
VEGA_LITE = "5.20"  # the last release of the major version that DVC's templates are written for

# DVC fills {plot_divs}; its own page would load these scripts from a public server.
_PLOT_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plots</title>
<script>{scripts}</script>
<style>body {{ font-family: sans-serif; margin: 1rem; overflow-x: auto; }}</style>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def plot_files(task: Task, folder: str) -> dict[Path, bytes]:
    """Return a task's plot tables by the path at which `dvc plots` reads them.

    Args:
        task: whose stage evaluate has run.
        folder: `plots` of the current model, or `baseline_plots`.
    """
    tables = sorted((task.folder("evaluate") / folder).glob("*.csv"))
    return {PLOTS / table.stem / f"{task.name}.csv": table.read_bytes() for table in tables}


def baseline_files(tasks: Iterable[Task], metrics: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of the revision `baseline`: measured files under the paths of the current ones."""
    declared = read_yaml(PIPELINE)["plots"]
    files = {
        PIPELINE.as_posix(): to_json({"metrics": [METRICS.as_posix()], "plots": declared}),
        METRICS.as_posix(): to_json(metrics),
    }
    for task in tasks:
        plots = plot_files(task, "baseline_plots")
        files |= {path.as_posix(): content for path, content in plots.items()}
    return files


def offline_page() -> str:
    """Return the template of DVC's plot page with Vega's scripts in it.

    `</script` inside the scripts, which would end their element, is written so that it does not.
    """
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    return _PLOT_PAGE.format(scripts=bundle.replace("</script", "<\\/script"))


def main() -> None:
    """Write the merged metrics and plots, the pages, and the revision."""
    end_with_launcher()
    with exit_on_user_error("compare"):
        tasks = load_tasks()
        metrics = {
            name: read_json(task.folder("evaluate") / "metrics.json")
            for name, task in tasks.items()
        }
        write(METRICS, to_json({name: part["current"] for name, part in metrics.items()}))
        for name in {name for kind in KINDS.values() for name in kind.plots}:
            shutil.rmtree(PLOTS / name, ignore_errors=True)  # plots of tasks that are gone
            (PLOTS / name).mkdir(parents=True)
        for task in tasks.values():
            for path, content in plot_files(task, "plots").items():
                write(path, content)
        write(PAGE, render_index(tasks.values()))
        baseline = {name: part["baseline"] for name, part in metrics.items()}
        commit = create_baseline_revision(NAME, baseline_files(tasks.values(), baseline))
        write_all(FOLDER, {"plots.html": offline_page(), "revision.txt": f"{commit}\n"})


if __name__ == "__main__":
    main()
