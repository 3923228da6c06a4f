"""From what a user names to a plan of a run: nothing is asked, and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from promptqueue.chat.config import Config, load_config
from promptqueue.chat.endpoints import Endpoint, EndpointChoice, resolve_endpoint
from promptqueue.chat.prices import load_prices
from promptqueue.chat.user_folders import config_path
from promptqueue.errors import UsageError
from promptqueue.queue.inputs import known_inputs, resolve_inputs
from promptqueue.queue.limits import parse_limits
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.model import Limits
from promptqueue.run.journal import Record, RunDirectory
from promptqueue.run.plan import Plan
from promptqueue.run.steering import Steer


def prepare(
    queue: Path | LoadedQueue,
    choice: EndpointChoice,
    *,
    settings: Sequence[str] = (),
    inputs_file: Path | None = None,
    limits: Sequence[str] = (),
    price_file: Path | None = None,
    out: Path | None = None,
    runs: Path,
    overwrite: bool = False,
    fresh: bool = False,
    start: str | None = None,
    steer: Steer | None = None,
    verify: bool | None = None,
) -> Plan:
    """Return the plan of a new run.

    Raises:
        UsageError: the queue, an input, a limit, the endpoint or the configuration is wrong.
    """
    given = parse_limits(limits)
    loaded = queue if isinstance(queue, LoadedQueue) else load_queue(queue)
    config = load_config(config_path())
    endpoint = resolve_endpoint(choice, config=config, queue_profile=loaded.queue.endpoint)
    return Plan(
        loaded=loaded,
        inputs=resolve_inputs(loaded.queue, settings, inputs_file),
        endpoint=endpoint,
        out=out or Path("generated") / loaded.queue.name,
        runs=runs,
        model=choice.model,
        overwrite=overwrite,
        prices=load_prices(config, endpoint, price_file),
        limits=given,
        fresh=fresh,
        start=start,
        steer=steer,
        verify=verify,
    )


def prepare_resumed(
    loaded: LoadedQueue,
    path: Path,
    choice: EndpointChoice,
    *,
    limits: Sequence[str] = (),
    price_file: Path | None = None,
    overwrite: bool = False,
    verify: bool | None = None,
) -> Plan:
    """Return the plan of going on with the run at `path`: as it began, unless said otherwise.

    Raises:
        UsageError: as for `prepare`.
        StorageError: run.json cannot be read.
    """
    given = parse_limits(limits)
    meta = RunDirectory(path).meta()
    config = load_config(config_path())
    endpoint = _endpoint_of(meta["endpoint"], loaded.queue.endpoint, config, choice)
    return Plan(
        loaded=loaded,
        inputs=known_inputs(meta["inputs"], loaded.queue),
        endpoint=endpoint,
        out=relative(Path(meta["out"])),
        runs=path.parent,
        model=choice.model or meta["model"],
        overwrite=overwrite,
        prices=load_prices(config, endpoint, price_file),
        limits=given.over(Limits(**meta.get("limits", {}))),
        fresh=meta.get("fresh", False),
        start=_start_of(meta, loaded),
        verify=meta.get("verify") if verify is None else verify,
    )


def relative(path: Path) -> Path:
    """Show paths below the working directory the way a user would write them."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _start_of(meta: Record, loaded: LoadedQueue) -> str | None:
    """Return the step that the run was to ask anew from, if the queue still has it."""
    start: str | None = meta.get("from")
    return start if any(step.id == start for step in loaded.queue.steps) else None


def _endpoint_of(
    meta: Record,
    queue_profile: str | None,
    config: Config,
    choice: EndpointChoice,
) -> Endpoint:
    """Return the endpoint that the run began with, unless the choice is another one."""
    same, name = choice.name is None and choice.base_url is None, meta["name"]
    if same and name == "url":
        key = choice.api_key_env or meta["api_key_env"]
        choice = replace(choice, base_url=meta["base_url"], api_key_env=key)
    elif same:
        choice = replace(choice, name=name)
    endpoint = resolve_endpoint(choice, config=config, queue_profile=queue_profile)
    if not same:
        return endpoint
    began, now = meta.get("base_url"), endpoint.shown_url
    if began is None or began == now:
        return replace(endpoint, reason="as the run began")
    if name in config.endpoints:
        return replace(endpoint, reason=f"as the run began, then at {began}")
    raise UsageError(  # nobody said that the prompts may go there
        f"the run began at {began}, and {name} is {now} here; set OPENAI_BASE_URL to go on where "
        f"it began, or give --endpoint {name}"
    )
