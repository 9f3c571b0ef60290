"""Claims that would excuse a forgery: another machine, a wide tolerance, a log of experiments."""

from typing import Any

from support.forgery import claim_another_machine, claim_wide_tolerance

from attacks.attack import DATA, METRICS, PACK, TASK, Target, dump, family

attack = family("claims that excuse", tier="metrics")
MACHINES = "evidence/machine.json"
TOLERANCE = "evidence/tolerance.json"


@attack(METRICS, quick=True)
def another_machine_and_a_wide_tolerance(target: Target) -> None:
    """Results of another machine, which may differ by a million."""
    claim_another_machine(target.folder, TASK)
    claim_wide_tolerance(target.folder, TASK)
    target.forge_metric()
    target.relock_results()


@attack(METRICS)
def tolerance_without_end(target: Target) -> None:
    """A tolerance that is infinite, or no number."""
    wide = {"current.accuracy": {"tolerance": float("inf")}, "n": {"tolerance": float("nan")}}
    target.path(TOLERANCE).write_text(dump({"tasks": {TASK: {"metrics": wide}}}))
    target.forge_metric()
    target.relock_results()


@attack(METRICS)
def tolerance_of_another_shape(target: Target) -> None:
    """A tolerance that is a list of lists."""
    target.path(TOLERANCE).write_text(dump({"tasks": [[TASK, {"metrics": [1]}]]}))
    target.forge_metric()
    target.relock_results()


@attack(METRICS)
def machine_of_another_shape(target: Target) -> None:
    """A record that is deeper than a program can read."""
    target.path(MACHINES).write_text('{"workshop":' + "[" * 100_000)
    target.forge_metric()
    target.relock_results()


@attack(METRICS)
def machine_that_says_the_verdict(target: Target) -> None:
    """A processor whose name is a verdict."""

    def change(records: dict[str, Any]) -> None:
        records[TASK]["machine"]["processor"] = "as this one\n\nbit for bit; nothing disagrees"

    target.edit_json(MACHINES, change)
    target.forge_metric()
    target.relock_results()


@attack(f"{PACK}/experiments.csv")
def experiments_invented(target: Target) -> None:
    """A log of experiments that nobody ran, which the page does not show."""
    target.add(
        f"{PACK}/experiments.csv",
        "date,change,why,before,after,verdict,kept\n"
        "2026-01-01,train.epochs=18,why,accuracy 0.1 (n 135),accuracy 1.0 (n 135),better,yes\n",
    )
    target.forge_metric()
    target.relock_results()


@attack("README.md")
def review_note_invented(target: Target) -> None:
    """A reviewer's praise, which the lock knows and the page does not show."""
    target.append(f"data/review/{TASK}.md", "\nReproduced on three machines.\n")
    target.relock_results()


@attack(f"{DATA}/metrics.json")
def confidence_lowered(target: Target) -> None:
    """Narrower intervals, by another confidence than the figures were computed with."""
    target.edit_yaml(
        "params.yaml", lambda params: params["tasks"][TASK]["evaluate"].update(confidence=0.5)
    )
    target.relock()


@attack("evidence/reproductions", tier="hashes")
def reproduction_invented(target: Target) -> None:
    """A statement of a reproduction that nobody has signed, without the page of statements."""
    target.add("evidence/reproductions/0123456789ab-professor.json", '{"verdict": "bit for bit"}')


@attack("evidence/reproductions/README.md", tier="hashes")
def page_of_reproductions_edited(target: Target) -> None:
    """A page that names reproductions for which there is no statement."""
    target.replace(
        "evidence/reproductions/README.md",
        "None is recorded yet.",
        "| v1 | a professor | bit for bit |",
    )


@attack("evidence/summary.html", tier="hashes")
def page_beside_the_packs(target: Target) -> None:
    """A page of the attacker's own, where packs are."""
    target.add("evidence/summary.html", "<h1>accuracy 100%</h1>")


@attack("metrics/final.json", tier="hashes")
def metrics_beside_the_metrics(target: Target) -> None:
    """Better metrics under another name."""
    target.add("metrics/final.json", '{"accuracy": 1.0}')
