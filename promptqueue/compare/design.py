"""The design of a comparison: which arms, how many samples, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from promptqueue.chat.endpoints import EndpointChoice, named_model
from promptqueue.compare.arms import DEFAULT, MONOLITH, Arm, arms_without, parse_arm
from promptqueue.compare.monolith import refuse_several_models
from promptqueue.compare.sample import Sample, Spending
from promptqueue.compare.store import Store
from promptqueue.compare.summary import Comparison, compare
from promptqueue.compare.taking import Task, Terms, spent_on
from promptqueue.compare.variants import in_shape, variant
from promptqueue.errors import UsageError
from promptqueue.queue.limits import parse_limits
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.model import Limits
from promptqueue.queue.render import digest_of, render_queue
from promptqueue.run.judge import contract_digest, why_not
from promptqueue.run.prepare import prepare


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a user asked for, in words: it travels to other machines, which make the same of it."""

    queue: Path
    arms: tuple[str, ...]
    samples: int
    """Of each arm."""
    base: str | None = None
    ablate: bool = False
    """The one arm is taken apart."""
    store: Path | None = None
    settings: tuple[str, ...] = ()
    inputs_file: Path | None = None
    endpoint: EndpointChoice = field(default_factory=EndpointChoice)
    price_file: Path | None = None
    limits: tuple[str, ...] = ()
    """Of the whole comparison, as `tokens=100000`."""
    folder: Path = Path()
    """Where the queue files of arms are looked for."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is compared."""

    loaded: LoadedQueue
    arms: tuple[Arm, ...]
    samples: int
    """Of each arm."""
    base: str
    terms: Terms
    store: Store
    named: str | None
    """The model that all arms are asked with, unless they or their steps say otherwise."""
    queues: Mapping[Path, LoadedQueue]
    """Queue files of arms of their own."""
    limits: Limits
    """Of all runs together."""
    asked: Mapping[str, str]
    """Arm to the digest of the prompts that it asks with."""

    def tasks(self) -> list[Task]:
        """Return all samples: the first of each arm, then the second; a stop leaves all alike."""
        return [
            Task(
                arm,
                number,
                self._place(arm, number),
                self.queue_of(arm),
                judge=self.loaded if arm.queue else None,
            )
            for number in range(1, self.samples + 1)
            for arm in self.arms
        ]

    def queue_of(self, arm: Arm) -> LoadedQueue:
        """Return the queue that an arm is a form of."""
        return self.queues[arm.queue] if arm.queue else self.loaded

    def known(self, task: Task) -> Sample | None:
        """Return a sample that was taken before, if it was judged by what it would be now."""
        sample = self.store.sample(task.place)
        if sample is None or sample.contract != self.terms.contract:
            return None
        return sample if {*sample.met, *sample.unmet} == {*self.terms.requirements} else None

    def samples_there(self) -> list[Sample]:
        """Return all samples that were taken before, and that every check has looked at."""
        found = (self.known(task) for task in self.tasks())
        return [sample for sample in found if sample is not None and not sample.errors]

    def missing(self) -> list[Task]:
        """Return what is to be taken, or to be judged again: a check that broke may be mended."""
        there = {(sample.arm, sample.number) for sample in self.samples_there()}
        return [task for task in self.tasks() if (task.arm.name, task.number) not in there]

    def spent(self, there: Sequence[Sample] | None = None) -> Iterator[Spending]:
        """Yield what each run took: of the samples that are there, and of all that are not yet.

        Nothing is read before the first is asked for: without a limit, nobody does.
        """
        there = self.samples_there() if there is None else there
        known = {(sample.arm, sample.number) for sample in there}
        yield from (sample.spending for sample in there)
        for task in self.tasks():
            begun = (task.arm.name, task.number) not in known
            if begun and (spending := spent_on(task, self.terms)) is not None:
                yield spending

    def summary(self) -> Comparison:
        """Return what the samples so far come to."""
        samples: dict[str, list[Sample]] = {arm.name: [] for arm in self.arms}
        missing: dict[str, int] = {}
        for task in self.tasks():
            sample = self.known(task)
            if sample is None:
                missing[task.arm.name] = missing.get(task.arm.name, 0) + 1
            else:
                samples[task.arm.name].append(sample)
        name = self.loaded.queue.name
        return compare(name, self.terms.requirements, samples, self.base, missing)

    def _place(self, arm: Arm, number: int) -> Path:
        loaded, terms = self.queue_of(arm), self.terms
        told = (
            loaded.digest,
            sorted(terms.inputs.items()),
            terms.endpoint.shown_url,
            self.named,
            self.asked[arm.name],
        )
        return self.store.place(arm.name, arm.key(told), number)


