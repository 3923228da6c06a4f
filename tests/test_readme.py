"""What the README shows is true: its examples load, its tables agree with the code."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from promptqueue import errors
from promptqueue.chat.config import load_config
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import load_queue
from promptqueue.queue.render import render_queue
from reference_impl.lunar.main import parser as reference_parser
from tests.cli.command import Shell
from tests.fake_endpoint import FakeEndpoint, stream
from tests.lunar.repeat import make_parser as repeat_parser
from tests.lunar.sharpness import make_parser as sharpness_parser

COMMANDS = (
    "run",
    "resume",
    "render",
    "refine",
    "runs",
    "show",
    "replay",
    "doctor",
    "plan",
    "verify",
    "compare",
)
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return next(text for text in blocks if containing in text)


def test_the_example_queue_is_sound_and_renders(tmp_path: Path) -> None:
    path = tmp_path / "stats.yaml"
    path.write_text(block("yaml", "name: stats"), "utf-8")
    loaded = load_queue(path)
    messages = render_queue(loaded, resolve_inputs(loaded.queue))
    assert "written in plain Python" in messages["stats"][-1].content
    assert [problem.message.split(":")[0] for problem in loaded.warnings] == ["no check names mean"]


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(block("toml", "[endpoints.lab]"), "utf-8")
    assert load_config(path).endpoints["lab"].api_key_env == "LAB_KEY"


def test_the_example_in_python_runs(tmp_path: Path) -> None:
    (tmp_path / "stats.yaml").write_text(block("yaml", "name: stats"), "utf-8")
    (tmp_path / "example.py").write_text(block("python", "promptqueue.api"), "utf-8")
    one = "```python path=stats.py\ndef mean(values):\n    return sum(values)\n```\n"
    two = "```python path=report.py\ndef report(values):\n    return ''\n```\n"
    with FakeEndpoint([stream(one), stream(two)]) as server:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "example.py"],
            cwd=tmp_path,
            env={**environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "stats.py: 2 lines, from the step stats",
        "report.py: 2 lines, from the step report",
        "complete",
    ]
    assert "written in numpy Python" in server.requests[0].body["messages"][-1]["content"]


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.PromptQueueError)}
    assert table == codes | {0, 128 + signal.SIGPIPE}  # as shells name what a closed pipe ends


def test_the_exit_codes_are_drawn_in_the_docstring_of_errors() -> None:
    drawn = dict(re.findall(r"(\w+) {2,}(\d+) ", errors.__doc__ or ""))
    for name, code in drawn.items():
        assert getattr(errors, name).exit_code == int(code)
    assert len(drawn) == 10


def test_the_verdict_that_the_readme_shows_is_the_real_one(tmp_path: Path) -> None:
    wrong = Path(shutil.copytree(ROOT / "tests/packs/tiny/reference", tmp_path / "wrong"))
    text = (wrong / "stats.py").read_text("utf-8")
    (wrong / "stats.py").write_text(text.replace("sorted(values)", "list(values)"), "utf-8")
    queue = str(ROOT / "tests/packs/tiny/tiny.yaml")

    done = Shell(tmp_path).run_apart("verify", "wrong", "--queue", queue, "--seed", "7")

    shown = block("console", "verify wrong").partition("--seed 7\n")[2]
    assert done.stdout + done.stderr == shown


def test_every_option_that_the_readme_names_exists(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    texts = [shell.run(command, "--help").stdout for command in COMMANDS]
    parsers = (reference_parser(), sharpness_parser(), repeat_parser())
    texts += [parser.format_help() for parser in parsers]
    assert options_in(README) - options_in("\n".join(texts)) == set()


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![|-])--[a-z][a-z_-]+", text))


@pytest.mark.parametrize("path", re.findall(r"`((?:promptqueue|prompts|tests)/[\w/.]+)`", README))
def test_every_file_that_the_readme_names_exists(path: str) -> None:
    assert (ROOT / path).exists() or path == "promptqueue/layout.md.j2"


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README
