"""Many image files, decoded in shards: side by side, and finished ones are not decoded again.

A shard is some consecutive files. A process decodes it into one file, whose name holds a digest of what the
pixels depend on. So an interrupted run goes on from the shards that are finished, an image file that has
changed since is decoded again, and the number of processes changes nothing.

With RAY_ADDRESS set, shards are tasks on that Ray cluster.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL

from stages.core.errors import UserError
from stages.core.files import read_arrays, write
from stages.core.progress import progress
from stages.core.side_by_side import run_side_by_side
from stages.core.slots import core_count
from stages.datasets.images import decoding, files
from stages.datasets.images.decoding import DecodedFile, Decoder, changed, file_state
from stages.datasets.images.files import GreyDepth, UnknownDepthError

if TYPE_CHECKING:
    from stages.core.files import Content

SHARD_FILES = 16_384
_SHARD_BYTES = 2**26  # of decoded pixels
_BYTES_OF_A_PIXEL = 8  # while a file is decoded, at most
_STATE_THREADS = 8  # that look up files, which waits for the storage


@dataclass(frozen=True)
class Shard:
    """Consecutive files of a folder.

    Attributes:
        decoder: of the files; its depth is a number of bits, or None until one is needed.
        paths: of the files, below the decoder's folder.
        folder: in which finished shards are.
        digest: of what the pixels depend on, but for the depth.
    """

    decoder: Decoder
    paths: Sequence[str]
    folder: Path
    digest: str

    @property
    def file(self) -> Path:
        """Return the file that holds the decoded shard once it is finished."""
        depth = "" if self.decoder.depth is None else f"-{self.decoder.depth}"
        return self.folder / f"{self.digest}{depth}.safetensors"

    @property
    def needs_depth(self) -> Path:
        """Return the file that says that the shard cannot be decoded without a depth."""
        return self.folder / f"{self.digest}.deep"

    def moved_to(self, folder: Path) -> "Shard":
        """Return the same shard for a process that runs elsewhere, with whole paths from `folder`."""
        decoder = replace(self.decoder, root=folder / self.decoder.root)
        return replace(self, decoder=decoder, folder=folder / self.folder)


def decode_files(
    decoder: Decoder, paths: Sequence[str], folder: Path | None
) -> Iterator[DecodedFile]:
    """Yield image files, decoded, in their order.

    Args:
        decoder: of the files.
        paths: of the files, below the decoder's folder.
        folder: where shards are kept that are finished; None: no shards.

    Raises:
        UserError: a file changes while it is read, or there is no such Ray cluster.
    """
    threads = _processes(decoder)
    length = max(1, min(SHARD_FILES, _SHARD_BYTES // int(np.prod(decoder.shape))))
    if folder is None or len(paths) <= length:
        yield from progress(decoder.decode_all(paths, threads), "reading images", len(paths))
        return
    shards = _cut(decoder, paths, length, folder)
    _finish(shards)
    if isinstance(decoder.depth, GreyDepth):
        present = set(folder.iterdir())
        deep = [shard.needs_depth in present for shard in shards]
        if any(deep):  # only now, as the depth is looked for in all files
            at_depth = replace(decoder, depth=decoder.depth.bits())
            shards = [
                replace(shard, decoder=at_depth) if is_deep else shard
                for shard, is_deep in zip(shards, deep, strict=True)
            ]
            _finish(shards)
    for shard in progress(shards, "packing images"):
        yield from _read(shard)


def write_shard(shard: Shard, threads: int = 1) -> None:
    """Decode a shard into its file, or leave word that this needs a depth.

    Raises:
        UserError: its files are not those that its digest stands for.
    """
    if not shard.decoder.root.is_dir() or not shard.folder.is_dir():
        raise UserError(
            f"{shard.decoder.root} or {shard.folder} is no folder on {platform.node()}: the images and "
            "the project must be on storage that all nodes see, at the same place"
        )
    pixels = np.empty((len(shard.paths), *shard.decoder.shape), dtype=np.uint8)
    further_frames = np.zeros(len(shard.paths), dtype=bool)
    problems: dict[str, str] = {}
    content: Content
    try:
        for index, decoded in enumerate(shard.decoder.decode_all(shard.paths, threads)):
            if decoded.pixels is None:
                problems[str(index)] = decoded.problem
            else:
                pixels[index - len(problems)] = decoded.pixels
            further_frames[index] = decoded.has_further_frames
    except UnknownDepthError:
        content, file = b"", shard.needs_depth
    else:
        content, file = (
            {
                "pixels": pixels[: len(pixels) - len(problems)],
                "further_frames": further_frames,
                "problems": np.frombuffer(json.dumps(problems).encode(), dtype=np.uint8),
            },
            shard.file,
        )
    if _digest(shard.decoder, shard.paths) != shard.digest:
        raise UserError(changed(shard.decoder.root))
    write(file, content)


def _read(shard: Shard) -> Iterator[DecodedFile]:
    """Yield the files of a finished shard; it is decoded again if its file is damaged or gone."""
    try:
        arrays = read_arrays(shard.file)
    except UserError:
        write_shard(shard, _processes(shard.decoder))
        arrays = read_arrays(shard.file)
    problems = json.loads(arrays["problems"].tobytes())
    images = iter(arrays["pixels"])
    for index, has_more in enumerate(arrays["further_frames"].tolist()):
        problem = problems.get(str(index))
        if problem is None:
            yield DecodedFile(next(images), has_further_frames=has_more)
        else:
            yield DecodedFile(None, problem)


def _finish(shards: Sequence[Shard]) -> None:
    """Decode the shards that are not finished: on a Ray cluster, in several processes, or here."""
    shards[0].folder.mkdir(parents=True, exist_ok=True)
    missing = _missing(shards)
    if not missing:
        return
    limit = _processes(missing[0].decoder)
    for status in progress(
        _ended(missing, limit), "reading images", len(shards), len(shards) - len(missing)
    ):
        if status < 0:
            print(
                f"a process that read images was ended by signal {-status}; they are read again",
                file=sys.stderr,
            )
    # What a process could not do, or what this system has no processes for.
    for shard in progress(_missing(shards), "reading images"):
        write_shard(shard, limit)


def _missing(shards: Sequence[Shard]) -> list[Shard]:
    """Return the shards that are not finished: neither decoded nor known to need a depth that they lack."""
    # One listing: it is up to date on network storage, where looking for single files may not be.
    present = set(shards[0].folder.iterdir())
    return [
        shard
        for shard in shards
        if shard.file not in present
        and not (shard.decoder.depth is None and shard.needs_depth in present)
    ]


def _ended(shards: Sequence[Shard], limit: int) -> Iterator[int]:
    """Decode shards elsewhere; yield an exit status for each that has ended."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return run_side_by_side([partial(write_shard, shard) for shard in shards], limit)
    from stages.core.ray_tasks import run_on_ray

    return run_on_ray(address, write_shard, [shard.moved_to(Path.cwd()) for shard in shards])


