"""Pull and merge requests by their URL, against a repository on this machine in the host's place."""

import json
from pathlib import Path

import pytest
from support.project import commit, run
from support.toy import FILES, PIPELINE, make_project, reproduce

from stages.core.errors import UserError
from stages.tools.cli import make_parser
from stages.tools.verify.pull_request import PullRequest, find_base, parse_url

GITHUB = "https://github.com/owner/project/pull/7"
GITLAB = "https://gitlab.com/group/sub/project/-/merge_requests/12"


@pytest.mark.parametrize(
    ("url", "repository", "ref"),
    [
        (GITHUB, "https://github.com/owner/project.git", "refs/pull/7/head"),
        (f"{GITHUB}/files?w=1#x", "https://github.com/owner/project.git", "refs/pull/7/head"),
        (
            "https://git.example.org/a/b/pulls/3",
            "https://git.example.org/a/b.git",
            "refs/pull/3/head",
        ),
        (GITLAB, "https://gitlab.com/group/sub/project.git", "refs/merge-requests/12/head"),
        (
            "http://localhost:8080/g/p/merge_requests/1/diffs",
            "http://localhost:8080/g/p.git",
            "refs/merge-requests/1/head",
        ),
    ],
)
def test_a_url_names_a_repository_and_a_ref(url: str, repository: str, ref: str) -> None:
    assert parse_url(url) == PullRequest(repository, ref)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/owner/project",
        "https://github.com/owner/project/pull/",
        "https://github.com/owner/project/pull/x",
        "https://github.com/owner/project/issues/7",
        "https://github.com/project/pull/7",
        "ssh://git@github.com/owner/project/pull/7",
        "ext::sh -c touch% x/a/b/pull/7",
        "file:///owner/project/pull/7",
        "owner/project/pull/7",
        "https:///owner/project/pull/7",
        "https://github.com/--upload-pack=x y/project/pull/7",
        "",
    ],
)
def test_anything_else_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(UserError) as error:
        parse_url(url)
    assert str(error.value).startswith(f"--pr: given {url!r}; must be https://HOST/")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a bare repository that git takes for the ones on github.com and gitlab.com.

    Its default branch is main; the requests are to join the branch `release`.
    """
    work, bare = tmp_path / "work", tmp_path / "host" / "owner" / "project.git"
    work.mkdir()
    run(work, "git", "init", "--quiet", "--initial-branch", "main")
    for branch in ("main", "release", "change"):
        if branch != "main":
            run(work, "git", "checkout", "--quiet", "-b", branch)
        (work / f"{branch}.txt").write_text(branch)
        commit(work, branch)
    run(work, "git", "checkout", "--quiet", "release")
    run(work, "git", "merge", "--quiet", "--no-ff", "-m", "merge", "change")
    run(tmp_path, "git", "init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
    refs = ["main:refs/heads/main", "release~1:refs/heads/release"]
    for name in ("pull/7", "merge-requests/12"):
        refs += [f"change:refs/{name}/head", f"release:refs/{name}/merge"]
    run(work, "git", "push", "--quiet", str(bare), *refs, "change:refs/pull/8/head")
    config = tmp_path / "home" / ".gitconfig"
    config.parent.mkdir()
    config.write_text(
        f'[url "{tmp_path}/host/"]\n\tinsteadOf = https://github.com/\n'
        f'[url "{bare}"]\n\tinsteadOf = https://gitlab.com/group/sub/project.git\n'
    )
    monkeypatch.setenv("HOME", str(config.parent))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return bare


@pytest.mark.parametrize("url", [GITHUB, GITLAB])
def test_the_base_is_the_target_branch(host: Path, url: str) -> None:
    target = run(host, "git", "rev-parse", "release").stdout.strip()
    assert find_base(parse_url(url)) == target


def test_without_a_merge_the_base_is_the_default_branch(host: Path) -> None:
    default = run(host, "git", "rev-parse", "main").stdout.strip()
    assert find_base(parse_url(GITHUB.replace("7", "8"))) == default


@pytest.mark.long
def test_a_request_is_verified_against_its_target_branch(
    tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The target's code is trusted; what the request changes is named, whatever this project's code is."""
    toy = make_project(tmp_path / "toy", {**FILES, "dvc.yaml": PIPELINE})
    base = run(toy, "git", "rev-parse", "HEAD").stdout.strip()
    run(toy, "git", "checkout", "--quiet", "-b", "change")
    (toy / "score.py").write_text((toy / "score.py").read_text() + "# better\n")
    reproduce(toy)
    commit(toy, "changed")
    head = run(toy, "git", "rev-parse", "HEAD").stdout.strip()
    run(toy, "git", "checkout", "--quiet", "main")
    run(toy, "git", "merge", "--quiet", "--no-ff", "-m", "merge", "change")
    refs = (f"{base}:refs/heads/main", f"{head}:refs/pull/7/head", "HEAD:refs/pull/7/merge")
    run(toy, "git", "push", "--quiet", "--force", str(host), *refs)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "v.json"
    options = ["--pr", GITHUB, "--yes", "--json", str(output)]
    arguments = make_parser("verify").parse_args(options)
    assert arguments.run(arguments) == 3
    report = json.loads(output.read_text())
    assert (report["revision"], report["base"]) == (head, base)
    assert report["repository"] == "https://github.com/owner/project.git"
    assert report["name"] == "refs/pull/7/head"
    assert report["code"] == [{"path": "score.py", "change": "differs"}]
    assert report["verdict"] == "bit for bit"
    capsys.readouterr()
    for further in (["HEAD~1"], ["--repo", "toy"]):
        arguments = make_parser("verify").parse_args([*options, *further])
        with pytest.raises(UserError, match="--pr names repository and revision"):
            arguments.run(arguments)


def test_a_request_that_is_not_there_is_named(host: Path) -> None:
    with pytest.raises(UserError, match=r"project.git has no refs/pull/9/head"):
        find_base(parse_url(GITHUB.replace("7", "9")))
