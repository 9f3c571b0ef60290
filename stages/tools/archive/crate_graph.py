"""The entities of a crate, and references between them."""

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from stages.tools.archive.members import REPOSITORY, Member

Entity = dict[str, Any]

_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".dir": "application/json",  # DVC's listing of a folder
    ".gif": "image/gif",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".lock": "application/yaml",
    ".md": "text/markdown",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".whl": "application/zip",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


@dataclass
class Graph:
    """The entities of a crate by their identifier.

    Attributes:
        files: the archive's members by name.
        outputs: names of members by the path, in the repository, of what DVC keeps in its cache.
        entities: in the order in which they were added.
        folders: the members below each folder of the archive.
    """

    files: Mapping[str, Member]
    outputs: Mapping[str, Sequence[str]]
    entities: dict[str, Entity] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for name in sorted(self.files):
            parts = name.split("/")
            for depth in range(1, len(parts)):
                self.folders["/".join(parts[:depth])].append(name)

    def add(self, entity_id: str, kind: str, /, **properties: Any) -> Entity:
        """Add an entity, or properties to one, and return a reference to it."""
        entity = self.entities.setdefault(entity_id, {"@id": entity_id, "@type": kind})
        entity.update({key: value for key, value in properties.items() if value})
        return {"@id": entity_id}

    def add_file(self, name: str, **properties: Any) -> Entity:
        """Add a member of the archive."""
        member = self.files[name]
        return self.add(
            uri(name),
            "File",
            name=posixpath.basename(name),
            sha256=member.sha256,
            contentSize=str(member.size),
            encodingFormat=media_type(name),
            **properties,
        )

    def data(self, entry: Mapping[str, Any]) -> Entity:
        """Return a reference to an input or output, by its entry in dvc.lock."""
        path = str(entry.get("path"))
        if f"{REPOSITORY}{path}" in self.files:
            return {"@id": uri(f"{REPOSITORY}{path}")}
        md5 = f"md5 {entry.get('md5')}, as DVC computes it"
        parts = [*self.folders.get(f"{REPOSITORY}{path}", ()), *self.outputs.get(path, ())]
        absence = "" if parts else "not in the archive; `dvc repro` makes it"
        return self.add(
            f"#{quote(path)}",
            "Dataset" if parts or md5.endswith(".dir") else "CreativeWork",
            name=path,
            identifier=md5,
            description=absence,
            hasPart=[{"@id": uri(name)} for name in parts],
        )


def media_type(name: str) -> str:
    """Return the media type of a file by its name, the same on every system."""
    return _MEDIA_TYPES.get(posixpath.splitext(name)[1].lower(), "application/octet-stream")


def uri(name: str) -> str:
    """Return the path of a member as a relative URI."""
    return quote(name)
