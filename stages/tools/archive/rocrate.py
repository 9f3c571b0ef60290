"""RO-Crate metadata of an archive: the pipeline as a workflow, and each stage as an action.

RO-Crate 1.1 with the profiles Process Run Crate, Workflow Run Crate and Provenance Run Crate, 0.5
(https://www.researchobject.org/workflow-run-crate/profiles/). Times are left out: no stage records any,
and the same commit must give the same bytes.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from stages.tools.archive.cached import CachedFile, locked_stages
from stages.tools.archive.members import CRATE, REPOSITORY, Member
from stages.tools.archive.revision import Revision
from stages.tools.archive.task_evidence import MACHINES, TaskEvidence

Entity = dict[str, Any]

_CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    _WORKFLOW: ("Workflow RO-Crate", "1.0"),
}
_PIPELINE, _PARAMS = "dvc.yaml", "params.yaml"
_ENGINE, _LANGUAGE, _AUTHOR, _RUN = "#dvc", "#dvc-pipeline", "#author", "#run"
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
class _Graph:
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
            _uri(name),
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
            return {"@id": _uri(f"{REPOSITORY}{path}")}
        md5 = f"md5 {entry.get('md5')}, as DVC computes it"
        parts = [*self.folders.get(f"{REPOSITORY}{path}", ()), *self.outputs.get(path, ())]
        where = "" if parts else "not in the archive; `dvc repro` makes it"
        return self.add(
            f"#{quote(path)}",
            "Dataset" if parts or md5.endswith(".dir") else "CreativeWork",
            name=path,
            identifier=md5,
            description=where,
            hasPart=[{"@id": _uri(name)} for name in parts],
        )


def media_type(name: str) -> str:
    """Return the media type of a file by its name, the same on every system."""
    return _MEDIA_TYPES.get(posixpath.splitext(name)[1].lower(), "application/octet-stream")


def crate(
    revision: Revision,
    members: Iterable[Member],
    tasks: Sequence[TaskEvidence],
    outputs: Mapping[str, Sequence[CachedFile]],
) -> dict[str, Any]:
    """Return the content of ro-crate-metadata.json.

    Args:
        revision: the commit.
        members: every file of the archive but this one and those about the archive itself.
        tasks: of the commit.
        outputs: what DVC keeps in its cache, by its path in the repository.
    """
    files = {member.name: member for member in members}
    names = {
        path: list(dict.fromkeys(file.member.name for file in cached))
        for path, cached in outputs.items()
    }
    graph = _Graph(files, names)
    _describe_files(graph, outputs)
    actions = _describe_stages(graph, revision, _machines(graph, tasks))
    title, description, licence = _project(graph, revision)
    graph.add(CRATE, "CreativeWork", about={"@id": "./"}, conformsTo=_references(_CRATE, _WORKFLOW))
    for profile, (name, version) in _PROFILES.items():
        graph.add(profile, "CreativeWork", name=name, version=version)
    graph.add(_AUTHOR, "Person", name=revision.author or "unknown")
    graph.add(
        "./",
        "Dataset",
        name=title,
        description=description,
        identifier=revision.commit,
        datePublished=revision.time.isoformat(),
        license=licence,
        author={"@id": _AUTHOR},
        conformsTo=_references(*_PROFILES),
        mainEntity={"@id": _uri(f"{REPOSITORY}{_PIPELINE}")},
        hasPart=[{"@id": _uri(name)} for name in sorted(files)],
        mentions=actions,
    )
    return {
        "@context": _CONTEXT,
        "@graph": [graph.entities[name] for name in sorted(graph.entities)],
    }


def _describe_files(graph: _Graph, outputs: Mapping[str, Sequence[CachedFile]]) -> None:
    for name in graph.files:
        graph.add_file(name)
    original: dict[str, list[str]] = {}
    for cached in outputs.values():
        for file in cached:
            original.setdefault(file.member.name, []).append(file.path)
    for name, paths in original.items():
        graph.add_file(name, alternateName=paths if len(paths) > 1 else paths[0])


def _describe_stages(
    graph: _Graph, revision: Revision, machines: Mapping[str, Sequence[Entity]]
) -> list[Entity]:
    """Add the workflow, its steps and their runs; return references to the runs."""
    workflow = _uri(f"{REPOSITORY}{_PIPELINE}")
    steps, tools, controls, runs = [], {}, [], []
    for position, (stage, entry) in enumerate(locked_stages(revision).items(), 1):
        command = str(entry.get("cmd"))
        tool = _tool(graph, command)
        tools[tool["@id"]] = tool
        identifier = quote(stage)
        step = graph.add(
            f"#step/{identifier}", "HowToStep", name=stage, position=str(position), workExample=tool
        )
        run = graph.add(
            f"#run/{identifier}",
            "CreateAction",
            name=f"Run of {stage}",
            description=command,
            instrument=tool,
            object=_inputs(graph, entry),
            result=[graph.data(out) for out in entry.get("outs") or []],
            resourceUsage=machines.get(stage.partition("@")[2]),
        )
        control = graph.add(
            f"#control/{identifier}",
            "ControlAction",
            name=f"DVC runs {stage}",
            instrument=step,
            object=run,
        )
        steps.append(step)
        runs.append(run)
        controls.append(control)
    return [_whole_run(graph, workflow, [*tools.values()], steps, controls), *runs]


def _whole_run(
    graph: _Graph, workflow: str, tools: list[Entity], steps: list[Entity], controls: list[Entity]
) -> Entity:
    language = graph.add(
        _LANGUAGE, "ComputerLanguage", name="DVC pipeline", url="https://dvc.org/doc"
    )
    graph.add(
        workflow,
        "File",
        name="DVC pipeline",
        programmingLanguage=language,
        hasPart=tools,
        step=steps,
    )
    graph.entities[workflow]["@type"] = [
        "File",
        "SoftwareSourceCode",
        "ComputationalWorkflow",
        "HowTo",
    ]
    inputs, results = _ends(graph)
    run = graph.add(
        _RUN,
        "CreateAction",
        name="Run of the pipeline",
        description="dvc repro",
        instrument={"@id": workflow},
        object=inputs,
        result=results,
    )
    engine = graph.add(_ENGINE, "SoftwareApplication", name="DVC", url="https://dvc.org")
    graph.add(
        "#engine-run",
        "OrganizeAction",
        name="Run of DVC",
        instrument=engine,
        object=controls,
        result=run,
    )
    return run


def _ends(graph: _Graph) -> tuple[list[Entity], list[Entity]]:
    """Return what the whole pipeline reads and no stage makes, and what it makes and the archive holds."""
    runs = [entity for name, entity in graph.entities.items() if name.startswith("#run/")]
    objects = {item["@id"]: item for run in runs for item in run.get("object", [])}
    results = {item["@id"]: item for run in runs for item in run.get("result", [])}
    inputs = [item for name, item in objects.items() if name not in results]
    held = [
        item
        for name, item in results.items()
        if not name.startswith("#") or graph.entities[name].get("hasPart")
    ]
    return inputs, held


def _inputs(graph: _Graph, entry: Mapping[str, Any]) -> list[Entity]:
    """Return what a stage has read: files and folders, and each file of params."""
    paths = [*(entry.get("deps") or []), *({"path": path} for path in entry.get("params") or {})]
    references = [graph.data(item) for item in paths]
    return [*{reference["@id"]: reference for reference in references}.values()]


def _tool(graph: _Graph, command: str) -> Entity:
    """Return what a command runs: the module of `python -m`, if the archive has it, or else a program."""
    words = command.split()
    if words[:2] == ["python", "-m"] and len(words) > 2:  # noqa: PLR2004 (python -m MODULE)
        name = f"{REPOSITORY}{words[2].replace('.', '/')}.py"
        if name in graph.files:
            identifier = _uri(name)
            graph.entities[identifier]["@type"] = ["File", "SoftwareSourceCode"]
            return {"@id": identifier}
    return graph.add(f"#command/{quote(command, safe='')}", "SoftwareApplication", name=command)


def _machines(graph: _Graph, tasks: Sequence[TaskEvidence]) -> dict[str, list[Entity]]:
    """Add the properties of each task's machine; return references to them by task."""
    machines = {}
    for task in tasks:
        machines[task.name] = [
            graph.add(
                f"#machine/{quote(task.name)}/{quote(str(key))}",
                "PropertyValue",
                name=str(key),
                propertyID=f"urn:evidence-first:machine:{quote(str(key))}",
                value=str(value),
                subjectOf={"@id": _uri(f"{REPOSITORY}{MACHINES}")},
            )
            for key, value in sorted(task.machine.items())
        ]
    return machines


def _project(graph: _Graph, revision: Revision) -> tuple[str, str, Any]:
    """Return title, description and licence of the project, as its own files state them."""
    import tomllib

    try:
        project = tomllib.loads(revision.text("pyproject.toml")).get("project", {})
    except tomllib.TOMLDecodeError:
        project = {}
    heading = revision.text("README.md").partition("\n")[0].lstrip("# ").strip()
    title = heading or str(project.get("name") or "A DVC pipeline")
    description = str(project.get("description") or f"{title}: pipeline, data, results and weights")
    licence: Any = "not stated"
    if isinstance(project.get("license"), str):
        name = project["license"]
        licence = graph.add(f"https://spdx.org/licenses/{quote(name)}", "CreativeWork", name=name)
    elif f"{REPOSITORY}LICENSE" in graph.files:
        licence = {"@id": f"{REPOSITORY}LICENSE"}
    return title, description, licence


def _references(*names: str) -> list[Entity]:
    return [{"@id": name} for name in names]


def _uri(name: str) -> str:
    """Return the path of a member as a relative URI."""
    return quote(name)
