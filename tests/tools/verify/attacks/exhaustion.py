"""Small files that stand for more than a machine has: memory, time, files."""

import struct
import zlib

from attacks.attack import DATA, METRICS, OUTSIDE, PACK, TASK, UNCHECKED, Target, family

attack = family("files without end", status=UNCHECKED)
LIMIT = ["--seconds", "60"]
_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@attack("params.yaml", quick=True)
def aliases_in_params(target: Target) -> None:
    """Aliases of aliases, which stand for a billion values."""
    target.append("params.yaml", _BOMB)


@attack("dvc.yaml")
def aliases_in_the_pipeline(target: Target) -> None:
    """The same in dvc.yaml."""
    target.append("dvc.yaml", _BOMB)


@attack("dvc.lock")
def aliases_in_the_lock(target: Target) -> None:
    """The same in dvc.lock."""
    target.append("dvc.lock", _BOMB)


@attack("photos.dvc")
def aliases_in_a_data_file(target: Target) -> None:
    """The same in a file of DVC's data."""
    target.add("photos.dvc", f"{_BOMB}outs:\n- md5: {'a' * 32}\n  path: photos\n")


@attack("params.yaml")
def aliases_in_one_value(target: Target) -> None:
    """The same in one value of params.yaml."""
    bomb = "".join(f"      {line}\n" for line in _BOMB.splitlines())
    target.append("params.yaml", f"  other:\n    kind:\n{bomb}")


