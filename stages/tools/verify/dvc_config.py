"""The configuration of DVC in a revision: its remotes, and everything else, which may name places."""

import re

PATH = ".dvc/config"
_REMOTE = re.compile(r"""\[\s*['"]?remote\b""")
_DEFAULT = re.compile(r"remote\s*=")
# Settings that name a file: credentials of this machine, or a configuration that names a program to run.
_FILE = re.compile(r"(configpath|credentialpath|keyfile|\w+_path|\w+_file|ssl_verify)\s*=")
_VERIFY = re.compile(r"verify\s*=")


def split_config(text: str) -> tuple[list[str], list[str]]:
    """Return the lines of a configuration that concern remotes, and the other settings.

    Args:
        text: of .dvc/config.

    Returns:
        The sections of remotes without settings that name files, each told to reject damaged objects, and
        after them `[core]` with the default one; each other setting with its section, sorted.
    """
    remotes, default, settings = [], [], []
    section = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            section = line
            if _REMOTE.match(line):
                remotes += [line, "verify = true"]
        elif _REMOTE.match(section):
            if not _FILE.match(line) and not _VERIFY.match(line):
                remotes.append(line)
        elif _DEFAULT.match(line):
            default.append(line)
        else:
            settings.append(f"{section} {''.join(line.split())}")
    return [*remotes, *(["[core]", *default[:1]] if default else [])], sorted(settings)
