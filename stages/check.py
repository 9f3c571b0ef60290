"""Check: what must hold before a model is trained; a failed check stops the pipeline."""

from dataclasses import replace

from stages.core.errors import UserError
from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the result of each check, passed or failed.

    Raises:
        UserError: a check failed.
    """
    from stages.core.files import write_all
    from stages.core.runtime import set_deterministic
    from stages.training.sanity_checks.code import code_checks

    set_deterministic(task.runtime)
    results = task.module("check").check(task)
    results = replace(results, checks=[*code_checks(), *results.checks])
    write_all(task.folder("check"), results.files())
    failed = [check for check in results.checks if not check.passed]
    if failed:
        further = f" (and {len(failed) - 1} more, in {task.folder('check')}/checks.json)"
        raise UserError(
            f"{failed[0].name}: {failed[0].observed}{further if len(failed) > 1 else ''}"
        )


if __name__ == "__main__":
    run_stage("check", run)
