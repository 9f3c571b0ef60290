"""Bench: results over other splits or training seeds, and time. `make bench`; Markdown to the screen.

Everything runs the committed code in scratch clones; this folder is not touched. Figures are
medians over repetitions, and hold for the machine named above them.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from stages.params import FILE, load
from stages.shared.files import read_json
from stages.shared.refusal import Refusal, refusing
from stages.shared.runtime import machine
from stages.shared.task import STAGES, tasks
from stages.shared.verifying.scratch import cloned, git, ran, scratch

GOALS = {"image": 60, "sentiment": 150, "generative": 100, "workshop": 30}  # seconds from nothing
GOAL_ALL, GOAL_NOTHING = 300, 1.5
GOAL_CHEAP, GOAL_RETRAIN = 20, 1.2  # verify: seconds of hashes and metrics; share of a dvc repro
DRAWS = {"image": 6, "sentiment": 3, "generative": 3, "workshop": 6}
WHOLE = "whole"  # the chain of all tasks, and verify
_FEWEST = 2  # draws: a spread needs two
DRAWN = {"generative"}  # tasks whose samples are measured, over training seeds


# Runs a command and says, last, how much memory the largest of its processes had; macOS counts bytes.
_PEAK = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "unit = 2**20 if sys.platform == 'darwin' else 2**10; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // unit); sys.exit(code)"
)


def _run(*command: str, where: Path) -> float:
    """Run a command in a scratch clone; return its seconds."""
    return _measured(*command, where=where)[0]


def _measured(*command: str, where: Path) -> tuple[float, str]:
    """Run a command in a scratch clone; return its seconds, and what it said."""
    start = time.perf_counter()
    done = ran(where, *command)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).split("\n")[-1]
        raise Refusal(f"{' '.join(command)} failed in the scratch clone: {last}")
    return seconds, done.stdout


def _stage(stage: str, task: str, where: Path) -> float:
    return _run("python", "-m", f"stages.{stage}", task, where=where)


@contextmanager
def _clone() -> Iterator[Path]:
    with scratch() as folder:
        cloned(str(Path.cwd()), "HEAD", folder / "clone")
        yield folder / "clone"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _range(figures: Mapping[str, float], low: str, high: str) -> str:
    """Return two shares as points: +4.7 to +15.9."""
    return f"{100 * figures[low]:+.1f} to {100 * figures[high]:+.1f}"


def draws(task: str, count: int) -> str:
    """Return accuracy against the baselines over `count` draws of held-out groups, all seeds each."""
    import numpy as np

    rows, gains = [], []
    with _clone() as where:
        params = yaml.safe_load((where / FILE).read_text())
        for draw in range(count):
            params[task]["prepare"]["split"]["seed"] = draw
            (where / FILE).write_text(yaml.safe_dump(params))
            for stage in ("prepare", "check", "baseline", "train", "evaluate"):
                _stage(stage, task, where)
            metrics = read_json(where / "data" / "evaluate" / task / "metrics.json")
            names = read_json(where / "data" / "baseline" / task / "baseline.json")["methods"]
            model = metrics["current"]["accuracy"]
            others = [metrics["baselines"][name]["accuracy"] for name in names]
            better = metrics["current"]["improvement"]
            gains.append(100 * better["gain"])
            rows.append(
                [
                    draw,
                    metrics["n"],
                    *(f"{a:.4f}" for a in others),
                    f"{model:.4f}",
                    f"{gains[-1]:+.1f} ({_range(better, 'gain_low', 'gain_high')})",
                    _range(better, "seed_gain_min", "seed_gain_max"),
                    better["verdict"],
                ]
            )
    header = ["split seed", "n", *names, "model", "gain (points)", "gain of seeds", "verdict"]
    table = _table(header, rows)
    return (
        f"{table}\n\nGain over the strongest baseline: mean {np.mean(gains):+.2f} points, standard "
        f"deviation {np.std(gains, ddof=1):.2f}, least {min(gains):+.1f}, most {max(gains):+.1f}, over "
        f"{count} draws (the draws share groups, so they are not independent)."
    )


def trainings(task: str, count: int) -> str:
    """Return what the chosen checkpoint's samples are worth over `count` training seeds."""
    rows, shares = [], []
    with _clone() as where:
        params = yaml.safe_load((where / FILE).read_text())
        for stage in ("prepare", "baseline"):
            _stage(stage, task, where)
        for seed in range(count):
            params[task]["train"]["seeds"] = [seed]
            (where / FILE).write_text(yaml.safe_dump(params))
            for stage in ("check", "train", "evaluate"):
                _stage(stage, task, where)
            metrics = read_json(where / "data" / "evaluate" / task / "metrics.json")
            current, real = metrics["current"], metrics["controls"]["real against real"]
            better = current["improvement"]
            shares.append(better["share_of_baseline"])
            rows.append(
                [
                    seed,
                    current["step"],
                    f"{current['frechet_test']:.3f}",
                    f"{metrics['baseline']['frechet_test']:.3f}",
                    f"{real['frechet_test']:.3f}",
                    f"{shares[-1]:.3f}",
                    f"{current['coverage_test']:.3f} ({real['coverage_test']:.3f})",
                    f"{current['recall_test']:.3f} ({real['recall_test']:.3f})",
                    f"{current['label_agreement']:.3f}",
                    f"{current['copied']:.3f} ({real['copied']:.3f})",
                    f"{better['seed_gain_min']:.2f} to {better['seed_gain_max']:.2f}",
                    better["verdict"],
                ]
            )
    header = "training seed|step|Fréchet distance|baseline|real|share of baseline|coverage (real)|"
    header += "recall (real)|label agreement|copied (real)|gain of sampling seeds|verdict"
    return (
        f"{_table(header.split('|'), rows)}\n\nAgainst {metrics['n_test']} test images, {metrics['n']} "
        f"samples each; baseline: {metrics['strongest_baseline']}. Share of the baseline's distance: "
        f"least {min(shares):.3f}, most {max(shares):.3f}, over {count} training seeds."
    )


