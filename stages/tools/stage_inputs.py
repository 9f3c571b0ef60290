"""What stages read: the hashes of files and the values of params, each computed once for all stages.

Code is an input of every stage, and DVC hashes each file, and parses params.yaml, again for each of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvc.dependency import ParamsDependency
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage
    from dvc_data.hashfile.hash_info import HashInfo


class StageInputs:
    """The inputs of stages that no stage writes.

    Args:
        repo: of the stages.
        stages: that read them.
    """

    def __init__(self, repo: "Repo", stages: "Iterable[Stage]") -> None:
        from dvc.dependency import ParamsDependency

        self._repo = repo
        self._hashes: dict[tuple[str, str], HashInfo] = {}
        self._params: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, dict[str, None]] = {}  # by file of params
        self._outputs: set[str] = set()
        for stage in stages:
            self._outputs.update(out.fs_path for out in stage.outs)
            for dep in stage.deps:
                if isinstance(dep, ParamsDependency):
                    self._keys.setdefault(dep.fs_path, {}).update(dict.fromkeys(dep.params))

    def hash(self, item: "Output") -> "HashInfo":
        """Return the hash of a file or folder, which must not change in between."""
        key = (item.fs_path, item.hash_name)
        if key not in self._hashes:
            self._hashes[key] = item.get_hash()
        return self._hashes[key]

    def params(self, dep: "ParamsDependency") -> dict[str, Any]:
        """Return the values of the keys that a stage takes, without those that the file lacks."""
        from dvc.dependency import ParamsDependency

        if not dep.params:  # the whole file
            values: dict[str, Any] = dep.read_params()
            return values
        path = dep.fs_path
        if path not in self._params:
            keys = list(self._keys[path])
            reader = ParamsDependency(dep.stage, dep.def_path, keys, self._repo)
            self._params[path] = reader.read_params()
        params = self._params[path]
        return {key: params[key] for key in dep.params if key in params}

    def have_changed(self, stage: "Stage") -> bool:
        """Return whether a file or param that a stage reads is not as in its entry in dvc.lock.

        Outputs of other stages are left out: they change while the pipeline runs.
        """
        return any(self._has_changed(dep) for dep in stage.deps if dep.fs_path not in self._outputs)

    def _has_changed(self, dep: "Output") -> bool:
        from dvc.dependency import ParamsDependency

        if not isinstance(dep, ParamsDependency):
            is_file = dep.protocol == "local" and dep.exists
            return self.hash(dep) != dep.hash_info if is_file else bool(dep.status())
        if not dep.params or not dep.exists:
            return bool(dep.status())
        locked = dep.hash_info.value
        return not isinstance(locked, dict) or _lists(self.params(dep)) != _lists(
            {key: locked[key] for key in dep.params if key in locked}
        )


def _lists(value: Any) -> Any:
    """Return a value with lists in place of tuples."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
