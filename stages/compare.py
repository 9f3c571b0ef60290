"""Compare: one metrics file for all tasks, and the revision `baseline` to hold it against.

After it, `dvc metrics diff baseline` and `dvc plots diff baseline` show baseline, current and
change in any clone, and DVC's plot pages open without a network.
"""

from pathlib import Path
from typing import Any

from stages.params import load
from stages.shared import revision
from stages.shared.files import as_json, read_json, write, write_all
from stages.shared.refusal import refusing
from stages.shared.task import DATA, Task, tasks

METRICS = Path("metrics/metrics.json")
PIPELINE = Path("dvc.yaml")
FOLDER = DATA / "compare"
NAME = "baseline"
VEGA_LITE = "5.20"  # the last release of the major version that DVC's templates are written for

# DVC fills {plot_divs}; its own page would load these scripts from a public server.
_PAGE = """<!DOCTYPE html>
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


def merged(task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a task's current and its baseline metrics."""
    metrics = read_json(task.folder("evaluate") / "metrics.json")
    return metrics["current"], metrics["baseline"]


def baseline_files(found: dict[str, Task], metrics: dict[str, Any]) -> dict[str, bytes]:
    """Return what the revision `baseline` holds: measured files under the current ones' paths."""
    import yaml

    declared = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))
    lists = {"metrics": [METRICS.as_posix()], "plots": declared["plots"]}
    files = {
        PIPELINE.as_posix(): yaml.safe_dump(lists).encode(),
        METRICS.as_posix(): as_json(metrics),
    }
    for task in found.values():
        for file in sorted((task.folder("evaluate") / "baseline").iterdir()):
            files[(task.plots / file.name).as_posix()] = file.read_bytes()
    return files


def offline_page() -> str:
    """Return the template of DVC's plot page with Vega's scripts in it.

    `</script` inside the scripts, which would end their element, is written so that it does not.
    """
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    return _PAGE.format(scripts=bundle.replace("</script", "<\\/script"))


def main() -> None:
    """Write the merged metrics, the offline plot page and the revision."""
    with refusing("compare"):
        found = tasks(load())
        current, baseline = {}, {}
        for name, task in found.items():
            current[name], baseline[name] = merged(task)
        write(METRICS, as_json(current))
        commit = revision.make(NAME, baseline_files(found, baseline))
        write_all(FOLDER, {"plots.html": offline_page(), "revision.txt": f"{commit}\n"})


if __name__ == "__main__":
    main()
