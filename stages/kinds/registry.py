"""The kinds of task. To add a kind, add its package and a line here."""

from importlib import import_module

from stages.kinds.kind import Kind

NAMES = (
    "image_classification",
    "text_classification",
    "image_generation",
)
KINDS: dict[str, Kind] = {name: import_module(f"stages.kinds.{name}").KIND for name in NAMES}
