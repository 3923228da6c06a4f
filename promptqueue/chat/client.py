"""The OpenAI-compatible client: asks until there is an answer, and shows every attempt.

The ten rules that it holds are those of research on real servers: own retries, two kinds of
429, the name of the token cap, cut replies, streams that end without saying so, silent context
cuts, strict roles, four places of thinking, missing usage, opaque errors.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from promptqueue.chat.attempt import Answer, Attempt
from promptqueue.chat.call import Call
from promptqueue.chat.explain import Explainer, wait_text
from promptqueue.chat.failure import RETRIED, Failure
from promptqueue.chat.message import (
    Adapted,
    Answered,
    AttemptFailed,
    AttemptStarted,
    ChatEvent,
    Continued,
    Request,
    Usage,
    Waiting,
)
from promptqueue.chat.quirks import Classified, Quirks, classify, context_was_cut
from promptqueue.chat.retry import Policy, backoff_s
from promptqueue.chat.transport import AttemptError, Transport
from promptqueue.errors import EndpointError

DOUBLINGS = 2
"""How often the token cap is doubled when thinking ate it all."""
_NO_TOKENS = Usage(0, 0)
_NO_MORE = frozenset(
    {
        Failure.CONTEXT_OVERFLOW,
        Failure.CONTEXT_TRUNCATED,
        Failure.BAD_REQUEST,
        Failure.FILTERED,
    }
)
"""Failures of a continuation that say: there is no more, but what there is holds."""


class OpenAIChat:
    """Asks one endpoint; may be used from several threads.

    Args:
        base_url: up to and with `/v1`.
        api_key: None for servers without one.
        quirks: what is known of the endpoint; learned ones are added to it.
        policy: how patient to be.
        name: of the endpoint, for messages.
        key_hint: the environment variable that holds the key, for messages.
        headers: sent along with each request; nothing of the environment is.
        sleep: replaced in tests.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        quirks: Quirks | None = None,
        policy: Policy | None = None,
        name: str = "endpoint",
        key_hint: str = "",
        headers: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        api_key = api_key.strip() if api_key else None  # the line end of a key file
        self.quirks = quirks or Quirks()
        """What is known of the endpoint by now."""
        self._policy = policy or Policy()
        self._explainer = Explainer(name, base_url, api_key=api_key, key_hint=key_hint)
        self._sleep = sleep
        self._jitter = jitter
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            found = Classified(Failure.AUTH, "the key holds characters that no key has")
            raise EndpointError(self._explainer.terminal(found))
        self.transport = Transport(
            base_url, api_key, policy=self._policy, headers=dict(headers or {})
        )
        """Carries raw requests, for those who examine the endpoint itself."""

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        """Yield what happens; the last event is `Answered`.

        Every request that leaves is announced by `AttemptStarted`: the first one, retries,
        those after `Adapted`, and continuations. `AttemptFailed` voids the text since then.

        Raises:
            EndpointError: no answer is to be had; every attempt was yielded as an event before.
        """
        self.transport.prepare()
        call = Call(request, request.params)
        while True:
            answer = yield from self._answer(call)
            call.add(answer)
            if not (yield from self._goes_on(call, answer)):
                break
        if call.ignored_cap:
            yield Adapted(call.ignored_cap)
        yield Answered(call.reply())

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that the endpoint lists; asked as patiently as the rest.

        Raises:
            EndpointError: there is no such list.
        """
        failures: Counter[Failure] = Counter()
        while True:
            try:
                return _model_names(self.transport.list_models())
            except AttemptError as exc:
                error, found = exc, exc.classified
            failures[found.failure] += 1
            wait = self._wait_s(found, failures)
            if wait > self._policy.max_wait_s or not self._retries(failures, found.failure):
                told = self._explainer.terminal(found, attempts=failures.total(), listing=True)
                raise EndpointError(told) from error
            self._sleep(wait)

    def explain(self, found: Classified, model: str) -> str:
        """Return what a user is told of a failure that nothing can be done about."""
        return self._explainer.terminal(found, model=model, attempts=1)

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def _answer(self, call: Call) -> Generator[ChatEvent, None, Answer]:
        """Attempt until there is an answer."""
        while True:
            yield AttemptStarted(call.attempt, call.params.max_tokens, call.usage)
            quirks = self.quirks  # another thread may learn something meanwhile
            try:
                return (yield from self._attempt(call, quirks))
            except AttemptError as exc:
                error = exc
            answer = yield from self._recover(call, quirks, error)
            if answer is not None:
                return answer

    def _attempt(self, call: Call, quirks: Quirks) -> Generator[ChatEvent, None, Answer]:
        messages = call.messages(quirks)
        attempt = Attempt(messages, so_far=call.text, how=quirks.continuation)
        yield from attempt.run(
            self.transport, call.body(messages, quirks), call.extra_fields(quirks)
        )
        answer = attempt.answer()
        if quirks.checks_context and context_was_cut(answer.usage, messages):
            words = f"it read only {answer.usage.prompt} tokens of a far longer prompt"
            found = Classified(Failure.CONTEXT_TRUNCATED, words)
            raise AttemptError(found, partial=answer.text, usage=answer.usage)
        return answer

    def _recover(
        self, call: Call, quirks: Quirks, error: AttemptError
    ) -> Generator[ChatEvent, None, Answer | None]:
        """Decide what follows a failure: adapt, wait, take what there is, or give up."""
        failure = error.classified.failure
        change = call.adaptation(error.classified, quirks)
        if change:
            self.quirks = replace(self.quirks, **change)
            said = self._explainer.one_line(error.classified.message)
            yield Adapted(f"{_shown(change)}, because the endpoint said: {said}")
            return None
        call.failures[failure] += 1
        retried = self._retries(call.failures, failure)
        if failure is Failure.DEGENERATE and not retried:
            usage = error.usage or _NO_TOKENS
            return Answer(error.partial, "degenerate", usage, seconds=error.seconds)
        if call.text and failure in _NO_MORE:
            yield self._failed(call, error)
            return Answer("", "length", _NO_TOKENS, gave_up=True)
        if not retried:
            yield from self._give_up(call, error)
        yield from self._prepare_retry(call, error)
        return None

    def _retries(self, failures: Counter[Failure], failure: Failure) -> bool:
        limit = RETRIED.get(failure, 0)
        few = self._policy.attempts if limit is None else limit
        return failures[failure] < few and failures.total() < self._policy.attempts

    def _wait_s(self, found: Classified, failures: Counter[Failure]) -> float:
        """Return what the server asks to wait; where it does not, what we choose is acceptable."""
        own = backoff_s(failures.total(), self._policy, self._jitter)
        return found.retry_after_s or min(own, self._policy.max_wait_s)

    def _prepare_retry(self, call: Call, error: AttemptError) -> Generator[ChatEvent, None, None]:
        found = error.classified
        wait = self._wait_s(found, call.failures)
        if wait > self._policy.max_wait_s:
            words = f"it asks to come back in {wait_text(wait)}: {found.message}"
            found = replace(found, message=words)
            yield from self._give_up(
                call, AttemptError(found, partial=error.partial, usage=error.usage)
            )
        yield self._failed(call, error)
        call.attempt += 1
        if found.failure is Failure.DEGENERATE:
            yield Adapted(call.vary(self.quirks))
            return
        reason = f"{found.failure.replace('_', ' ')}: {self._explainer.one_line(found.message)}"
        yield Waiting(wait, time.time() + wait, reason)
        self._sleep(wait)

    def _failed(self, call: Call, error: AttemptError) -> AttemptFailed:
        found = error.classified
        message = self._explainer.one_line(found.message)
        partial = call.text + error.partial  # of a continuation, with what it continues
        return AttemptFailed(call.attempt, found.failure, message, partial, error.usage)

    def _give_up(self, call: Call, error: AttemptError) -> Generator[ChatEvent, None, None]:
        """Yield all that the call brought and cost, for no `Answered` will, and raise."""
        usage = error.usage if call.usage is None else call.usage + (error.usage or _NO_TOKENS)
        told = AttemptError(error.classified, partial=error.partial, usage=usage)
        yield self._failed(call, told)
        model, attempts = call.request.model, call.attempt
        raise EndpointError(
            self._explainer.terminal(error.classified, model=model, attempts=attempts)
        )

    def _goes_on(self, call: Call, answer: Answer) -> Generator[ChatEvent, None, bool]:
        """Tell whether a cut reply needs another request."""
        if answer.finish_reason != "length" or answer.gave_up:
            return False
        if call.text.strip():
            return call.continuations < self._policy.continuations
        if call.doublings == DOUBLINGS:
            words = f"thinking ate the whole cap of {call.params.max_tokens} tokens"
            yield from self._give_up(call, AttemptError(Classified(Failure.EMPTY, words)))
        call.double_cap(answer.usage)
        yield Continued("cap")
        return True


def _shown(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} is now {value}" for name, value in change.items())


def _model_names(listing: Any) -> tuple[str, ...]:
    """Read OpenAI's {"data": [{"id"}]}, Ollama's {"models": [{"name"}]}, or a bare list."""
    entries = listing
    if isinstance(listing, dict):
        entries = listing.get("data", listing.get("models"))
    if not isinstance(entries, list):
        found = classify(200, listing, {})
        raise AttemptError(replace(found, failure=Failure.NOT_AN_ENDPOINT))
    names = [
        entry.get("id") or entry.get("name") if isinstance(entry, dict) else entry
        for entry in entries
    ]
    return tuple(str(name) for name in names if name)