def design(recipe: Recipe) -> Design:
    """Return the design of a comparison; nothing is asked, and nothing written.

    Raises:
        UsageError: an arm, an input or the endpoint is wrong, or nothing can be judged here.
        StorageError: the store is no folder, or of another version.
    """
    loaded = load_queue(recipe.queue)
    arms = _arms(loaded, recipe)
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the arm {twice!r} is there twice")
    base = _base(recipe, names)
    if base not in names:
        raise UsageError(f"the base {base!r} is none of the arms: {', '.join(names)}")
    store = Store(recipe.store or Path(".promptqueue") / "compare" / loaded.queue.name)
    store.check()
    queues = {arm.queue: _other(recipe.folder / arm.queue, loaded) for arm in arms if arm.queue}
    limits = parse_limits(recipe.limits)
    terms = _terms(loaded, recipe)
    for arm in arms:
        if arm.model and terms.endpoint.embedded:
            raise UsageError(
                f"the arm {arm.name!r} would be answered by the embedded model, whatever it names; "
                "leave the model out, or name an endpoint that has it with --endpoint"
            )
        if arm.shape == MONOLITH and not (arm.model or terms.model):
            refuse_several_models((queues[arm.queue] if arm.queue else loaded).queue)
    named = None if terms.endpoint.embedded else _named(loaded, terms)
    asked = {
        arm.name: _asked(queues[arm.queue] if arm.queue else loaded, arm, terms) for arm in arms
    }
    made = Design(loaded, arms, recipe.samples, base, terms, store, named, queues, limits, asked)
    if made.missing() and (why := why_not(loaded)):  # what is there can be shown anywhere
        raise UsageError(f"{recipe.queue} cannot be compared: {why}")
    return made


def _named(loaded: LoadedQueue, terms: Terms) -> str | None:
    """Return the model that is named for all steps; the embedded one goes by no other name."""
    queue = loaded.queue.defaults.model
    return named_model(flag=terms.model, step=None, queue=queue, endpoint=terms.endpoint)


def _base(recipe: Recipe, names: Sequence[str]) -> str:
    """Return the name of the base: its parameters may stand in another order than there."""
    if recipe.base is None or recipe.base in names:
        return recipe.base or names[0]
    return parse_arm(recipe.base).name


def _asked(loaded: LoadedQueue, arm: Arm, terms: Terms) -> str:
    """Return the digest of what an arm asks: no queue file holds the words of our own templates."""
    inputs = terms.inputs_of(loaded)
    prompts = render_queue(variant(loaded, arm, inputs, seed=0), inputs)
    return digest_of([message for messages in prompts.values() for message in messages])


def _arms(loaded: LoadedQueue, recipe: Recipe) -> tuple[Arm, ...]:
    if not recipe.ablate:
        return tuple(map(parse_arm, recipe.arms or DEFAULT))
    if len(recipe.arms) > 1:
        raise UsageError("--ablate takes one arm apart; give --arm once, or not at all")
    whole = parse_arm(recipe.arms[0] if recipe.arms else "written")
    taken_apart = _other(recipe.folder / whole.queue, loaded) if whole.queue else loaded
    return (whole, *arms_without(in_shape(taken_apart, whole.shape), whole))


def _terms(loaded: LoadedQueue, recipe: Recipe) -> Terms:
    plan = prepare(
        loaded,
        recipe.endpoint,
        settings=recipe.settings,
        inputs_file=recipe.inputs_file,
        price_file=recipe.price_file,
        runs=Path(),
    )
    contract, asked = contract_digest(loaded), tuple(_requirements(loaded))
    return Terms(plan.inputs, plan.endpoint, plan.prices, plan.model, contract, asked)


def _other(path: Path, loaded: LoadedQueue) -> LoadedQueue:
    """Return the queue of an arm of its own; the contract of what is compared must fit its code.

    Raises:
        UsageError: it does not ask for the same, or does not bring the files that are judged.
    """
    other = load_queue(path)
    for what, ours, theirs in (
        ("ask for", _requirements(loaded), _requirements(other)),
        ("bring", _files(loaded), _files(other)),
    ):
        lacking = ", ".join([name for name in ours if name not in theirs][:3])
        if lacking:
            raise UsageError(
                f"{path} cannot be an arm: it does not {what} {lacking} of {loaded.path}"
            )
    return other


def _requirements(loaded: LoadedQueue) -> list[str]:
    """Return the ids, each once: checks name nothing else, so that all steps share a verdict."""
    return list(dict.fromkeys(name for step in loaded.queue.steps for name in step.requirements))


def _files(loaded: LoadedQueue) -> list[str]:
    return [path for step in loaded.queue.steps for path in step.paths()]
