"""Prices through the real command: where they come from, what is recorded, what is refused."""

from __future__ import annotations

import json

import pytest

from tests.cli.command import Shell
from tests.fake_endpoint import FakeEndpoint, count, stream
from tests.scripted import fence

ONE = stream(fence("one.py", "def one():\n    return 1"), usage=count(600, 400))
TWO = stream(fence("two.py", "x = 2"), usage=count(600, 400))


def price(usd: float, model: str = "fake-model") -> str:
    return f'[prices."{model}"]\ninput = {usd}\noutput = {usd}\n'


def usd_of(shell: Shell, *arguments: str) -> float | None:
    """Run the queue, 2,000 tokens in all, and return what it is said to have cost."""
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url, "--json", "--fresh")
        done = shell.run("run", "q.yaml", *place, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["usd"]


def recorded(shell: Shell) -> dict:
    path = max(shell.folder.glob(".promptqueue/runs/*/run.json"))
    return json.loads(path.read_text())["prices"]


def test_a_file_of_prices_and_the_variable_that_names_one(shell: Shell) -> None:
    shell.write("a.toml", price(1000))
    shell.write("b.toml", price(500))
    shell.environ["PROMPTQUEUE_PRICES"] = "a.toml"
    assert usd_of(shell) == pytest.approx(2.0)
    assert usd_of(shell, "--prices", "b.toml") == pytest.approx(1.0)


def test_the_configuration_wins_per_model(shell: Shell) -> None:
    shell.write("a.toml", price(1000) + price(7, "other"))
    shell.write("config.toml", price(250))
    assert usd_of(shell, "--prices", "a.toml") == pytest.approx(0.5)
    assert recorded(shell) == {
        "fake-model": {"input": 250.0, "output": 250.0, "cached": None},
        "other": {"input": 7.0, "output": 7.0, "cached": None},
    }


def test_a_run_records_the_prices_of_the_models_that_it_names(shell: Shell) -> None:
    shell.write("a.toml", price(1000) + price(7, "other"))
    usd_of(shell, "--prices", "a.toml", "--model", "vendor/fake-model-2026-01-31")
    assert list(recorded(shell)) == ["vendor/fake-model-2026-01-31"]


def test_a_model_without_a_price_is_said_where_money_is_limited(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url)
        done = shell.run("run", "q.yaml", *place, "--limit", "usd=1")
    assert "the limit usd cannot be held: no price of fake-model is known" in done.stdout
    assert "--prices" in done.stdout
    assert "unknown of 1.00 USD" in done.stdout


def test_a_model_that_is_only_asked_in_the_end_is_said_as_well(shell: Shell) -> None:
    queue = shell.folder / "q.yaml"
    queue.write_text(queue.read_text().replace("refine: {", "refine: {escalate: big, "))
    shell.write("a.toml", price(1000))
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url)
        done = shell.run("run", "q.yaml", *place, "--limit", "usd=1", "--prices", "a.toml")
    assert "the limit usd cannot be held: no price of big is known" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ("p.toml does not exist",)),
        ("[prices", ("p.toml is not TOML", "correct the file")),
        (b"\xff\xfe", ("p.toml is not UTF-8 text",)),
        ("prices = 3", ("p.toml: prices: a table (a line `[name]`", "not 3")),
        ("[price.m]\ninput = 1", ("p.toml: price: unknown key 'price'; did you mean 'prices'?",)),
        ("[prices.m]\ninput = 1", ("p.toml: prices.m.output: this key is missing",)),
        (
            '[prices."gpt-5.4"]\ninput = -1\noutput = "2"\ncashed = 1',
            (
                'p.toml: prices."gpt-5.4".input: this must be at least 0, not -1',
                "prices.\"gpt-5.4\".output: a number is needed here, not '2'",
                "unknown key 'cashed'; did you mean 'cached'?",
            ),
        ),
        (
            "[prices.m]\ninput = inf\noutput = nan",
            ("prices.m.input: a number is needed here, not inf", "not nan"),
        ),
        ("[prices.m]\ninput = true\noutput = 1", ("a number is needed here, not true",)),
    ],
    ids=["missing", "broken", "binary", "number", "key", "half", "values", "inf", "bool"],
)
def test_a_price_file_with_nonsense(
    shell: Shell, content: str | bytes | None, said: tuple[str, ...]
) -> None:
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (shell.folder / "p.toml").write_bytes(data)
    done = shell.run("run", "q.yaml", "--prices", "p.toml", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2
    for words in said:
        assert words in done.stderr
    for foreign in ("Traceback", "Input should", "Extra inputs", "Field required", "valid"):
        assert foreign not in done.stderr
    assert not (shell.folder / ".promptqueue").exists()


def test_a_folder_is_no_price_file(shell: Shell) -> None:
    done = shell.run("run", "q.yaml", "--prices", ".", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2
    assert "cannot be read: Is a directory" in done.stderr


def test_the_configuration_speaks_plainly_too(shell: Shell) -> None:
    shell.write("config.toml", "[endpoints.lab]\nbase_url = 3\nmodle = 'm'\n[prices]\nm = 1\n")
    done = shell.run("run", "q.yaml")
    assert done.returncode == 2
    assert "endpoints.lab.base_url: a text is needed here, not 3" in done.stderr
    assert "endpoints.lab.modle: unknown key 'modle'; did you mean 'model'?" in done.stderr
    assert "prices.m: a table" in done.stderr
