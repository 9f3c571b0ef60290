"""Faults: plant one at a time in a scratch clone, and see whether the project's own checks name it.

`python -m stages.faults list`, `plant NAME` (a clone with the fault in it, to look for it), `drill`
(every fault, and clean runs beside them; Markdown to the screen). What is cloned is HEAD; this folder
is not touched.
"""

import argparse
import hashlib
import json
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stages.params import FILE, load
from stages.shared.files import as_json, read_json
from stages.shared.refusal import REFUSED, Refusal, refusing
from stages.shared.runtime import machine
from stages.shared.verifying.scratch import git, ran

ROOT = Path(__file__).resolve().parents[1]
ANY = "any"
METRICS, LOCK, VERIFY = "metrics/metrics.json", "dvc.lock", "verify"
IMAGES, TEXTS, SAMPLES = "images", "texts", "samples"
DRAWN = "drawn images"  # as images, but nobody is behind them: there are no groups
_GIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "faults"), ("EMAIL", "faults@example.invalid"))
}


@dataclass(frozen=True)
class Edit:
    """An exact replacement in one file of the clone; `{task}` in its path stands for the task."""

    file: str
    old: str
    new: str

    def apply(self, clone: Path, task: str) -> None:
        """Replace the old text by the new.

        Raises:
            Refusal: the old text is not there exactly once: the fault no longer applies.
        """
        path = clone / self.file.format(task=task)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        count = text.count(self.old)
        if count != 1:
            raise Refusal(
                f"{self.file.format(task=task)}: {self.old.strip().splitlines()[0]!r} is there {count} "
                "times, must be once; the code has changed: mend the fault in stages/faults.py"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Forgery:
    """A committed metric made better by hand; `believed`: with its new hash in dvc.lock as well."""

    believed: bool
    file: str = METRICS

    def apply(self, clone: Path, task: str) -> None:
        """Forge the first figure of the task's metrics."""
        path, lock = clone / self.file, clone / LOCK
        before = path.read_bytes()
        metrics = json.loads(before)
        name = next(key for key, value in metrics[task].items() if isinstance(value, float))
        metrics[task][name] += 0.01
        path.write_bytes(as_json(metrics))
        if self.believed:
            old, new = (_md5(one) for one in (before, path.read_bytes()))
            lock.write_text(lock.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


Edits = tuple[Edit | Forgery, ...]


@dataclass(frozen=True)
class Fault:
    """A known mistake, how it is planted, and which check has to name it.

    Attributes:
        name: on the command line.
        what: is planted.
        edits: by the kind of task: images or texts that are classified, samples that are drawn.
        run: the stages that have to run for it to be found.
        named: a regular expression, to match in what a check says.
        by: the check, for the reader.
        grouped: it needs samples of which it is known who or what is behind them.
        whole: the kinds of task in which small params do not show it; they run with their own.
    """

    name: str
    what: str
    edits: Mapping[str, Edits]
    run: tuple[str, ...]
    named: str
    by: str
    grouped: bool = False
    whole: tuple[str, ...] = ()

    def of(self, kind: str) -> Edits:
        """Return the edits for a kind of task; none where the fault makes no sense for it."""
        if kind == DRAWN:
            return () if self.grouped else self.edits.get(IMAGES, ())
        return self.edits.get(kind, ())


def _everywhere(*edits: Edit | Forgery) -> dict[str, Edits]:
    return dict.fromkeys((IMAGES, TEXTS, SAMPLES), edits)


LOOP = "stages/shared/training.py"
PREPARING = "stages/shared/preparing.py"
TRAIN = "stages/tasks/{task}/train.py"
BY_HAND = "check: the loop steps as by hand"

FAULTS = (
    Fault(
        "shape-mismatch",
        "the last layer takes more features than the one before gives",
        {
            IMAGES: (
                Edit(
                    "stages/shared/images/network.py",
                    "self.head = nn.Linear(width, classes)",
                    "self.head = nn.Linear(width + 1, classes)",
                ),
            ),
            TEXTS: (
                Edit(
                    "stages/tasks/{task}/model.py",
                    "self.head = nn.Linear(width, classes)",
                    "self.head = nn.Linear(width + 1, classes)",
                ),
            ),
            SAMPLES: (
                Edit(
                    "stages/tasks/{task}/model.py",
                    "self.head = nn.Conv2d(channels[0], inputs, 3, padding=1)",
                    "self.head = nn.Conv2d(channels[0] + 1, inputs, 3, padding=1)",
                ),
            ),
        },
        ("check",),
        "shapes through every layer: head .* cannot take",
        "check: shapes through every layer",
    ),
    Fault(
        "learning-rate-0",
        "the loop gives the optimizer a learning rate of 0",
        _everywhere(Edit(LOOP, "= job.learning_rate(trained.step)\n", "= 0.0\n")),
        ("check",),
        "the loop steps as by hand",
        BY_HAND,
    ),
    Fault(
        "shuffled-labels",
        "in training batches, each sample gets the label of another",
        {
            IMAGES: (
                Edit(
                    TRAIN,
                    'labels["train"][mine]))',
                    'labels["train"][mine][torch.randperm(len(mine))]))',
                ),
            ),
            TEXTS: (
                Edit(
                    TRAIN,
                    "fabric.to_device((tuple(given), labels[split][places]))",
                    "fabric.to_device((tuple(given), labels[split][places if split != 'train' else "
                    "np.random.default_rng(len(given[0][0])).permutation(places)]))",
                ),
            ),
            SAMPLES: (
                Edit(
                    TRAIN,
                    "torch.where(free, none, labels[mine])",
                    "torch.where(free, none, labels[mine][torch.randperm(share)])",
                ),
            ),
        },
        ("baseline", "train", "evaluate"),
        "no loss decrease|overfitting|labels are not heeded",
        "train: no loss decrease, or overfitting; evaluate: labels are not heeded",
        whole=(SAMPLES,),
    ),
    Fault(
        "detached-graph",
        "no gradient passes below the last layer (or the middle of the U-Net)",
        {
            IMAGES: (
                Edit(
                    "stages/shared/images/network.py",
                    "= self.head(self.embed(images))",
                    "= self.head(self.embed(images).detach())",
                ),
            ),
            TEXTS: (
                Edit(
                    "stages/tasks/{task}/model.py",
                    "= self.head(self.embed(tokens, states))",
                    "= self.head(self.embed(tokens, states).detach())",
                ),
            ),
            SAMPLES: (
                Edit(
                    "stages/tasks/{task}/model.py",
                    "state = self.middle(state, condition)",
                    "state = self.middle(state, condition).detach()",
                ),
            ),
        },
        ("check",),
        "a gradient reaches every parameter",
        "check: a gradient reaches every parameter",
    ),
    Fault(
        "missing-zero-grad",
        "gradients of earlier steps are never cleared",
        _everywhere(Edit(LOOP, "            optimizer.zero_grad()\n", "")),
        ("check",),
        "the loop steps as by hand",
        BY_HAND,
    ),
    Fault(
        "unscaled-inputs",
        "the network is given pixels from 0 to 255 as they are",
        {
            IMAGES: (
                Edit(
                    "stages/shared/images/network.py",
                    "self.features((images - self.mean) / self.std)",
                    "self.features(images * 255)",
                ),
            ),
            SAMPLES: (
                Edit(
                    "stages/tasks/{task}/inputs.py",
                    "pixels.astype(np.float32) / 127.5 - 1)",
                    "pixels.astype(np.float32))",
                ),
            ),
        },
        ("check",),
        "inputs are scaled",
        "check: inputs are scaled",
    ),
    Fault(
        "overfitting",
        "the model is trained on a few samples, again and again",
        {
            IMAGES: (
                Edit(
                    TRAIN,
                    "    size = min(params.batch_size, ",
                    '    rows["train"], labels["train"] = rows["train"][::17], labels["train"][::17]\n'
                    '    params = params.model_copy(update={"epochs": 60, "batch_size": 8})\n'
                    "    size = min(params.batch_size, ",
                ),
            ),
            TEXTS: (
                Edit(
                    TRAIN,
                    "    lengths = {split: ",
                    '    known["train"] = known["train"][:60]\n'
                    '    params = params.model_copy(update={"epochs": 60, "batch_size": 8})\n'
                    "    lengths = {split: ",
                ),
            ),
            SAMPLES: (
                Edit(
                    TRAIN,
                    "    none = len(dataset.classes)\n",
                    "    rows, labels = rows[::17], labels[::17]\n    none = len(dataset.classes)\n",
                ),
            ),
        },
        ("train",),
        "overfitting",
        "train: overfitting",
        whole=(SAMPLES,),
    ),
    Fault(
        "writer-leak",
        "samples are split one by one, not by group (writer, contrast pair)",
        {
            kind: (
                Edit(
                    PREPARING,
                    "split_by_group(units, labels, ",
                    "split_by_group(np.arange(len(units)), labels, ",
                ),
            )
            for kind in (IMAGES, TEXTS)
        },
        ("prepare", "check"),
        "no group across splits",
        "check: no group across splits",
        grouped=True,
    ),
    Fault(
        "duplicate-leak",
        "samples that nearly repeat each other lie in different splits",
        {
            **dict.fromkeys(
                (IMAGES, SAMPLES),
                (
                    Edit(
                        "stages/shared/images/preparing.py",
                        "        packed = pack(origin.pictures, shape, images)\n",
                        "        packed = pack(origin.pictures, shape, images)\n"
                        "        import numpy as np\n\n"
                        '        again = np.load(images, mmap_mode="r+")\n'
                        "        half = len(again) // 2\n"
                        "        again[: half : 25] = again[half : 2 * half : 25]\n"
                        '        label = packed.samples["label"].to_numpy(copy=True)\n'
                        "        label[: half : 25] = label[half : 2 * half : 25]\n"
                        '        packed.samples["label"] = label\n',
                    ),
                    Edit(
                        "stages/shared/images/preparing.py",
                        "pairs, _ = near_pairs(opened(images), params.near_duplicate)",
                        "pairs = near_pairs(opened(images), params.near_duplicate)[0][:0]",
                    ),
                ),
            ),
            TEXTS: (
                Edit(
                    PREPARING,
                    '    known = samples["group"].to_numpy()\n',
                    '    known, pairs = np.full(len(samples), ""), pairs[:0]\n',
                ),
            ),
        },
        ("prepare", "check"),
        "no duplicate across splits",
        "check: no duplicate across splits",
    ),
    Fault(
        "test-set-chooses",
        "the checkpoint is chosen by its loss on test data",
        {
            IMAGES: (
                Edit(
                    TRAIN,
                    "    size = min(params.batch_size, ",
                    '    rows["validation"] = dataset.rows("test")\n'
                    '    labels["validation"] = torch.from_numpy(dataset.labels("test"))\n'
                    "    size = min(params.batch_size, ",
                ),
            ),
            TEXTS: (
                Edit(
                    TRAIN,
                    "tokens(texts.at(dataset.rows(split)), params.max_tokens)",
                    'tokens(texts.at(dataset.rows(split.replace("validation", "test"))), '
                    "params.max_tokens)",
                ),
                Edit(
                    TRAIN,
                    "torch.from_numpy(dataset.labels(split))",
                    'torch.from_numpy(dataset.labels(split.replace("validation", "test")))',
                ),
            ),
        },
        ("baseline", "train", "evaluate"),
        "the chosen weights give the logged validation loss",
        "evaluate: the chosen weights give the logged validation loss",
    ),
    Fault(
        "swapped-weights",
        "the files of weights hold others of the same form than training chose",
        {
            kind: (
                Edit(
                    "stages/train.py",
                    'f"weights-{seed}.safetensors", trained.weights)',
                    'f"weights-{seed}.safetensors", '
                    "{name: weight.flip(0) for name, weight in trained.weights.items()})",
                ),
            )
            for kind in (IMAGES, TEXTS)
        }
        | {
            SAMPLES: (
                Edit(
                    "stages/train.py",
                    'epoch-{epoch}.safetensors", weights)',
                    'epoch-{epoch}.safetensors", '
                    "{name: weight.flip(0) for name, weight in weights.items()})",
                ),
            )
        },
        ("baseline", "train", "evaluate"),
        "the chosen weights give the logged validation loss",
        "evaluate: the chosen weights give the logged validation loss",
    ),
    Fault(
        "hash-seed",
        "seeds are drawn with Python's hash, which differs from process to process",
        _everywhere(
            Edit(
                "stages/shared/runtime.py",
                'int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")',
                "hash(text) % 2**48",
            )
        ),
        ("check",),
        "seeds are the same in another process",
        "check: seeds are the same in another process",
    ),
    Fault(
        "label-noise",
        "a tenth of all labels are those of the next class",
        {
            kind: (
                Edit(
                    PREPARING,
                    "categories=classes).codes.astype(np.int64)\n",
                    "categories=classes).codes.astype(np.int64)\n"
                    "    wrong = np.random.default_rng(1).random(len(samples)) < 0.1\n"
                    '    samples.loc[wrong, "label"] = (samples.loc[wrong, "label"] + 1) % len(classes)\n',
                ),
            )
            for kind in (IMAGES, TEXTS)
        },
        ("prepare", "baseline", "train", "evaluate"),
        "label noise",
        "evaluate: label noise",
        whole=(TEXTS,),
    ),
    Fault(
        "photocopier",
        "the generator hands out training images",
        {
            SAMPLES: (
                Edit(
                    "stages/tasks/{task}/evaluate.py",
                    "        return lambda labels, seed: drawn(model, labels, shape, seed, params)\n",
                    '        rows, own = dataset.rows("train"), dataset.labels("train")\n'
                    "        return lambda labels, seed: np.stack(\n"
                    "            [\n"
                    "                images[np.random.default_rng((seed, at)).choice(rows[own == label])]\n"
                    "                for at, label in enumerate(labels)\n"
                    "            ]\n"
                    "        )\n",
                ),
            )
        },
        ("baseline", "train", "evaluate"),
        "copies training images",
        "evaluate: copies training images",
    ),
    Fault(
        "forged-metric",
        "a committed metric is better than what was measured",
        _everywhere(Forgery(believed=False)),
        (VERIFY,),
        "hashes, compare: metrics/metrics.json: dvc.lock has",
        "verify, tier hashes: the file is not the one of dvc.lock",
    ),
    Fault(
        "forged-lock",
        "a committed metric is better than what was measured, and dvc.lock has its hash",
        _everywhere(Forgery(believed=True)),
        (VERIFY,),
        "metrics, compare: metrics/metrics.json: .* what lies beside it in git gives",
        "verify, tier metrics: the predictions in git give another metric",
    ),
)

# As short as lets every check hold and the faults show; only keys that a task has are set.
_SMALL: dict[str, dict[str, dict[str, Any]]] = {
    IMAGES: {"train": {"epochs": 6, "seeds": [0]}},
    DRAWN: {"train": {"seeds": [0]}},
    TEXTS: {
        "train": {
            "model": "scratch",
            "scratch": {"layers": 1, "width": 16, "heads": 2},
            "epochs": 2,
            "seeds": [0],
            "learning_rate": 0.005,
        }
    },
    SAMPLES: {
        "baseline": {"vae": {"epochs": 4}, "judge": {"epochs": 6, "channels": [16, 32]}},
        "train": {
            "log_every": 20,
            "review": [20, 60],
            "batch_size": 32,
            "channels": [16, 16],
            "learning_rate": 0.01,
            "average": 0.9,
            "seeds": [0],
        },
        "evaluate": {
            "samples": 200,
            "sampling_seeds": [0, 1],
            "solver_steps": 3,
            "resamples": 100,
        },
    },
}
_SHOWN = 150
_CLEAN = ("prepare", "check", "baseline", "train", "evaluate", "failures")


def kinds(project: Path) -> dict[str, str]:
    """Return each task's kind, as its row in dvc.yaml tells it."""
    rows = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, row in rows["stages"]["prepare"]["foreach"].items():
        found[name] = row["medium"]
        if not row["measure"].endswith("classification.py"):
            found[name] = SAMPLES
        elif row["path"].startswith("stages/"):  # code is the raw data
            found[name] = DRAWN
    return found


def plant(fault: Fault, clone: Path, task: str) -> None:
    """Put a fault into a clone.

    Raises:
        Refusal: the code is no longer what the fault replaces, or it makes no sense for the task.
    """
    kind = kinds(clone)[task]
    if not fault.of(kind):
        raise Refusal(f"{fault.name} makes no sense for {task}; `python -m stages.faults list`")
    for edit in fault.of(kind):
        edit.apply(clone, task)


def _merged(given: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in changes.items() if key in given}
    return {
        **given,
        **{
            key: _merged(given[key], value) if isinstance(value, dict) else value
            for key, value in known.items()
        },
    }


def _rewrite(clone: Path, task: str, changes: Mapping[str, Any]) -> None:
    path = clone / FILE
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[task] = _merged(params[task], changes)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def cloned(where: Path) -> Path:
    """Return a clone of HEAD in the folder `where`, which must not be there or be empty."""
    git(ROOT, "clone", "--quiet", str(ROOT), str(where))
    return where


@dataclass
class Seen:
    """What the stages said: named findings, the line on which they stopped, and how long it took."""

    findings: list[str] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0


def run_stages(clone: Path, task: str, stages: tuple[str, ...]) -> Seen:
    """Run stages in a clone until one stops, and return what their checks name."""
    seen, start = Seen(), time.perf_counter()
    for stage in stages:
        done = ran(clone, sys.executable, "-m", f"stages.{stage}", task)
        lines = done.stderr.strip().splitlines()
        own = f"{stage}@{task}"
        seen.findings += [line for line in lines if line.startswith(own)]
        if stage == "check":
            seen.findings += list(_failed(clone, task))
        if done.returncode:
            last = lines[-1] if lines else f"exit {done.returncode}"
            seen.stopped = last if done.returncode == REFUSED else f"{stage} crashed: {last}"
            break
    seen.seconds = time.perf_counter() - start
    return seen


def _failed(clone: Path, task: str) -> Iterator[str]:
    path = clone / "data" / "check" / task / "checks.json"
    for row in read_json(path) if path.exists() else []:
        if not row["held"]:
            yield f"check@{task}: {row['check']}: {row['saw']}"


class Drill:
    """One task's prepared clone, copied for each fault."""

    def __init__(self, task: str, scratch: Path) -> None:
        self.task = task
        self.scratch = scratch
        self.base = cloned(scratch / f"{task}-base")
        self.kind = kinds(self.base)[task]
        shutil.rmtree(self.base / ".git")
        seen = run_stages(self.base, task, ("prepare",))
        if seen.stopped:
            raise Refusal(f"the scratch clone without a fault: {seen.stopped}")

    def fault(self, fault: Fault) -> tuple[bool, str, float]:
        """Return whether a fault is found, what names it, and the seconds."""
        seen = self._verified(fault) if VERIFY in fault.run else self._run(fault)
        for line in seen.findings:
            if re.search(fault.named, line):
                return True, line, seen.seconds
        return False, seen.stopped or "nothing", seen.seconds

    def _run(self, fault: Fault) -> Seen:
        with self._copy(fault.name) as clone:
            if self.kind not in fault.whole:
                _rewrite(clone, self.task, _SMALL.get(self.kind, _SMALL[IMAGES]))
            plant(fault, clone, self.task)
            return run_stages(clone, self.task, fault.run)

    def _verified(self, fault: Fault) -> Seen:
        """Commit a forgery, and return what verify says of it."""
        clone = cloned(self.scratch / f"{self.task}-{fault.name}")
        plant(fault, clone, self.task)
        git(clone, "commit", "--quiet", "--all", "--message", "better", more=_GIT)
        start = time.perf_counter()
        done = ran(
            clone,
            sys.executable,
            *("-m", "stages.verify", "--tier", "metrics", "--only", self.task, "compare"),
        )
        seconds = time.perf_counter() - start
        shutil.rmtree(clone)
        return Seen(done.stdout.strip().splitlines(), f"verify: exit {done.returncode}", seconds)

    def clean(self, seed: int) -> tuple[bool, str, float]:
        """Return whether a run without a fault, with the task's own params, is silent.

        Args:
            seed: of the split and of the training, in place of the task's own.
        """
        with self._copy(f"clean-{seed}") as clone:
            changes = {"prepare": {"split": {"seed": seed}}, "train": {"seeds": [seed]}}
            _rewrite(clone, self.task, changes)
            seen = run_stages(clone, self.task, _CLEAN)
        said = [*seen.findings, seen.stopped] if seen.stopped else seen.findings
        return not said, said[0] if said else "nothing", seen.seconds

    @contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        clone = self.scratch / f"{self.task}-{name}"
        shutil.copytree(self.base, clone)
        try:
            yield clone
        finally:
            shutil.rmtree(clone)


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def drill(names: Sequence[str], faults: Sequence[Fault], clean: int, first: int = 1) -> bool:
    """Print a Markdown table of every fault and clean run; return whether all went as it should.

    Args:
        names: of tasks.
        faults: to plant.
        clean: how many runs without a fault, a task.
        first: the first one's seed; the next has the next.
    """
    print(_line("fault", "task", "result", "named by", "seconds"))
    print(_line(*["---"] * 5), flush=True)
    well = True
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            one = Drill(name, Path(scratch))
            for fault in (fault for fault in faults if fault.of(one.kind)):
                found, said, seconds = one.fault(fault)
                well &= found
                result = "found" if found else "**missed**"
                print(_line(fault.name, name, result, _short(said), f"{seconds:.0f}"), flush=True)
            for seed in range(first, first + clean):
                silent, said, seconds = one.clean(seed)
                well &= silent
                result = "silent" if silent else "**false alarm**"
                what = f"none (training and split seed {seed})"
                print(_line(what, name, result, _short(said), f"{seconds:.0f}"), flush=True)
    return well


def _short(line: str) -> str:
    return line if len(line) <= _SHOWN else line[:_SHOWN].rsplit(" ", 1)[0] + " …"


def _preface(faults: int, clean: int) -> str:
    here = machine(load(ROOT / FILE).runtime)
    versions = ", ".join(
        f"{name} {here[name]}" for name in ("python", "torch", "numpy", "scikit-learn")
    )
    return (
        "# Faults, planted and found\n\n"
        f"`python -m stages.faults drill` at commit {git(ROOT, 'rev-parse', '--short', 'HEAD')}: "
        f"{faults} kinds of fault, planted one at a time in a scratch clone, one run each, with small "
        f"params where these show the fault; then {clean} runs of each task without a fault and with "
        "its own params, only the seeds of the split and of the training changed, where any alarm is a "
        "false one. Seconds are those of the stages that have to run. "
        f"{here['processor']}, {here['cores']} cores, {here['threads']} threads, {versions}.\n"
    )


def _list() -> None:
    rows = kinds(ROOT)
    for fault in FAULTS:
        fit = ", ".join(name for name, kind in rows.items() if fault.of(kind))
        print(f"{fault.name}: {fault.what}\n    named by {fault.by} ({fit})")


def _chosen(name: str, task: str | None) -> tuple[Fault, str]:
    """Return the fault of that name (or any one), and the task: the one given, or the first it fits."""
    rows = kinds(ROOT)
    able = [f for f in FAULTS if name in {f.name, ANY} and (not task or f.of(rows[task]))]
    if not able:
        raise Refusal(f"{name} makes no sense for {task}; `python -m stages.faults list`")
    fault = secrets.choice(able)
    return fault, task or next(row for row, kind in rows.items() if fault.of(kind))


def _plant(name: str, task: str | None, into: Path | None, *, quiet: bool) -> None:
    if into and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Refusal(
            f"--into: {into} is there already; name a folder that is not, or an empty one"
        )
    fault, task = _chosen(name, task)
    clone = cloned((into or Path(tempfile.mkdtemp(prefix="fault-"))).resolve())
    plant(fault, clone, task)
    if quiet:  # one commit without a past, so that git does not tell where the fault is
        shutil.rmtree(clone / ".git")
        git(clone, "init", "--quiet", "--initial-branch", "main")
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", "as it stands", more=_GIT)
    else:
        print(f"{fault.name}: {fault.what}; to be named by {fault.by}; `git diff` shows it")
    if VERIFY in fault.run:
        print(f"cd {clone} && git commit --quiet --all --message better; python -m stages.verify")
    else:
        print(f"cd {clone} && dvc repro --glob '*@{task}'")


def main() -> None:
    """List the faults, plant one, or drill them all."""
    parser = argparse.ArgumentParser(prog="python -m stages.faults", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    known, names = list(kinds(ROOT)), [fault.name for fault in FAULTS]
    commands.add_parser("list", help="what can be planted, and which check has to name it")
    planting = commands.add_parser("plant", help="leave a clone with a fault in it")
    planting.add_argument("name", choices=[*names, ANY])
    planting.add_argument("--task", choices=known, help="default: the first one that it fits")
    planting.add_argument("--quiet", action="store_true", help="do not say what it is, or where")
    planting.add_argument("--into", type=Path, help="the clone's folder (default: a temporary one)")
    drilling = commands.add_parser("drill", help="plant each fault, and see which check names it")
    drilling.add_argument("--task", choices=known, help="one task only")
    drilling.add_argument("--fault", choices=names, help="one fault only")
    drilling.add_argument("--clean", type=int, default=3, help="runs without a fault, a task")
    drilling.add_argument("--seed", type=int, default=1, help="of the first of them")
    given = parser.parse_args()
    with refusing("faults"):
        if given.command == "list":
            _list()
        elif given.command == "plant":
            _plant(given.name, given.task, given.into, quiet=given.quiet)
        else:
            faults = [fault for fault in FAULTS if given.fault in {None, fault.name}]
            print(_preface(len(faults), given.clean))
            tasks = [given.task] if given.task else known
            if not drill(tasks, faults, given.clean, given.seed):
                raise SystemExit(1)


if __name__ == "__main__":
    main()
