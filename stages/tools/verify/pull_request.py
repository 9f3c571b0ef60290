"""A pull or merge request by its URL: the repository, the ref of its head, and the commit it is to join.

Git alone is used, no host's API: GitHub and Gitea keep the head of each request under refs/pull, GitLab
under refs/merge-requests, beside a merge with the target branch.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stages.core.errors import UserError
from stages.core.processes import scratch_folder
from stages.core.repositories import git

FORM = "https://HOST/OWNER/REPOSITORY/pull/NUMBER, or https://HOST/GROUP/PROJECT/-/merge_requests/NUMBER"
_PATH = re.compile(
    r"/(?P<repository>[\w.~-]+(?:/[\w.~-]+)+?)"
    r"(?:/pulls?/(?P<pull>\d+)|(?:/-)?/merge_requests/(?P<merge>\d+))(?:/.*)?"
)


@dataclass(frozen=True)
class PullRequest:
    """A pull or merge request.

    Attributes:
        repository: the URL of the repository that it is to join.
        ref: of its head, in that repository.
    """

    repository: str
    ref: str


def parse_url(url: str, source: str = "--pr") -> PullRequest:
    """Return the request that a URL names.

    Args:
        url: of its page.
        source: the option, or the file and key, for messages.

    Raises:
        UserError: it is no such URL.
    """
    parts = urlsplit(url)
    match = _PATH.fullmatch(parts.path.rstrip("/"))
    if parts.scheme not in {"http", "https"} or not parts.netloc or match is None:
        raise UserError(f"{source}: given {url!r}; must be {FORM}")
    repository = f"{parts.scheme}://{parts.netloc}/{match['repository'].removesuffix('.git')}.git"
    if match["pull"]:
        return PullRequest(repository, f"refs/pull/{int(match['pull'])}/head")
    return PullRequest(repository, f"refs/merge-requests/{int(match['merge'])}/head")


def find_base(request: PullRequest) -> str:
    """Return the commit that the request is to join: of the target branch, else of the default branch.

    The target is the first parent of the merge that the host keeps beside the head.

    Raises:
        UserError: there is no such repository or request.
    """
    with scratch_folder() as folder:
        listing = git(folder, "ls-remote", "--", request.repository, "HEAD", request.ref)
        commits = {
            name: commit
            for commit, name in (line.split("\t") for line in listing.split("\n") if line)
        }
        if request.ref not in commits:
            raise UserError(f"--pr: {request.repository} has no {request.ref}")
        return _target(request, folder) or commits.get("HEAD", "")


def _target(request: PullRequest, folder: Path) -> str:
    """Return the first parent of the merge with the target branch, "" if the host keeps none."""
    merge = f"{request.ref.removesuffix('head')}merge"
    git(folder, "init", "--quiet", "--bare")
    try:
        options = ("--quiet", "--no-tags", "--depth", "2")
        git(folder, "fetch", *options, "--", request.repository, f"+{merge}:refs/merge")
        return git(folder, "rev-parse", "--verify", "refs/merge^1")
    except UserError:
        return ""
