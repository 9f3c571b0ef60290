"""Code that is not the verifier's, in all forms in which Python, DVC or git would take it."""

import importlib._bootstrap_external as bootstrap
import marshal
import sys

from attacks.attack import METRICS, OTHER_CODE, OUTSIDE, TASK, Target, family

attack = family("other code", status=OTHER_CODE)
_TAG = sys.implementation.cache_tag
_UNCHECKED_HASH = 0b01


def bytecode(source: str, path: str) -> bytes:
    """Return bytecode with a hash of its source that Python does not check."""
    code = compile(source, path, "exec", dont_inherit=True)
    header = bootstrap.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little") + b"\0" * 8
    return header + marshal.dumps(code)


def replace_code(target: Target, path: str) -> None:
    """Let a module run the attacker's code before its own."""
    text = target.path(path).read_text()
    target.path(path).write_text(f'"""Nothing to see."""\n\n{target.python}\n{text}')


@attack("comparison", quick=True, tier="metrics")
def bytecode_with_an_unchecked_hash(target: Target) -> None:
    """Bytecode beside a module with every line as it should be."""
    path = f"stages/evaluation/__pycache__/comparison.{_TAG}.pyc"
    target.add(path, bytecode(target.python, path))


@attack("dataset", tier="metrics")
def bytecode_of_a_package(target: Target) -> None:
    """A package of bytecode only, which hides a module of the same name."""
    path = "stages/datasets/dataset/__init__.pyc"
    target.add(path, bytecode(target.python, path))


@attack("stages/__pycache__", tier="metrics")
def bytecode_of_the_root(target: Target) -> None:
    """Bytecode of the package that everything imports first."""
    path = f"stages/__pycache__/__init__.{_TAG}.pyc"
    target.add(path, bytecode(target.python, path))


@attack("pandas/__init__.pyc", tier="metrics")
def bytecode_that_hides_a_library(target: Target) -> None:
    """A package in the root, which Python imports before the library."""
    target.add("pandas/__init__.pyc", bytecode(target.python, "pandas/__init__.pyc"))


@attack("yaml.py", tier="metrics")
def module_that_hides_a_library(target: Target) -> None:
    """A module in the root, which Python imports before the library."""
    target.add("yaml.py", target.python)


@attack("encodings", tier="metrics")
def package_that_hides_the_standard_library(target: Target) -> None:
    """The package that Python imports before anything else."""
    target.add("encodings/__init__.py", target.python)
    target.add("random.py", target.python)


@attack("dataset.abi3.so")
def compiled_module(target: Target) -> None:
    """A compiled file that Python imports before the module beside it."""
    target.add("stages/datasets/dataset.abi3.so", b"\x7fELF" + b"\0" * 60)


@attack("sitecustomize.py", tier="metrics")
def site_hook(target: Target) -> None:
    """Modules that Python imports when it starts."""
    target.add("sitecustomize.py", target.python)
    target.add("usercustomize.py", target.python)


@attack("hook.pth", tier="metrics")
def path_file(target: Target) -> None:
    """A file whose lines Python runs in a folder of packages."""
    target.add("hook.pth", f"import os; os.system({target.shell!r})\n")


@attack("conftest.py")
def test_hook(target: Target) -> None:
    """A file that pytest imports when a reviewer runs the tests."""
    target.add("conftest.py", target.python)


@attack("stages/__init__.py", tier="metrics")
def package_runs_code(target: Target) -> None:
    """Code in the file that everything imports first and no stage names."""
    target.path("stages/__init__.py").write_text(f'"""Nothing."""\n\n{target.python}')


@attack("stages/prepare.py", tier="metrics", status=OTHER_CODE)
def prepare_runs_code(target: Target) -> None:
    """Code in the stage that earlier verifiers ran again."""
    replace_code(target, "stages/prepare.py")
    target.relock()


@attack("stages/datasets/splits.py", tier="metrics", status=OTHER_CODE)
def split_changed(target: Target) -> None:
    """Code that would move samples between splits; the committed samples are still honest."""
    target.append("stages/datasets/splits.py", "\nSHARE = 0.0\n")
    target.relock()


@attack("stages/check.py")
def module_removed(target: Target) -> None:
    """A stage without code."""
    target.remove("stages/check.py")


@attack("stages/report/templates/page.html.j2")
def template_changed(target: Target) -> None:
    """A template of the page, which is a program as well."""
    target.append("stages/report/templates/page.html.j2", "{{ cycler.__init__.__globals__ }}")
    target.relock()


@attack("stages/evaluation", status=OUTSIDE)
def code_is_a_link(target: Target) -> None:
    """A package that is a symbolic link to another folder."""
    target.add("shadow/comparison.py", target.python)
    target.link("stages/evaluation", "../shadow")


@attack("Makefile")
def makefile_changed(target: Target) -> None:
    """What a reviewer's `make` would run."""
    target.append("Makefile", f"\nhelp: ; {target.shell}\n")


@attack("pyproject.toml")
def settings_changed(target: Target) -> None:
    """Settings that name plugins."""
    target.append("pyproject.toml", "\n[tool.other]\nplugins = ['evil']\n")


@attack("tools/run")
def executable_added(target: Target) -> None:
    """An executable without an ending."""
    target.add("tools/run", f"#!/bin/sh\n{target.shell}\n")
    target.path("tools/run").chmod(0o755)


@attack(".dvcignore", status=OUTSIDE)
def ignored_by_dvc(target: Target) -> None:
    """A rule by which DVC leaves out of its hashes the picture that was swapped."""
    target.append(".dvcignore", "case-*.png\n")
    pictures = target.path(f"evidence/{TASK}/pictures")
    target.relock()
    (pictures / "case-01.png").write_bytes((pictures / "right-01.png").read_bytes())


@attack("evidence/.dvcignore", status=OUTSIDE)
def ignored_by_dvc_below(target: Target) -> None:
    """The same rule in a folder."""
    target.add("evidence/.dvcignore", "predictions.csv\n")
    target.relock()
    target.replace(f"evidence/{TASK}/data/predictions.csv", ",2,2\n", ",0,2\n")


@attack(".gitattributes")
def bytes_changed_on_checkout(target: Target) -> None:
    """The work tree holds other bytes than git."""
    target.add(".gitattributes", "*.py text eol=crlf\n*.csv ident\n")


@attack("stages/train.py", status=OTHER_CODE)
def labels_leak_in_visible_code(target: Target) -> None:
    """Code that anybody can read trains on test labels, and everything was run with it."""
    target.append("stages/train.py", "\n# trains on the test split as well\n")
    target.relock()


@attack(METRICS, status=OUTSIDE)
def other_code_and_a_forgery(target: Target) -> None:
    """Other code does not make a wrong hash milder."""
    target.append("stages/evaluate.py", "\n# other\n")
    target.relock()
    target.forge_metric()
