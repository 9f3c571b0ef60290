"""What goes into an archive: the commit, the objects of DVC's cache that it needs, and metadata."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.files import to_json
from stages.report.rendering import escape_markdown, render_markdown
from stages.tools.archive import cached, croissant, members, rocrate, wheels
from stages.tools.archive.cached import CachedFile, Output
from stages.tools.archive.forms import Form, fill_forms
from stages.tools.archive.members import REPOSITORY, TASKS, Member
from stages.tools.archive.model_card import model_card
from stages.tools.archive.revision import EXECUTABLE, Revision
from stages.tools.archive.task_evidence import Holder, TaskEvidence, raw_files, read_tasks

_README = Path(__file__).with_name("readme.md.j2")
CARD, DATA_SET = "Model card", "Data set"


@dataclass
class Contents:
    """What an archive holds.

    Attributes:
        revision: the commit.
        data: whether the data that DVC tracks, and prepared samples, are in it.
        tasks: of the commit.
        outputs: the files of DVC's cache, by the path of their output in the repository.
        tables: of each task's samples and raw files, as members.
        packages: wheels, as members.
        forms: of each task, by name.
        notes: what a reader must know about what is left out.
    """

    revision: Revision
    data: bool
    tasks: Sequence[TaskEvidence] = ()
    outputs: dict[str, list[CachedFile]] = field(default_factory=dict)
    tables: list[Member] = field(default_factory=list)
    packages: list[Member] = field(default_factory=list)
    forms: dict[str, dict[str, Form]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def payload(self) -> list[Member]:
        """Return the members that are not metadata."""
        modes = self.revision.modes
        repository = [
            Member(f"{REPOSITORY}{path}", content, modes.get(path) == EXECUTABLE)
            for path, content in self.revision.files.items()
        ]
        objects = cached.unique_members([file for files in self.outputs.values() for file in files])
        commit = Member(members.COMMIT, self.revision.raw)
        return [commit, *repository, *objects, *self.tables, *self.packages]

    def members(self) -> list[Member]:
        """Return all members but the manifest."""
        payload = self.payload()
        documents = self._documents({member.name: member for member in payload})
        described = [
            *payload,
            *documents,
            Member(members.DESCRIPTION, to_json(self.description())),
            Member(members.README, self._readme().encode()),
        ]
        crate = rocrate.crate(self.revision, described, self.tasks, self.outputs)
        return [*described, Member(members.CRATE, to_json(crate))]

    def _documents(self, payload: Mapping[str, Member]) -> list[Member]:
        documents = []
        for task in self.tasks:
            forms, folder = self.forms[task.name], f"{TASKS}{task.name}/"
            trained = self.outputs.get(f"data/train/{task.name}", [])
            for name, form in forms.items():
                document = (
                    model_card(form, task, trained) if name == CARD else form.document(task.name)
                )
                text = render_markdown(document)
                documents.append(Member(f"{folder}{form.file}", text.encode()))
            metadata = croissant.croissant(self.revision, task, payload, forms[DATA_SET])
            documents.append(Member(f"{folder}croissant.json", to_json(metadata)))
        return documents

    def _readme(self) -> str:
        from jinja2 import Environment

        environment = Environment(trim_blocks=True, keep_trailing_newline=True)  # noqa: S701 (Markdown)
        environment.filters["markdown"] = escape_markdown
        return environment.from_string(_README.read_text(encoding="utf-8")).render(
            commit=self.revision.commit,
            object_format=self.revision.object_format,
            notes=self.left_out(),
            restore=self._restoring_commands(),
            requirements=wheels.requirement_files(self.revision),
        )

    def _restoring_commands(self) -> list[str]:
        """Return the shell commands that make executables and links of plain files."""
        return [
            f"chmod +x {shlex.quote(path)}"
            if mode == EXECUTABLE
            else f"ln -sf {shlex.quote(self.revision.text(path))} {shlex.quote(path)}"
            for path, mode in self.revision.modes.items()
        ]

    def description(self) -> dict[str, Any]:
        """Return the content of archive.json."""
        modes = {path: f"{mode:o}" for path, mode in self.revision.modes.items()}
        return {
            "format": members.FORMAT,
            "commit": self.revision.commit,
            "object_format": self.revision.object_format,
            "modes": modes,
            "data": self.data,
            "tasks": {
                task.name: {
                    "raw_data": task.raw_path,
                    "raw_data_in_archive": self._has_raw_data(task),
                    "held_by": str(task.holder),
                    **{
                        key: task.note[key]
                        for key in ("origin", "licence", "raw_sha256", "raw_sha256_of")
                        if key in task.note
                    },
                }
                for task in self.tasks
            },
            "left_out": self.left_out(),
        }

    def _has_raw_data(self, task: TaskEvidence) -> bool:
        return task.holder is Holder.GIT or (task.holder is Holder.DVC and self.data)

    def raw_state(self, task: TaskEvidence) -> str:
        """Return in words where the raw data of a task are."""
        if self._has_raw_data(task):
            return f"the raw data ({task.raw_path}, from {task.holder})"
        prepared = "the prepared samples" if self.data else "no data"
        origin = f"the raw data come from {task.holder}"
        if task.holder is Holder.DVC:
            origin = "the raw data are left out"
        return f"{prepared}; {origin} (evidence/{task.name}/data/dataset_note.json has its hash)"

    def left_out(self) -> list[str]:
        """Return what is not in the archive, and why."""
        states = [
            f"{task.name}: {self.raw_state(task)}"
            for task in self.tasks
            if not self._has_raw_data(task)
        ]
        return [*states, *self.notes]


def collect(
    revision: Revision, cache: Path, *, data: bool = True, packages: Path | None = None
) -> Contents:
    """Return the contents of an archive.

    Args:
        revision: the commit.
        cache: the folder of DVC's cache.
        data: whether to include data that DVC tracks, and prepared samples where raw data are not files.
        packages: a folder of wheels to include.

    Raises:
        UserError: an output is not in the cache, a wheel is not allowed, or a file of the commit is wrong.
    """
    if ".dvc/config" not in revision.files:
        raise UserError("the revision is no DVC repository: it has no .dvc/config")
    tracked = cached.tracked_outputs(revision)
    contents = Contents(revision, data)
    contents.tasks = read_tasks(revision, tracked)
    for task in contents.tasks:
        contents.outputs |= _files(cache, cached.locked_outputs(revision, f"train@{task.name}"))
    if data:
        contents.outputs |= _files(cache, tracked)
        for task in contents.tasks:
            _add_samples(contents, cache, task)
    for task in contents.tasks:
        _add_raw_table(contents, task)
    _add_packages(contents, packages)
    _add_notes(contents, tracked)
    for task in contents.tasks:
        facts = {"raw_state": contents.raw_state(task), "requirements": _requirements(contents)}
        contents.forms[task.name] = fill_forms(revision, task, facts)
    return contents


def _files(
    cache: Path, outputs: Sequence[Output], names: Collection[str] | None = None
) -> dict[str, list[CachedFile]]:
    return {output.path: [*cached.cached_files(cache, output, names)] for output in outputs}


def _add_samples(contents: Contents, cache: Path, task: TaskEvidence) -> None:
    """Add a task's table of samples; and the samples themselves, where no raw files hold them."""
    outputs = cached.locked_outputs(contents.revision, f"prepare@{task.name}")
    names = {croissant.SAMPLES} if task.holder.in_archive else None
    prepared = _files(cache, outputs, names)
    contents.outputs |= prepared
    table = croissant.prepared_table([file for files in prepared.values() for file in files])
    if table:
        name = f"{TASKS}{task.name}/{croissant.SAMPLES}"
        contents.tables.append(Member(name, table.content))


