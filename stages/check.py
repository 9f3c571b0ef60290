"""Check: what must hold before a model is trained; a check that fails stops the pipeline."""

from dataclasses import replace

from stages.shared.refusal import Refusal
from stages.shared.task import Task, enter


def run(task: Task) -> None:
    """Write each check's result, held or not.

    Raises:
        Refusal: a check failed.
    """
    from stages.shared.checks import of_code
    from stages.shared.files import write_all
    from stages.shared.runtime import hold_torch

    hold_torch(task.runtime)
    code = of_code()
    found = task.cell("check").check(task)
    checked = replace(found, checks=[*code, *found.checks])
    write_all(task.folder("check"), checked.files())
    failed = [check for check in checked.checks if not check.held]
    if failed:
        more = f" (and {len(failed) - 1} more, in {task.folder('check')}/checks.json)"
        raise Refusal(f"{failed[0].name}: {failed[0].saw}{more if len(failed) > 1 else ''}")


if __name__ == "__main__":
    enter("check", run)
