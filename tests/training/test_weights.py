"""Weights on disk: safetensors only."""

import os
from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.training.weights import read_weights


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04K\x01.", b"\xff" * 64], ids=["empty", "pickle", "junk"]
)
def test_a_file_that_is_no_safetensors_is_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_weights(tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="no such file of weights"):
        read_weights(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "."])
def test_what_is_no_file_is_not_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a file"):
        read_weights(tmp_path / name)