def _add_raw_table(contents: Contents, task: TaskEvidence) -> None:
    """Add the table of a task's raw files."""
    revision = contents.revision
    files = [
        (path, Member(f"{REPOSITORY}{path}", revision.files[path]))
        for path in raw_files(revision, task)
    ]
    for output in task.raw_outputs:
        files += [
            (file.path, file.member)
            for file in contents.outputs.get(output.path, [])
            if not file.member.name.endswith(".dir")
        ]
    if files:
        name = f"{TASKS}{task.name}/{croissant.RAW_FILES}"
        contents.tables.append(Member(name, croissant.raw_table(files)))


def _add_packages(contents: Contents, folder: Path | None) -> None:
    hashes = wheels.requirement_hashes(contents.revision)
    if folder is None:
        return
    contents.packages = wheels.wheel_members(folder, hashes)
    missing = wheels.missing_packages(contents.packages, hashes)
    if missing:
        # Requirements of other systems are among them.
        contents.notes.append(
            f"{len(missing)} packages of requirements/ have no wheel here: {', '.join(missing)}"
        )


def _add_notes(contents: Contents, tracked: Sequence[Output]) -> None:
    notes = []
    if not contents.data:
        notes += [
            f"left out: {output.path} ({output.stage}, md5 {output.md5})" for output in tracked
        ]
    for task in contents.tasks:
        notes += [
            f"{task.name}: the initial weights {path} are not in git, so not in this archive"
            for path in task.outside_weights(contents.revision)
        ]
    contents.notes += notes


def _requirements(contents: Contents) -> str:
    hashes = wheels.requirement_hashes(contents.revision)
    if not hashes:
        return "not pinned by hash"
    files = (
        f"; {len(contents.packages)} of their files are below wheels/" if contents.packages else ""
    )
    return (
        f"{len({*hashes.values()})} packages, pinned by hash in {REPOSITORY}{wheels.FOLDER}{files}"
    )
