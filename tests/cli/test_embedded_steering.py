"""At the wheel with the real model: corrected at a terminal, stopped by a budget, examined."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from promptqueue.run.blobs import Blobs
from tests.cli.command import Shell
from tests.cli.process import Process, in_a_terminal

pytestmark = pytest.mark.embedded
PROMPTS = Path(__file__).parent.parent.parent / "prompts"
IN_RUSSIAN = """\
promptqueue: 1
name: smoke
role: {text: Вы пишете небольшие модули на Python. В ответе только запрошенный файл.}
defaults:
  context: none
  params: {temperature: 0, max_tokens: 400, seed: 1}
steps:
  - id: stats
    task: |
      Напишите модуль `stats.py` с двумя функциями:
      - `mean(values)` возвращает среднее арифметическое списка чисел
      - `median(values)` возвращает медиану списка чисел
    outputs: [{path: stats.py, symbols: [mean, median]}]
  - id: report
    data: |
      Функции модуля `stats.py`, который уже написан:

      {{ steps.stats.interface("stats.py") }}
    task: |
      Напишите модуль `report.py` с функцией `report(values)`.
      Она возвращает строку `mean=M median=D` с двумя знаками после точки.
      Функции mean и median импортируйте из stats.
    outputs: [{path: report.py, symbols: [report]}]
"""
CORRECTION = {
    "en": "Add a third function spread(values): the largest value minus the smallest.",
    "ru": "Добавьте третью функцию spread(values): наибольшее значение минус наименьшее.",
}


def answer(terminal: Process, words: str) -> None:
    """Wait for the question behind a reply, and answer it."""
    terminal.read_until("(q)uit [", timeout_s=400)
    terminal.read_until("]: ")
    terminal.type(words)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_correction_at_a_terminal_is_followed_and_used_by_the_next_step(
    at_home: Shell, language: str
) -> None:
    smoke = (PROMPTS / "smoke.yaml").read_text("utf-8")
    at_home.write("q.yaml", smoke if language == "en" else IN_RUSSIAN)
    with in_a_terminal(at_home, "run", "q.yaml", "--interactive") as terminal:
        answer(terminal, f"c {CORRECTION[language]}")
        answer(terminal, "a")
        answer(terminal, "a")  # whatever the model makes of the last step
        terminal.end()
    stats = ast.parse((at_home.folder / "generated/smoke/stats.py").read_text("utf-8"))
    functions = {node.name for node in stats.body if isinstance(node, ast.FunctionDef)}
    assert {"mean", "median", "spread"} <= functions
    asked = asked_prompts(at_home)
    assert CORRECTION[language] in asked[1]
    assert "def spread(values" in asked[2]  # what the next step was told of the module
    replayed = at_home.run_apart("replay")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def asked_prompts(shell: Shell) -> list[str]:
    """Return the last message of every call, from the journal."""
    run = next(shell.folder.glob(".promptqueue/runs/2*"))
    records = [json.loads(line) for line in shell.journal().splitlines()]
    calls = [record for record in records if record["event"] == "call.started"]
    return [Blobs(run / "blobs").get(call["messages"][-1][1]) for call in calls]


@pytest.mark.parametrize(("queue", "budget"), [("lunar.yaml", 2000), ("smoke.yaml", 700)])
def test_a_budget_stops_a_run_in_time(at_home: Shell, queue: str, budget: int) -> None:
    done = at_home.run_apart("run", str(PROMPTS / queue), "--limit", f"tokens={budget}")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "the limit tokens is reached" in done.stderr
    assert "promptqueue resume" in done.stderr
    shown = json.loads(at_home.run_apart("show", "--json").stdout)
    usages = [call["usage"] for call in shown["calls"] if call["usage"]]
    spent = sum(usage["prompt"] + usage["completion"] for usage in usages)
    assert spent <= budget
    # The first answer of smoke fits into its budget, none of lunar does.
    assert (at_home.folder / "generated/smoke/stats.py").exists() == (queue == "smoke.yaml")


def test_the_doctor_examines_the_embedded_server(at_home: Shell) -> None:
    done = at_home.run_apart("doctor", "--endpoint", "embedded", "--context", "512", "--json")
    assert done.returncode == 0, done.stderr
    findings = {found["probe"]: found for found in json.loads(done.stdout)["findings"]}
    assert len(findings) >= 12
    verdicts = {name: found["verdict"] for name, found in findings.items()}
    assert "problem" not in verdicts.values(), findings