def _cut(decoder: Decoder, paths: Sequence[str], length: int, folder: Path) -> list[Shard]:
    depth = decoder.depth if isinstance(decoder.depth, int) else None
    decoder = replace(decoder, depth=depth)
    parts = [paths[start : start + length] for start in range(0, len(paths), length)]
    with ThreadPoolExecutor(_STATE_THREADS) as pool:
        digests = pool.map(partial(_digest, decoder), parts)
        return [
            Shard(decoder, part, folder, digest)
            for part, digest in zip(parts, digests, strict=True)
        ]


def _digest(decoder: Decoder, paths: Sequence[str]) -> str:
    """Return a digest of files, by name, size and time of change, and of how they are decoded."""
    digest = hashlib.sha256(f"{PIL.__version__} {decoder.shape} {decoder.max_pixels}".encode())
    for module in (files, decoding):
        digest.update(Path(str(module.__file__)).read_bytes())
    for path in paths:
        digest.update(
            f"{path!r} {file_state(decoder.root / path)}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()[:32]


def _processes(decoder: Decoder) -> int:
    """Return how many files can be decoded at the same time: by cores, and by half of the free memory."""
    import psutil

    free: int = psutil.virtual_memory().available // 2
    return max(1, min(core_count(), free // (_BYTES_OF_A_PIXEL * decoder.max_pixels)))
