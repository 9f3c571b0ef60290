"""Croissant metadata of a task's data: its files with their hashes, and the columns of its tables.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html). Files are named relative to
croissant.json, so the metadata hold wherever the archive is unpacked.
"""

import csv
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from stages.core.files import to_csv
from stages.tools.archive.cached import CachedFile
from stages.tools.archive.crate_graph import media_type
from stages.tools.archive.forms import Form
from stages.tools.archive.members import TASKS, Member
from stages.tools.archive.revision import Revision
from stages.tools.archive.task_evidence import TaskEvidence

SAMPLES, RAW_FILES = "samples.csv", "raw_files.csv"
_VERSION = "http://mlcommons.org/croissant/1.0"
_LICENCES = {  # by how the dataset notes begin
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "MIT": "https://spdx.org/licenses/MIT",
}
_TERMS = """
    citeAs column conformsTo equivalentProperty extract field fileObject fileProperty fileSet format
    includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace
    samplingRate separator source subField transform
""".split()  # noqa: SIM905 (easier to read)
_INTEGER, _TEXT = "sc:Integer", "sc:Text"
_INTEGER_COLUMNS = {"row", "label", "bytes"}
_TABLE_TYPES = {".csv": "text/csv", ".tsv": "text/tab-separated-values"}
_SEPARATORS = {"comma": ".csv", "tab": ".tsv"}


def croissant(
    revision: Revision, task: TaskEvidence, members: Mapping[str, Member], form: Form
) -> dict[str, Any]:
    """Return the content of croissant.json.

    Args:
        revision: the commit.
        task: whose data they are.
        members: the archive's files by name; those of this task's folder that are tables are described.
        form: the facts about the data set, with what people have answered.
    """
    note, facts = task.note, {item.id: item for item in form.items}
    folder = f"{TASKS}{task.name}/"
    tables = [name for name in (SAMPLES, RAW_FILES) if f"{folder}{name}" in members]
    objects = [_file_object(members[f"{folder}{name}"], name, folder) for name in tables]
    records = [_record_set(members[f"{folder}{name}"], name) for name in tables]
    if tables[:1] == [SAMPLES] and note.get("classes"):
        records.append(_class_set(note["classes"]))
        _label_field(records[0])["references"] = {"field": {"@id": "classes/index"}}
    raw = _raw_table(task, members)
    if raw:
        objects.append(_file_object(raw, posixpath.basename(raw.name), folder))
        records.append(_raw_record_set(task, posixpath.basename(raw.name)))
    licence = str(note.get("licence", "not stated"))
    metadata = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": _VERSION,
        "name": task.name,
        "description": " ".join(
            f"{note[key]}." for key in ("origin", "label_rules", "split_rule") if note.get(key)
        ),
        "license": next(
            (url for name, url in _LICENCES.items() if licence.startswith(name)), licence
        ),
        "url": facts["address"].note or f"../../repository/evidence/{task.name}/index.html",
        "creator": {
            "@type": "sc:Organization",
            "name": facts["creator"].note or facts["creator"].text(),
        },
        "datePublished": revision.time.date().isoformat(),
        "version": "1.0.0",
        "distribution": objects,
        "recordSet": records,
    }
    if facts["citation"].note:
        metadata["citeAs"] = facts["citation"].note
    return metadata


def _context() -> dict[str, Any]:
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "dct": "http://purl.org/dc/terms/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
        **{term: f"cr:{term}" for term in _TERMS},
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
    }


def _file_object(member: Member, name: str, folder: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": posixpath.relpath(member.name, folder),
        "contentSize": f"{member.size} B",
        "encodingFormat": media_type(name),
        "sha256": member.sha256,
    }


def _record_set(member: Member, name: str) -> dict[str, Any]:
    """Return the columns of one of our own tables."""
    with member.open() as stream:
        columns = next(csv.reader([stream.readline().decode()]))
    return _fields(name, {column: column for column in columns}, posixpath.splitext(name)[0])


def _raw_record_set(task: TaskEvidence, name: str) -> dict[str, Any]:
    """Return the columns of a table of texts that the params name."""
    columns = {
        key: column for key, column in task.prepare["columns"].items() if isinstance(column, str)
    }
    slices = task.prepare["columns"].get("slices") or []
    return _fields(name, {**columns, **{column: column for column in slices}}, "texts")


def _fields(table: str, columns: Mapping[str, str], name: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The rows of {table}",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{key}",
                "name": key,
                "description": f"The column {column}",
                "dataType": _INTEGER if name != "texts" and key in _INTEGER_COLUMNS else _TEXT,
                "source": {"fileObject": {"@id": table}, "extract": {"column": column}},
            }
            for key, column in columns.items()
        ],
    }


def _class_set(classes: Sequence[str]) -> dict[str, Any]:
    """Return the names of the classes, by the number that the samples have as their label."""
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The names of the classes",
        "key": {"@id": "classes/index"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"classes/{key}",
                "name": key,
                "description": description,
                "dataType": data_type,
            }
            for key, description, data_type in (
                ("index", "The label of the samples", _INTEGER),
                ("name", "The name of the class", _TEXT),
            )
        ],
        "data": [
            {"classes/index": index, "classes/name": str(name)}
            for index, name in enumerate(classes)
        ],
    }


def _label_field(record_set: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {field["name"]: field for field in record_set["field"]}
    return fields.get("label", {})


def _raw_table(task: TaskEvidence, members: Mapping[str, Member]) -> Member | None:
    """Return the raw table of texts, if the archive has it as plain CSV or TSV in git."""
    member = members.get(f"repository/{task.raw_path}")
    suffix = posixpath.splitext(task.raw_path)[1].lower()
    separator = _SEPARATORS.get(task.prepare.get("separator") or "", suffix)
    is_table = isinstance(task.prepare.get("columns"), dict) and suffix in _TABLE_TYPES
    return member if member and is_table and separator == suffix else None


def raw_table(files: Sequence[tuple[str, Member]]) -> bytes:
    """Return the table of a task's raw files: path in the repository, place in the archive, size, hash."""
    import pandas as pd

    rows = [(path, member.name, member.size, member.sha256) for path, member in files]
    return to_csv(pd.DataFrame(rows, columns=["path", "member", "bytes", "sha256"]))


def prepared_table(prepared: Sequence[CachedFile]) -> Member | None:
    """Return the table of samples among the outputs of the stage prepare, if it is there."""
    return next(
        (file.member for file in prepared if posixpath.basename(file.path) == SAMPLES), None
    )
