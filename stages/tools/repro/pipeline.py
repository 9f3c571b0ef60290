"""The stages of the work tree's pipeline, and what DVC does before and after it runs one."""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.repro.lock_file import LockFile
from stages.tools.stage_inputs import StageInputs

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

LOCK = Path("dvc.lock")


class Pipeline:
    """The stages to run, in the order in which `dvc repro` would run them.

    DVC's own lock is held for each step here and not while stages run, so that `dvc status` and
    `dvc plots show` work meanwhile; what the stages write is locked all the time.

    Attributes:
        stages: by name.
        dependencies: by name, the stages that must end before.
    """

    def __init__(self, repo: "Repo", stages: "Sequence[Stage]", graph: Any) -> None:
        self._repo = repo
        self._lock = LockFile(Path(repo.root_dir) / LOCK)
        self.stages: dict[str, Stage] = {stage.addressing: stage for stage in stages}
        self._inputs = StageInputs(repo, repo.index.stages)
        self._outputs = {out.fs_path for stage in repo.index.stages for out in stage.outs}
        self.dependencies = {
            name: {
                upstream.addressing
                for upstream in graph.successors(stage)
                if upstream.addressing in self.stages
            }
            for name, stage in self.stages.items()
        }

    @classmethod
    @contextmanager
    def opened(
        cls, targets: Sequence[str], *, glob: bool = False, single_item: bool = False
    ) -> "Iterator[Pipeline]":
        """Yield the pipeline of the current folder, while no other command may change its files.

        Args:
            targets: stages, with all that they depend on; none for the whole pipeline.
            glob: whether targets are patterns, such as `*@image`.
            single_item: whether targets are taken alone, without what they depend on.

        Raises:
            UserError: DVC cannot read it, or another command uses it.
        """
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo
        from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
        from dvc.rwlock import rwlock

        logging.getLogger("dvc").setLevel(logging.WARNING)  # every stage has a line of its own
        has_lock = LOCK.exists()
        try:
            repo = Repo()
            with repo, repo.lock:
                graph = get_active_graph(repo.index.graph)
                if targets:
                    targeted = collect_stages(repo, targets, glob=glob)
                else:
                    path = str(Path(repo.root_dir) / "dvc.yaml")
                    targeted = [stage for stage in repo.index.stages if stage.path == path]
                stages = targeted if single_item else plan_repro(graph, targeted)
                pipeline = cls(repo, stages, graph)
            outputs = sorted(
                out.fs_path for stage in pipeline.stages.values() for out in stage.outs
            )
            # The words of DVC's own steps: with these it knows the lock as its own.
            command = " ".join(sys.argv)
            with rwlock(repo.tmp_dir, repo.fs, command, [], outputs, hardlink=False):
                yield pipeline
            if not has_lock and LOCK.exists():
                # As `dvc repro` writes it, whatever ended first.
                pipeline._lock.sort(pipeline.stages)
        except LockError as error:
            processes = sorted(set(re.findall(r"\(PID (\d+)\)", str(error))))
            owner = f" (process {', '.join(processes)})" if processes else ""
            raise UserError(
                f"another command{owner} uses this project: wait until it ends, or stop it"
            ) from None
        except DvcException as error:
            raise UserError(_reason(error)) from None

    def is_in_project(self) -> bool:
        """Return whether everything that stages read and write lies in the project's folder."""
        return all(
            item.is_in_repo for stage in self.stages.values() for item in (*stage.deps, *stage.outs)
        )

    def outputs_in_git(self) -> list[str]:
        """Return the outputs that DVC's cache does not hold."""
        outputs = (out for stage in self.stages.values() for out in stage.outs)
        return [str(out.fs_path) for out in outputs if not out.use_cache]

    def is_changed(self, name: str) -> bool:
        """Return whether a stage has to run: something that it reads or writes is not that of dvc.lock."""
        stage = self.stages[name]
        with self._repo.lock:
            if stage.changed_stage():
                return True
            if not stage.frozen:
                if stage.is_callback or stage.always_changed or self._inputs.have_changed(stage):
                    return True
                if any(dep.status() for dep in stage.deps if dep.fs_path in self._outputs):
                    return True
            return any(out.status() for out in stage.outs)

    def begin(self, name: str, *, force: bool = False) -> bool:
        """Delete a stage's outputs; return whether it has to run, False where DVC's cache has its results.

        A stage without a command is finished by this.

        Args:
            name: of the stage.
            force: whether it runs although the cache has its results.
        """
        from dvc.stage.cache import RunCacheNotFoundError

        stage = self.stages[name]
        with self._repo.lock:
            if not stage.cmd or stage.frozen:
                stage.run()
                self._write_entry(stage)
                return False
            stage.remove_outs(ignore_remove=False, force=False)
            if force:
                return True
            try:
                self._repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                stage.save_deps()
                return True
            self._save(stage)
            return False

    def finish(self, name: str) -> None:
        """Store the outputs of a stage that has run, and write its entry in dvc.lock.

        Raises:
            UserError: an output is missing.
        """
        from dvc.exceptions import DvcException

        with self._repo.lock:
            try:
                self._save(self.stages[name])
            except DvcException as error:
                raise UserError(_reason(error)) from None

    def _save(self, stage: "Stage") -> None:
        # Outputs in git are in no cache of runs: as DVC decides it.
        in_git = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        stage.save(run_cache=not in_git)
        stage.commit()
        self._write_entry(stage)

    def _write_entry(self, stage: "Stage") -> None:
        from dvc.stage.serialize import to_single_stage_lockfile

        if Path(stage.path) == self._lock.path.with_name("dvc.yaml"):
            self._lock.set(stage.name, to_single_stage_lockfile(stage))
        else:
            stage.dump(update_pipeline=False)

    def commands(self, name: str) -> list[str]:
        """Return the commands of a stage, one after the other."""
        command = self.stages[name].cmd
        return list(command) if isinstance(command, list) else str(command).splitlines()

    def folder(self, name: str) -> Path:
        """Return the folder in which a stage's commands run."""
        return Path(self.stages[name].wdir)

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables that DVC sets for a stage."""
        return {"DVC_ROOT": self._repo.root_dir, "DVC_STAGE": name}


def _reason(error: Exception) -> str:
    causes = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__  # type: ignore[assignment]
        causes.append(str(error))
    return ": ".join(dict.fromkeys(filter(None, causes))).replace(f"{Path.cwd()}{os.sep}", "")
