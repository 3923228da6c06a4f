"""Completion as the shells ask for it: the variables that the generated scripts set, and the
scripts themselves where a shell is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import QUEUE, Shell
from tests.fake_endpoint import FakeEndpoint, stream
from tests.scripted import fence

SHELLS = ["bash", "zsh", "fish"]
INPUTS = """\
inputs:
  language: {type: str, choices: [ru, en], default: ru}
  classes: {type: int, default: 5}
"""


@pytest.fixture
def folder(shell: Shell) -> Shell:
    """A folder with two queues, a configuration and a run."""
    (shell.folder / "prompts/deep").mkdir(parents=True)
    shell.write("prompts/deep/other.yaml", QUEUE + INPUTS)
    shell.write("prompts/config.yaml", "a: b\n")
    shell.configure("http://127.0.0.1:9/v1")
    replies = [
        stream(fence("one.py", "def one():\n    return 1")),
        stream(fence("two.py", "x = 2")),
    ]
    with FakeEndpoint(replies) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert done.returncode == 0, done.stderr
    return shell


def variables(kind: str, line: str) -> dict[str, str]:
    """Return what the script of a shell puts into the environment; the cursor is at the end."""
    if kind == "bash":
        words = [piece for word in line.split(" ") for piece in re.split("([=:]+)", word)]
        pieces = [piece for piece in words[:-1] if piece]
        if not line.endswith(("=", ":")):  # there bash completes the sign itself
            pieces.append(words[-1])
        return {"COMP_WORDS": "\n".join(pieces), "COMP_CWORD": str(len(pieces) - 1)}
    return {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


def asked(shell: Shell, kind: str, line: str) -> subprocess.CompletedProcess[str]:
    shell.environ = {"_PROMPTQUEUE_COMPLETE": f"complete_{kind}", **variables(kind, line)}
    return shell.run()


def offered(shell: Shell, kind: str, line: str) -> list[str]:
    done = asked(shell, kind, line)
    assert done.stderr == ""
    if kind == "zsh":
        inner = done.stdout.strip().removeprefix("_arguments '*: :((").removesuffix("))'")
        return [] if inner == "_files" else [item.split('"')[1] for item in inner.splitlines()]
    return [item.split("\t")[0] for item in done.stdout.splitlines() if item]


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("promptqueue resu", ["resume"]),
        ("promptqueue run --over", ["--overwrite"]),
        ("promptqueue run ", ["prompts/deep/other.yaml", "q.yaml"]),
        ("promptqueue run prompts/", ["prompts/deep/other.yaml"]),
        ("promptqueue check q", ["q.yaml"]),
        ("promptqueue run q.yaml --endpoint ", ["embedded", "openai", "test"]),
        ("promptqueue run q.yaml --endpoint te", ["test"]),
        ("promptqueue run q.yaml --from ", ["one", "two"]),
        ("promptqueue render q.yaml --step t", ["two"]),
        (
            "promptqueue run prompts/deep/other.yaml --set ",
            ["classes=5", "language=en", "language=ru"],
        ),
        ("promptqueue run q.yaml --limit t", ["tokens="]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_offered(folder: Shell, kind: str, line: str, expected: list[str]) -> None:
    assert sorted(offered(folder, kind, line)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run prompts/deep/other.yaml --set language=", ["language=en", "language=ru"]),
        ("run prompts/deep/other.yaml --set language=e", ["language=en"]),
        ("run prompts/deep/other.yaml --set=language=e", ["language=en"]),
        ("run prompts/deep/other.yaml --set=l", ["language=en", "language=ru"]),
        ("run --set=a=b --base-url http://h:1/v1 q.yaml --from ", ["one", "two"]),
        ("run q.yaml --set a= --from t", ["two"]),
        ("compare q.yaml --executor=l", ["local"]),
    ],
)
@pytest.mark.parametrize("kind", SHELLS)
def test_a_word_with_a_sign_in_it_is_completed(
    folder: Shell, kind: str, line: str, expected: list[str]
) -> None:
    """Bash cuts words at = and :, and replaces only what follows the last of them."""
    if kind == "bash" and re.search("=e?$", line):
        expected = [text.partition("=")[2] for text in expected]

    assert sorted(offered(folder, kind, f"promptqueue {line}")) == expected


@pytest.mark.parametrize("kind", SHELLS)
def test_one_bad_entry_hides_no_other(folder: Shell, kind: str) -> None:
    (folder.folder / "broken.yaml").symlink_to("nowhere")
    (folder.folder / "values.yaml").mkdir()
    os.mkfifo(folder.folder / "pipe.yaml")
    folder.write("config.toml", "[endpoints")

    queues = offered(folder, kind, "promptqueue run ")
    assert sorted(queues) == ["prompts/deep/other.yaml", "q.yaml"]
    assert offered(folder, kind, "promptqueue run q.yaml --endpoint e") == ["embedded"]


@pytest.mark.parametrize("kind", SHELLS)
def test_runs_are_offered_by_any_part_of_their_name(folder: Shell, kind: str) -> None:
    (run,) = [path.name for path in folder.folder.glob(".promptqueue/runs/2*")]
    for command in ("resume", "show", "refine", "diff", f"diff {run}"):
        for part, end in (
            ("", run),
            (run[:9], run),
            ("ti", run[-9:]),
            (f"tiny-{run[-4:-1]}", run[-9:]),
        ):
            assert offered(folder, kind, f"promptqueue {command} {part}") == [end], command
    assert offered(folder, kind, "promptqueue render q.yaml --run ti") == [run[-9:]]
    assert offered(folder, kind, "promptqueue resume nothing-like-it") == []
    assert offered(folder, kind, f"promptqueue refine {run[-4:]} t") == ["two"]
    assert offered(folder, kind, f"promptqueue show {run} ") == ["one", "two"]


@pytest.mark.parametrize(
    "line",
    [
        "promptqueue run nope.yaml --from ",
        "promptqueue run broken.yaml --set ",
        "promptqueue run list.yaml --from ",
        "promptqueue run q.yaml --endpoint e",
        "promptqueue resume --runs nowhere ",
        "promptqueue resume --runs q.yaml ",
        "promptqueue show nothing o",
        "promptqueue run 'half a quote",
        "promptqueue run /proc/self/",
        "promptqueue run ~nobody-here/",
        "promptqueue run \x00",
        "promptqueue nonsense --set ",
    ],
)
def test_nothing_wrong_ever_shows(shell: Shell, line: str) -> None:
    shell.write("config.toml", "[endpoints")
    shell.write("broken.yaml", "promptqueue: 1\ninputs: {a: [\n")
    shell.write("list.yaml", "promptqueue: 1\nsteps: [3, {title: x}, [1]]\n")
    for kind in SHELLS:
        if "\x00" in line:
            line = line.replace("\x00", "\x01")
        done = asked(shell, kind, line)
        assert "Traceback" not in done.stderr + done.stdout
        assert done.stderr == ""


SOURCED = {
    "bash": """
        source ./script
        COMP_WORDS=(promptqueue run --set a = b q.yaml --from = t) COMP_CWORD=9
        _promptqueue_completion promptqueue
        echo "${COMPREPLY[@]}"
        """,
    "zsh": """
        autoload -Uz compinit; compinit -u -d dump
        _arguments() { print -r -- "$@" }
        source script
        words=(promptqueue run q.yaml --from t) CURRENT=5
        _promptqueue_completion
        """,
    "fish": """
        source script
        complete --do-complete 'promptqueue run q.yaml --from t'
        """,
}


@pytest.mark.parametrize("kind", SHELLS)
def test_the_script_of_each_shell_works_in_it(shell: Shell, tmp_path: Path, kind: str) -> None:
    program = shutil.which(kind)
    if program is None:
        pytest.skip(f"{kind} is not installed")
    done = in_shell(shell, kind, "promptqueue --show-completion; true", tmp_path)
    assert "_PROMPTQUEUE_COMPLETE" in done.stdout, done.stderr
    shell.write("script", done.stdout)
    done = in_shell(shell, kind, SOURCED[kind], tmp_path)
    assert "two" in done.stdout, done.stderr
    assert "one" not in done.stdout


@pytest.mark.parametrize("kind", SHELLS)
def test_the_script_is_installed_where_the_shell_looks(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    done = in_shell(shell, kind, "promptqueue --install-completion; true", tmp_path)
    written = [path.read_text("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_PROMPTQUEUE_COMPLETE" in text for text in written), done.stderr


def in_shell(shell: Shell, kind: str, script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a shell that finds `promptqueue` and has `home` as its home."""
    place = shell.folder / "bin"
    place.mkdir(exist_ok=True)
    command = place / "promptqueue"
    command.write_text(f"#!{sys.executable}\nfrom promptqueue.__main__ import main\n\nmain()\n")
    command.chmod(0o755)
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [kind, "-c", script],
        cwd=shell.folder,
        env={**shell.environment(), "PATH": path, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
