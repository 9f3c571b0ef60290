"""Attacks on verify, each on its own repository: none passes, runs code, writes outside or deceives."""

import re
from collections import Counter
from pathlib import Path

import pytest
from attacks.attack import ATTACKS, Attack
from attacks.judging import complaints, prepare_target, run_verify, stage_attack
from support.project import ROOT

FAMILIES = sorted({attack.family for attack in ATTACKS.values()})


def marked(attack: Attack) -> object:
    marks = [] if attack.quick else [pytest.mark.long]
    return pytest.param(attack, id=attack.name.replace(" ", "_"), marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [marked(attack) for attack in ATTACKS.values()])
def test_attack(attack: Attack, small: Path, tmp_path: Path) -> None:
    target = prepare_target(small, tmp_path)
    stage_attack(attack, target)
    assert complaints(attack, target, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["hashes", pytest.param("metrics", marks=pytest.mark.long)])
def test_the_project_that_is_attacked_is_honest(tier: str, small: Path, tmp_path: Path) -> None:
    """Else no attack would show anything."""
    target = prepare_target(small, tmp_path)
    outcome = run_verify(target, tier, 60, tmp_path)
    assert outcome.status == 0, outcome


def test_every_attack_expects_to_be_noticed() -> None:
    assert len(ATTACKS) >= 80
    assert {attack.status for attack in ATTACKS.values()} == {1, 2, 3}
    assert {attack.family for attack in ATTACKS.values() if attack.quick} >= set(FAMILIES) - {
        "run again"
    }


def test_the_documentation_lists_the_families() -> None:
    """Family, number of attacks, and the tiers that notice them."""
    text = (ROOT / "docs/verify.md").read_text()
    rows = re.findall(r"^\| ([a-z][^|]*) \| (\d+) \| ([^|]*) \|.*\|$", text, re.MULTILINE)
    assert {row[0]: (int(row[1]), row[2]) for row in rows} == {
        family: (
            Counter(attack.family for attack in ATTACKS.values())[family],
            ", ".join(
                tier
                for tier in ("hashes", "metrics", "predictions", "retrain")
                if any(
                    attack.family == family and attack.tier == tier for attack in ATTACKS.values()
                )
            ),
        )
        for family in FAMILIES
    }
