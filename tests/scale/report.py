"""The results as JSON, and docs/scale.md, which is written from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.project import ROOT, run

from stages.core.files import to_json
from stages.core.machine import host_record
from stages.core.task import STAGES
from stages.report.formatting import markdown_table

RESULTS = ROOT / "tests/scale/results.json"
PAGE = ROOT / "docs/scale.md"

Results = Mapping[str, Any]

_INTRODUCTION = """
The stages prepare and check over a folder of JPEGs of 32 x 32 pixels in ten classes, made from 60,000
photographs of CIFAR-10 (shifted, mirrored, darkened):

```sh
PYTHONPATH=.:tests python -m scale --photographs cifar10-jpeg.tar.gz 10000 100000 1000000
```

This page is written from what happened; figures in full are in `tests/scale/results.json`. *Private*: the
greatest sum over all processes of a stage, pages that they share counted once. *With mapped pages*: and the
pages of files that are mapped, which the system takes back when it needs memory. *Load*: how many processes
wanted a core in the last 15 minutes, on average; where that is more than there are cores, other
work ran beside it, and the processor seconds say more."""
_COUNTS = """
What prepare found, near duplicates at a root mean square difference of {threshold:g}:"""

_LATER = """
Later stages were not measured at a million. Train reads its batches from the mapped array. Baseline fits
logistic regression on at most `max_samples` images and predicts in batches. Evaluate and failures hold the
features of all images, 4 bytes a value: 0.26 GB for a million images and a network whose last layer is 64
wide, twice that while they are written."""


def record(count: int, result: dict[str, Any], file: Path = RESULTS) -> None:
    """Add the result for a number of images, with the commit and the machine."""
    results = json.loads(file.read_text()) if file.exists() else {}
    commit = run(ROOT, "git", "rev-parse", "--short", "HEAD").stdout.strip()
    results[str(count)] = {**result, "commit": commit, "machine": host_record()}
    file.write_bytes(to_json(results))


def write_page(file: Path = RESULTS, page_file: Path = PAGE) -> None:
    """Write the page from the results."""
    page_file.write_text(page(json.loads(file.read_text())), encoding="utf-8")


def page(results: Results) -> str:
    """Return docs/scale.md."""
    by_count = sorted(results.items(), key=lambda item: int(item[0]))
    times = [
        (
            f"{int(count):,}",
            stage,
            f"{row['seconds']:.0f}",
            f"{row['processor_seconds']:.0f}",
            f"{row['load']:.1f}",
            f"{row['private']:.2f}",
            f"{row['mapped']:.2f}",
        )
        for count, result in by_count
        for stage, row in sorted(result["stages"].items(), key=lambda item: STAGES.index(item[0]))
    ]
    counts = [
        (
            f"{int(count):,}",
            f"{result['exact_duplicates']:,}",
            f"{result['pairs']:,}",
            f"{result['samples']:,}",
            f"{result['array_gb']:.2f}",
        )
        for count, result in by_count
    ]
    blocks = [
        "# Many images, measured",
        _INTRODUCTION.strip(),
        markdown_table(
            ("images", "stage", "s", "processor s", "load", "private GB", "with mapped pages GB"),
            times,
            (0, 2, 3, 4, 5, 6),
        ),
        _COUNTS.strip().format(threshold=by_count[0][1]["threshold"]),
        markdown_table(
            ("images", "exact duplicates", "near-duplicate pairs", "used", "packed array, GB"),
            counts,
            range(5),
        ),
        _LATER.strip(),
        *_machines(by_count),
    ]
    return "\n\n".join(blocks) + "\n"


def _machines(by_count: list[tuple[str, Any]]) -> list[str]:
    """Return a line for each machine and commit, with the numbers of images that were measured there."""
    counts: dict[str, list[str]] = {}
    for count, result in by_count:
        machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
        counts.setdefault(f"commit {result['commit']}, {machine}.", []).append(f"{int(count):,}")
    return [f"{', '.join(names)} images: {line}" for line, names in counts.items()]