def whole(repetitions: int) -> str:
    """Return the seconds of `dvc repro` of all tasks, from nothing and without work, and of verify."""
    chain, nothing, cheap, shares = [], [], [], []
    verify = ("python", "-m", "stages.verify", "--json", "verify.json")
    for _ in range(repetitions):
        with _clone() as where:
            chain.append(_run("dvc", "repro", where=where))
            nothing += [_run("dvc", "repro", where=where) for _ in range(3)]
            cheap += [_run(*verify, "--tier", "metrics", where=where) for _ in range(3)]
            _run(*verify, where=where)
            found = read_json(where / "verify.json")
            seconds = {tier["tier"]: tier["seconds"] for tier in found["tiers"]}
            shares.append(seconds["retrain"] / chain[-1])
    rows = [
        _row("`dvc repro` from nothing", chain, GOAL_ALL),
        _row("`dvc repro` with nothing to do", nothing, GOAL_NOTHING),
        _row("verify, tiers hashes and metrics", cheap, GOAL_CHEAP),
        _row("verify, tier retrain, as a share of that `dvc repro`", shares, GOAL_RETRAIN),
    ]
    tiers = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    return (
        _table(["what", "median", "asked for", "n"], rows)
        + f"\n\nSeconds but for the share. The last verify, by tier: {tiers}; {found['line']}."
    )


def _row(what: str, seconds: list[float], goal: float) -> list[Any]:
    return [what, f"{median(seconds):.2f}", f"at most {goal}", len(seconds)]


def times(task: str, repetitions: int) -> str:
    """Return the seconds of one task's row from nothing, and of its stages."""
    chain, peaks = [], []
    repro = ("python", "-c", _PEAK, "dvc", "repro", "--quiet", f"pack@{task}")
    for _ in range(repetitions):
        with _clone() as where:
            seconds, said = _measured(*repro, where=where)
            chain.append(seconds)
            peaks.append(int(said.strip().split("\n")[-1]))
    stages = []
    with _clone() as where:
        _run("python", "-m", "stages.params", where=where)
        for stage in STAGES:
            # What a stage imports is most of what it costs before it starts to work.
            imports = f"import stages.{stage}, stages.tasks.{task}.{stage}"
            start = _run("python", "-c", imports, where=where)
            stages.append((stage, start, _stage(stage, task, where)))
    starts, wholes = sum(s for _, s, _ in stages), sum(w for _, _, w in stages)
    rows = [_row(f"`dvc repro pack@{task}` from nothing", chain, GOALS[task])]
    each = [[name, f"{start:.1f}", f"{all_:.1f}"] for name, start, all_ in stages]
    return (
        _table(["what", "median s", "asked for", "n"], rows)
        + "\n\n"
        + _table(
            ["stage", "start-up s", "all s"], [*each, ["sum", f"{starts:.1f}", f"{wholes:.1f}"]]
        )
        + f"\n\nLargest memory of a process: {max(peaks)} MB. Start-up: {starts / wholes:.0%} of the sum."
    )


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m stages.bench", description=__doc__)
    parser.add_argument(
        "--draws", type=int, help="draws of held-out groups, or training seeds (2 or more)"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of the chain from nothing")
    parser.add_argument("--task", choices=[WHOLE, *GOALS], help="one task, or the whole chain")
    given = parser.parse_args()
    with refusing("bench"):
        if given.repetitions < 1 or (given.draws is not None and given.draws < _FEWEST):
            raise Refusal(
                f"given --draws {given.draws} --repetitions {given.repetitions}; must be at least "
                f"{_FEWEST} and 1"
            )
        params = load()
        facts = machine(params.runtime)
        commit = git(Path.cwd(), "rev-parse", "--short", "HEAD")
        print(
            f"# Bench\n\nCommit {commit}. " + ", ".join(f"{k} {v}" for k, v in facts.items()) + "."
        )
        if given.task in {None, WHOLE}:
            print(f"\n## All tasks: time\n\n{whole(given.repetitions)}", flush=True)
        for name in [name for name in tasks(params) if given.task in {None, name}]:
            count = given.draws or DRAWS[name]
            if name in DRAWN:
                print(f"\n## {name}: training seeds\n\n{trainings(name, count)}", flush=True)
            else:
                print(f"\n## {name}: draws of held-out groups\n\n{draws(name, count)}", flush=True)
            print(f"\n## {name}: time\n\n{times(name, given.repetitions)}", flush=True)


if __name__ == "__main__":
    main()
