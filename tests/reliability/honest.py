"""Honest results, computed as on other processors, that verify must not call outside."""

import json
import math
import shutil
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from support.project import change_params, commit

from reliability.circumstances import copy_from_nothing
from reliability.kills import SIDE_BY_SIDE, Project
from reliability.tool_kills import verify
from reliability.trials import Trial, run_to_end, spread
from stages.core import machine
from stages.core.files import to_json

# Instructions that NumPy is kept from using, by the processors that lack them, and the same for the
# mathematical functions of the C library. Both have AVX2, which the params of the tasks ask for.
_NUMPY = {
    "no AVX-512 (Zen 3, Alder Lake)": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "the first AVX-512 (Skylake)": "AVX512_CLX AVX512_CNL AVX512_ICL",
}
_LIBRARY = {
    "no AVX-512 (Zen 3, Alder Lake)": "-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ",
    "the first AVX-512 (Skylake)": "-AVX512_VBMI2,-AVX512_VNNI",
}


def verify_honest_results(
    folder: Path, count: int, seed: int, minutes: float = math.inf
) -> Iterator[Trial]:
    """Yield what verify says of results of the workshop, each of another split, as of other processors.

    Args:
        folder: for the projects.
        count: of results.
        seed: of the first split; each further result has the next one.
        minutes: after which no other one begins.
    """
    project = Project.build(folder / "workshop", ("workshop",))
    processors = [*islice(cycle(_NUMPY), count)]

    def verify_one(number: int) -> Trial:
        return _verify_result(project, folder / "elsewhere", processors[number], seed + number)

    yield from spread(count, verify_one, minutes)


def _verify_result(project: Project, place: Path, processor: str, seed: int) -> Trial:
    """Compute the workshop's result as of a processor, commit it, and verify it here."""
    variables = {
        "NPY_DISABLE_CPU_FEATURES": _NUMPY[processor],
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={_LIBRARY[processor]}",
    }
    copy_from_nothing(project, place)
    change_params(place, lambda params: _set_split(params, seed))
    problems = []
    status, output = run_to_end(place, SIDE_BY_SIDE, project.scratch, extra=variables)
    if status:
        problems.append(f"evidence repro: {output[-300:]}")
    records = json.loads((place / machine.FILE).read_text())
    records["workshop"]["machine"]["processor"] = processor
    (place / machine.FILE).write_bytes(to_json(records))
    commit(place, "computed elsewhere")
    status, output = run_to_end(place, verify("retrain"), project.scratch)
    report = json.loads((place.parent / "report.json").read_text())
    if status:
        problems.append(f"evidence verify: exit status {status}: {output[-600:]}")
    shutil.rmtree(place)
    return Trial(processor, report["verdict"], "; ".join(problems), f"split seed {seed}")


def _set_split(params: dict[str, Any], seed: int) -> None:
    params["tasks"]["workshop"]["prepare"]["split"]["seed"] = seed
