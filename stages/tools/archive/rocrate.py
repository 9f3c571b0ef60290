"""RO-Crate metadata of an archive: the pipeline as a workflow, and each stage as an action.

RO-Crate 1.1 with the profiles Process Run Crate, Workflow Run Crate and Provenance Run Crate, 0.5
(https://www.researchobject.org/workflow-run-crate/profiles/). Times are left out: no stage records any,
and the same commit must give the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from stages.tools.archive.cached import CachedFile, locked_stages
from stages.tools.archive.crate_graph import Entity, Graph, uri
from stages.tools.archive.members import CRATE, README, REPOSITORY, Member
from stages.tools.archive.revision import Revision
from stages.tools.archive.task_evidence import MACHINES, TaskEvidence

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


def crate(
    revision: Revision,
    members: Iterable[Member],
    tasks: Sequence[TaskEvidence],
    outputs: Mapping[str, Sequence[CachedFile]],
) -> dict[str, Any]:
    """Return the content of ro-crate-metadata.json.

    Args:
        revision: the commit.
        members: every file of the archive but this one and the manifest.
        tasks: of the commit.
        outputs: what DVC keeps in its cache, by its path in the repository.
    """
    files = {member.name: member for member in members}
    names = {
        path: list(dict.fromkeys(file.member.name for file in cached))
        for path, cached in outputs.items()
    }
    graph = Graph(files, names)
    _describe_files(graph, outputs)
    graph.add_file(README, about={"@id": "./"})
    has_pipeline = f"{REPOSITORY}{_PIPELINE}" in files
    actions = _describe_stages(graph, revision, _machines(graph, tasks)) if has_pipeline else []
    engines = {str(task.machine["dvc"]): None for task in tasks if "dvc" in task.machine}
    if has_pipeline:
        graph.add(_ENGINE, "SoftwareApplication", softwareVersion=", ".join(engines))
    title, description, licence = _project(graph, revision)
    profiles = [*_PROFILES] if has_pipeline else []
    conforms = _references(_CRATE, *([_WORKFLOW] if has_pipeline else []))
    graph.add(CRATE, "CreativeWork", about={"@id": "./"}, conformsTo=conforms)
    for profile in profiles:
        name, version = _PROFILES[profile]
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
        conformsTo=_references(*profiles),
        mainEntity={"@id": uri(f"{REPOSITORY}{_PIPELINE}")} if has_pipeline else None,
        hasPart=[{"@id": uri(name)} for name in sorted(files)],
        mentions=actions,
    )
    return {
        "@context": _CONTEXT,
        "@graph": [_compact(graph.entities[name]) for name in sorted(graph.entities)],
    }


def _compact(entity: Entity) -> Entity:
    """Return an entity with lists of one value replaced by the value, as RO-Crate 1.1 recommends."""
    return {
        key: value[0] if isinstance(value, list) and len(value) == 1 else value
        for key, value in entity.items()
    }


def _describe_files(graph: Graph, outputs: Mapping[str, Sequence[CachedFile]]) -> None:
    for name in graph.files:
        graph.add_file(name)
    original: dict[str, list[str]] = {}
    for cached in outputs.values():
        for file in cached:
            original.setdefault(file.member.name, []).append(file.path)
    for name, paths in original.items():
        graph.add_file(name, alternateName=paths if len(paths) > 1 else paths[0])


def _describe_stages(
    graph: Graph, revision: Revision, machines: Mapping[str, Sequence[Entity]]
) -> list[Entity]:
    """Add the workflow, its steps and their runs; return references to the runs."""
    workflow = uri(f"{REPOSITORY}{_PIPELINE}")
    steps, tools, controls, runs = [], {}, [], []
    for position, (stage, entry) in enumerate(locked_stages(revision).items(), 1):
        command = str(entry.get("cmd"))
        tool = _tool(graph, command, revision.commit)
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
    return [_whole_run(graph, workflow, revision.commit, [*tools.values()], steps, controls), *runs]


def _whole_run(
    graph: Graph,
    workflow: str,
    version: str,
    tools: list[Entity],
    steps: list[Entity],
    controls: list[Entity],
) -> Entity:
    language = graph.add(
        _LANGUAGE, "ComputerLanguage", name="DVC pipeline", url="https://dvc.org/doc"
    )
    graph.add(
        workflow,
        "File",
        name="DVC pipeline",
        programmingLanguage=language,
        version=version,
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


def _ends(graph: Graph) -> tuple[list[Entity], list[Entity]]:
    """Return what the whole pipeline reads and no stage makes, and what it makes and the archive holds."""
    runs = [entity for name, entity in graph.entities.items() if name.startswith("#run/")]
    objects = {item["@id"]: item for run in runs for item in run.get("object", [])}
    results = {item["@id"]: item for run in runs for item in run.get("result", [])}
    inputs = [item for name, item in objects.items() if name not in results]
    archived = [
        item
        for name, item in results.items()
        if not name.startswith("#") or graph.entities[name].get("hasPart")
    ]
    return inputs, archived


def _inputs(graph: Graph, entry: Mapping[str, Any]) -> list[Entity]:
    """Return what a stage has read: files and folders, and each file of params."""
    paths = [*(entry.get("deps") or []), *({"path": path} for path in entry.get("params") or {})]
    references = [graph.data(item) for item in paths]
    return [*{reference["@id"]: reference for reference in references}.values()]


def _tool(graph: Graph, command: str, version: str) -> Entity:
    """Return what a command runs: the module of `python -m`, if the archive has it, or else a program."""
    words = command.split()
    if words[:2] == ["python", "-m"] and len(words) > 2:  # noqa: PLR2004 (python -m MODULE)
        name = f"{REPOSITORY}{words[2].replace('.', '/')}.py"
        if name in graph.files:
            identifier = uri(name)
            graph.entities[identifier]["@type"] = ["File", "SoftwareSourceCode"]
            return graph.add(identifier, "File", version=version)
    return graph.add(f"#command/{quote(command, safe='')}", "SoftwareApplication", name=command)


def _machines(graph: Graph, tasks: Sequence[TaskEvidence]) -> dict[str, list[Entity]]:
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
                subjectOf={"@id": uri(f"{REPOSITORY}{MACHINES}")},
            )
            for key, value in sorted(task.machine.items())
        ]
    return machines


def _project(graph: Graph, revision: Revision) -> tuple[str, str, Any]:
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
