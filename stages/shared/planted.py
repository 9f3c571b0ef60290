"""The faults that can be planted: what each replaces where, and which check has to name it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.shared.files import as_json
from stages.shared.refusal import Refusal

METRICS, LOCK, VERIFY = "metrics/metrics.json", "dvc.lock", "verify"
IMAGES, TEXTS, SAMPLES = "images", "texts", "samples"
DRAWN = "drawn images"  # as images, but nobody is behind them: there are no groups


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
                "times, must be once; the code has changed: mend the fault in stages/shared/planted.py"
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
