"""`doctor`: what an endpoint is good for, before it is trusted."""

from __future__ import annotations

import json as json_module
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptqueue.cli.options import AsJson, BaseUrl, EndpointName, KeyVariable, Model
from promptqueue.errors import EndpointError, UsageError, writing

if TYPE_CHECKING:
    from promptqueue.chat.connect import Connection
    from promptqueue.chat.doctor import Doctor, Finding
    from promptqueue.chat.endpoints import Endpoint

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor")(doctor)


def doctor(
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    context: Annotated[
        int,
        typer.Option(
            "--context", min=256, metavar="TOKENS", help="Length of the longest prompt to try."
        ),
    ] = 4096,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="Give up when it is silent for so long."),
    ] = 60.0,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="NAME", help="Add a profile of that name to your config."),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Examine the walls of `verify` here; ask no endpoint."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Examine an endpoint with some 20 small questions, or with --sandbox this machine.

    They take about twice --context in tokens, and about a thousand more.
    """
    if sandbox:
        if save is not None:
            raise UsageError(
                "--save keeps what an endpoint showed, and --sandbox asks none; give one of them"
            )
        _examine_sandbox(json=json)
        return
    from promptqueue.chat.config import load_config
    from promptqueue.chat.connect import connect
    from promptqueue.chat.doctor import Doctor, profile_of
    from promptqueue.chat.endpoints import EndpointChoice, resolve_endpoint
    from promptqueue.chat.hearing import RawClient
    from promptqueue.chat.transport import AttemptError
    from promptqueue.chat.user_folders import config_path

    config = load_config(config_path())
    choice = EndpointChoice(endpoint, base_url, api_key_env, timeout_s=timeout)
    resolved = resolve_endpoint(choice, config=config)
    if save is not None:
        _check_name(save, set(config.endpoints), resolved)
    if not json:
        typer.echo(f"endpoint: {resolved.described}")
    with connect(resolved, lambda _: None) as opened:
        client = opened.client()
        chosen = _chosen_model(opened, resolved, model)
        asked = RawClient(client.transport, chosen)
        try:
            findings = _examined(Doctor(asked, context_tokens=context), quiet=json)
        except AttemptError as error:
            raise EndpointError(client.explain(error.classified, chosen)) from error
    profile = profile_of(findings)
    if json:
        _print(resolved, chosen, findings, profile)
    else:
        spent = asked.usage.prompt + asked.usage.completion
        typer.echo(f"{asked.requests} requests to {chosen}, {spent:,} tokens reported")
    if save is not None:
        _save(save, resolved, chosen, profile)
    elif not json and profile and not resolved.embedded:
        typer.echo(
            "as a profile (--save NAME writes it):\n" + _toml("NAME", resolved, chosen, profile)
        )
    if findings[0].verdict == "problem":
        raise EndpointError(f"{resolved.shown_url} cannot be used: {findings[0].seen}")


def _examined(patient: Doctor, *, quiet: bool) -> list[Finding]:
    """Ask all questions, and show each finding as it comes."""
    findings = []
    for finding in patient.examine():
        findings.append(finding)
        if not quiet:
            typer.echo(f"  {finding.verdict:8} {finding.probe:22} {finding.seen}")
    return findings


def _chosen_model(opened: Connection, endpoint: Endpoint, flag: str | None) -> str:
    from promptqueue.chat.endpoints import choose_model

    if endpoint.embedded:
        return opened.list_models()[0]
    return choose_model(
        flag=flag, step=None, queue=None, endpoint=endpoint, listed=opened.list_models
    )


def _examine_sandbox(*, json: bool) -> None:
    """Print which walls hold here, and what to install where they do not."""
    from promptqueue.verify.sandbox import describe_machine

    findings = describe_machine()
    if json:
        typer.echo(json_module.dumps([asdict(each) for each in findings], ensure_ascii=False))
        return
    for each in findings:
        typer.echo(f"  {each.verdict:8} {each.name:10} {each.words}")


def _print(
    endpoint: Endpoint, model: str, findings: list[Finding], profile: dict[str, Any]
) -> None:
    told = [asdict(finding) for finding in findings]
    head = {"endpoint": endpoint.name, "base_url": endpoint.shown_url, "model": model}
    typer.echo(
        json_module.dumps({**head, "findings": told, "profile": profile}, ensure_ascii=False)
    )


def _check_name(name: str, known: set[str], endpoint: Endpoint) -> None:
    from promptqueue.chat.user_folders import config_path

    if endpoint.embedded:
        raise UsageError("the embedded endpoint needs no profile; leave --save out")
    if name in ("embedded", "openai"):
        raise UsageError(f"{name!r} is an endpoint of its own already; choose another name")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a profile's name; use letters, digits, - and _")
    if name in known:
        raise UsageError(
            f"{config_path()} has a profile {name!r} already; choose another name, or remove it"
        )


def _toml(name: str, endpoint: Endpoint, model: str, profile: dict[str, Any]) -> str:
    """Return a profile as TOML; the values are texts and booleans."""
    assert endpoint.profile is not None
    values = {"base_url": endpoint.profile.base_url, "api_key_env": endpoint.profile.api_key_env}
    lines = [
        f"{key} = {json_module.dumps(value, ensure_ascii=False)}"
        for key, value in {**values, "model": model, **profile}.items()
        if value is not None
    ]
    return "\n".join([f"[endpoints.{name}]", *lines]) + "\n"


def _save(name: str, endpoint: Endpoint, model: str, profile: dict[str, Any]) -> None:
    """Append the profile: what the user wrote stays as it is."""
    from promptqueue.chat.user_folders import config_path

    path, text = config_path(), _toml(name, endpoint, model, profile)
    with writing(path, f"let PROMPTQUEUE_CONFIG name another file, or add this to one:\n{text}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text("utf-8") if path.exists() else ""
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(gap + text)
    typer.echo(f"saved in {path}; use it: promptqueue run QUEUE --endpoint {name}", err=True)