@attack("dvc.yaml")
def merged_aliases(target: Target) -> None:
    """Mappings that are merged into each other."""
    lines = "".join(
        f"b{n}: &b{n}\n  <<: [{', '.join([f'*b{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    target.append("dvc.yaml", f"b0: &b0 {{x: 1}}\n{lines}")


@attack("dvc.lock")
def lock_too_deep(target: Target) -> None:
    """Lists in lists."""
    target.append("dvc.lock", f"deep: {'[' * 20_000}{']' * 20_000}\n")


@attack("nested too deeply")
def params_too_deep(target: Target) -> None:
    """Lists in lists, which a program reads by calling itself."""
    target.append("params.yaml", f"deep: {'[' * 20_000}{']' * 20_000}\n")


@attack("nested too deeply", tier="metrics")
def metrics_too_deep(target: Target) -> None:
    """The same in the metrics of the pack."""
    target.path(f"{DATA}/metrics.json").write_text("[" * 200_000)
    target.relock_results()


@attack("digits", tier="metrics")
def number_too_long(target: Target) -> None:
    """A number of a million digits."""
    target.replace(f"{DATA}/metrics.json", '"n": ', f'"n": {"9" * 1_000_000}')
    target.relock_results()


@attack("digits")
def number_too_long_in_params(target: Target) -> None:
    """The same in params.yaml, which DVC reads."""
    target.replace("params.yaml", "epochs: 4", f"epochs: {'9' * 100_000}")


@attack("predictions.csv", tier="metrics", status=OUTSIDE)
def line_too_long(target: Target) -> None:
    """A cell of 30 MB."""
    target.replace(f"{DATA}/predictions.csv", "cluster-", "c" * 30_000_000)
    target.relock_results()


@attack("200,0", tier="metrics", status=OUTSIDE)
def columns_too_many(target: Target) -> None:
    """A table of 200,000 columns."""
    path = target.path(f"{DATA}/predictions.csv")
    head, rest = path.read_text().split("\n", 1)
    path.write_text(f"{head}{',x' * 200_000}\n{rest}")
    target.relock_results()


@attack("params.yaml")
def tags_of_python(target: Target) -> None:
    """A value that a careless parser makes by running a program."""
    target.append("params.yaml", f'other: !!python/object/apply:os.system ["{target.shell}"]\n')


@attack("dvc.lock")
def tags_of_python_in_the_lock(target: Target) -> None:
    """The same in dvc.lock."""
    target.append("dvc.lock", f'other: !!python/object/apply:os.system ["{target.shell}"]\n')


@attack("params.yaml")
def tags_that_do_not_fit(target: Target) -> None:
    """Values that are not of the type that their tag says."""
    target.append("params.yaml", "other: [!!bool [1], !!int {a: 1}]\n")


@attack("60 s")
def stages_too_many(target: Target) -> None:
    """A matrix of a million stages."""
    target.options += LIMIT
    numbers = list(range(100))
    target.edit_yaml(
        "dvc.yaml",
        lambda content: content["stages"].update(
            many={
                "matrix": {"a": numbers, "b": numbers, "c": numbers},
                "cmd": "true ${item.a} ${item.b} ${item.c}",
            }
        ),
    )


@attack("files")
def files_too_many(target: Target) -> None:
    """One tree of git, ten times in itself, six times over: a million files."""
    blob = target.git("hash-object", "-w", "--stdin", text="x")
    entry = f"100644 blob {blob}"
    for _ in range(6):
        lines = "".join(f"{entry}\td{number}\n" for number in range(10))
        entry = f"040000 tree {target.git('mktree', text=lines)}"
    tree = target.git("mktree", text=f"{target.git('ls-tree', 'HEAD')}\n{entry}\tbomb\n")
    target.revision = target.git("commit-tree", tree, "-p", "HEAD", "-m", "forged")
    target.git("update-ref", "refs/heads/bomb", target.revision)
    target.committed = True


@attack("nested folders")
def folders_too_deep(target: Target) -> None:
    """Folders in folders, deeper than a program can follow by calling itself."""
    folder = target.path(f"{PACK}/data")
    deep = "/".join(["d"] * 1_500)
    blob = target.git("hash-object", "-w", "--stdin", text="x")
    name = f"{folder.relative_to(target.folder)}/{deep}/x"
    target.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    target.git("commit", "--quiet", "-m", "forged")
    target.committed = True


@attack("files")
def names_too_long(target: Target) -> None:
    """So many long names that the code before them would fall out of a list that is cut."""
    blob = target.git("hash-object", "-w", "--stdin", text="x")
    tree = target.git(
        "mktree",
        text="".join(f"100644 blob {blob}\t{'n' * 240}{number}\n" for number in range(20_000)),
    )
    for _ in range(14):
        tree = target.git("mktree", text=f"040000 tree {tree}\t{'z' * 250}\n")
    target.add("sitecustomize.py", target.python)
    target.commit()
    entries = f"{target.git('ls-tree', 'HEAD')}\n040000 tree {tree}\tzz\n"
    target.revision = target.git(
        "commit-tree", target.git("mktree", text=entries), "-p", "HEAD", "-m", "forged"
    )
    target.git("update-ref", "refs/heads/long", target.revision)


@attack("GB")
def files_too_large(target: Target) -> None:
    """Files of 400 GB in all, which git holds in 400 kB."""
    target.add("zeros", b"\0" * 400_000_000)
    blob = target.git("rev-parse", ":zeros")
    lines = "".join(f"100644 {blob}\tzeros-{number}\n" for number in range(1000))
    target.git("update-index", "--index-info", text=lines)
    target.git("commit", "--quiet", "-m", "forged")
    target.committed = True


@attack("evidence/workshop/pictures", status=OUTSIDE)
def file_too_large(target: Target) -> None:
    """A file of 300 MB of zeros, which git holds in 300 kB."""
    target.add(f"{PACK}/pictures/huge.png", b"\0" * 300_000_000)


def png(width: int, height: int) -> bytes:
    """Return a picture that declares more pixels than it has."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 50_000_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@attack("prepare", tier="metrics", status=OUTSIDE)
def pixels_too_many(target: Target) -> None:
    """Raw pictures of 50 kB, each of which stands for 10 GB of pixels."""
    for name in ("a", "b"):
        for number in range(12):
            target.add(f"data/raw/bombs/{name}/{number}.png", png(100_000, 100_000))
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"][TASK]["prepare"].update(
            source="folder", path="data/raw/bombs", stripes=None, unreadable="list"
        ),
    )


@attack("data/raw/photos", tier="metrics", status=OUTSIDE)
def pattern_without_end(target: Target) -> None:
    """A regular expression that takes longer than the universe has lasted."""
    target.options += LIMIT
    for name in ("a", "b"):
        for number in range(12):
            target.add(f"data/raw/photos/{name}/{'a' * 60}{number}!.png", png(16, 16))
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"][TASK]["prepare"].update(
            source="folder",
            path="data/raw/photos",
            stripes=None,
            unreadable="list",
            group_pattern="((a+)+)+$",
        ),
    )


@attack(METRICS, status=OUTSIDE)
def record_too_long(target: Target) -> None:
    """A record of a machine with a name of 20 MB."""

    def change(records: dict[str, dict[str, dict[str, str]]]) -> None:
        records[TASK]["machine"]["processor"] = "x" * 20_000_000

    target.edit_json("evidence/machine.json", change)
    target.forge_metric()


@attack(METRICS, status=OUTSIDE)
def name_too_long(target: Target) -> None:
    """A stage whose name fills the screen of the reader many times."""
    name = "x" * 1_000_000
    target.edit_yaml(
        "dvc.yaml",
        lambda content: content["stages"].update({name: {"cmd": "true", "outs": ["x"]}}),
    )
    target.forge_metric()
