"""What the arms of a comparison ask: seen in the messages that they render to."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from promptqueue.compare.arms import Arm, arms_without, parse_arm, slug
from promptqueue.compare.monolith import refuse_several_models
from promptqueue.compare.variants import in_shape, variant
from promptqueue.errors import UsageError
from promptqueue.queue.bullets import without_bullet
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.render import render_queue
from promptqueue.run.ending import inserted

LUNAR = load_queue(Path(__file__).parents[2] / "prompts" / "lunar.yaml")
FINE = load_queue(Path(__file__).parents[2] / "prompts" / "lunar-fine.yaml")
INPUTS = resolve_inputs(LUNAR.queue, ["language=en"])


def prompts(arm: str | Arm, seed: int = 1) -> dict[str, list[str]]:
    asked = parse_arm(arm) if isinstance(arm, str) else arm
    loaded = variant(LUNAR, asked, INPUTS, seed=seed)
    rendered = render_queue(loaded, INPUTS)
    return {step: [message.content for message in messages] for step, messages in rendered.items()}


@pytest.mark.parametrize(
    "arm",
    [
        *("monolith", "written", "none", "full+refine", "files,temperature=0.7,model=other"),
        Arm("interface", omits=("role",)),
        Arm("interface", omits=("preprocessing.noise",)),
        Arm("interface", omits=("training<model",)),
    ],
    ids=str,
)
def test_what_an_arm_asks_is_kept_as_a_queue_that_can_be_loaded(
    tmp_path: Path, arm: str | Arm
) -> None:
    """For `replay` and `refine`, which go by what a run keeps of its queue."""
    asked = parse_arm(arm) if isinstance(arm, str) else arm
    loaded = variant(LUNAR, asked, INPUTS, seed=7)
    for name, text in loaded.copy().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    again = load_queue(tmp_path / "lunar.yaml", contract=False)

    assert again.queue == loaded.queue
    assert render_queue(again, INPUTS) == render_queue(loaded, INPUTS)


def test_the_monolith_asks_for_everything_in_the_words_of_the_steps() -> None:
    (messages,) = prompts("monolith").values()
    written = prompts("none")

    assert len(messages) == 2  # the role, and one prompt
    for step in LUNAR.queue.steps:
        asked, _, _ = written[step.id][-1].partition("## ANSWER FORMAT")
        for line in filter(None, asked.splitlines()):
            assert line in messages[-1], step.id


def test_the_monolith_has_one_answer_format_with_each_name_once() -> None:
    (prompt,) = (messages[-1] for messages in prompts("monolith").values())
    tasks, _, answer_format = prompt.partition("\n## ANSWER FORMAT")

    assert "ANSWER FORMAT" not in answer_format
    assert "only" not in answer_format  # a step's says `only the file`, or `only the functions`
    assert "Template of the reply" not in prompt
    fences = [
        f"```python path={name}.py" for name in ("preprocessing", "model", "training", "main")
    ]
    assert [line for line in prompt.splitlines() if "path=" in line] == fences
    for signature in ("class ASPP(", "def high_pass(", "def load_model("):
        assert tasks.count(signature) == 1, signature
    assert re.findall(r"`training.py`.*:\n|use_amp=False, accumulation_steps=1\)\n", tasks)[
        -3:
    ] == [
        "`training.py`:\n",
        "`training.py`, as a later task changes it:\n",
        "use_amp=False, accumulation_steps=1)\n",
    ]


def test_a_warning_stands_in_front_of_the_answer_format_of_the_monolith() -> None:
    """As in the prompts of the steps; it was once put into the middle of the last task."""
    (prompt,) = (messages[-1] for messages in prompts("monolith").values())
    before, _, after = inserted("Avoid this.", prompt).partition("Avoid this.\n")

    assert after.startswith("\n## ANSWER FORMAT")
    assert before.rstrip() + "\n" + after == prompt.replace("\n\n\n## ANSWER", "\n\n## ANSWER")


def written(tmp_path: Path, steps: str) -> LoadedQueue:
    path = tmp_path / "q.yaml"
    path.write_text(f"promptqueue: 1\nname: q\nsteps:\n{steps}")
    return load_queue(path)


def test_a_template_without_the_layout_is_kept_whole_in_the_monolith(tmp_path: Path) -> None:
    (tmp_path / "own.md.j2").write_text(
        "Write a.py, and answer with it:\n\n```python\nx = 1\n```\n"
    )
    loaded = written(
        tmp_path,
        "  - {id: a, template: own.md.j2, outputs: [{path: a.py}]}\n"
        "  - {id: b, task: Write b.py, outputs: [{path: b.py}]}\n",
    )

    ((prompt,),) = render_queue(variant(loaded, parse_arm("monolith"), {}, seed=1), {}).values()

    assert prompt.content.count("x = 1") == 1
    assert "Outlines" not in prompt.content


@pytest.mark.parametrize(
    ("first", "arm", "words"),
    [
        ("params: {temperature: 0.7}", "monolith", r"temperature \(0.7, None\)"),
        ("params: {temperature: 0.7}", "monolith,temperature=0.2", ""),
        ("params: {max_tokens: 100}", "monolith", ""),
        ("model: large", "monolith", r"different models \(large, none\).*monolith,model=NAME"),
    ],
)
def test_steps_that_are_asked_in_other_ways_are_no_single_prompt(
    tmp_path: Path, first: str, arm: str, words: str
) -> None:
    loaded = written(
        tmp_path,
        f"  - {{id: a, task: Write a.py, {first}, outputs: [{{path: a.py}}]}}\n"
        "  - {id: b, task: Write b.py, outputs: [{path: b.py}]}\n",
    )
    expected = pytest.raises(UsageError, match=words) if words else contextlib.nullcontext()
    with expected:
        refuse_several_models(loaded.queue)
        variant(loaded, parse_arm(arm), {}, seed=1)


@pytest.mark.parametrize("queue", [LUNAR, FINE], ids=["four", "fine"])
def test_the_monolith_may_be_refined_as_often_as_all_steps_together(queue: LoadedQueue) -> None:
    (step,) = variant(queue, parse_arm("monolith+refine"), INPUTS, seed=1).queue.steps
    assert step.refine is not None
    assert step.refine.turns == len(queue.queue.steps) * queue.queue.defaults.refine.turns


def test_the_monolith_declares_every_file_and_may_be_as_long_as_all_replies() -> None:
    (step,) = variant(LUNAR, parse_arm("monolith"), INPUTS, seed=1).queue.steps
    assert step.paths() == ("preprocessing.py", "model.py", "training.py", "main.py")
    assert not any(output.parts for output in step.outputs)  # there is nothing that could stay
    assert step.params.max_tokens == 3 * 4096 + 6144
    assert list(step.requirements) == [r for s in LUNAR.queue.steps for r in s.requirements]


def test_a_prompt_with_braces_in_it_is_asked_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    task = "Write {{ '{{' }} x }} and {{ '{%' }} y %} {% raw %}{# z #}{% endraw %}"
    path.write_text(
        "promptqueue: 1\nname: q\nsteps:\n"
        f'  - {{id: a, task: "{task}", outputs: [{{path: a.py}}]}}\n'
    )
    loaded = load_queue(path)
    (messages,) = render_queue(variant(loaded, parse_arm("monolith"), {}, seed=1), {}).values()
    assert "Write {{ x }} and {% y %} {# z #}" in messages[-1].content


def test_contexts_are_as_the_shape_says() -> None:
    assert all(len(messages) == 2 for messages in prompts("none").values())
    assert [len(messages) for messages in prompts("full").values()] == [2, 4, 6, 8]
    files, interface = prompts("files"), prompts("interface")
    assert "preprocessing.py of step preprocessing" in files["model"][-1]
    assert len(interface["model"]) == 2
    assert interface["model"] != files["model"] != prompts("none")["model"]


def test_without_refinement_every_step_is_asked_once() -> None:
    plain = variant(LUNAR, parse_arm("full"), INPUTS, seed=1).queue
    refined = variant(LUNAR, parse_arm("full+refine"), INPUTS, seed=1).queue
    assert {plain.refine_of(step).turns for step in plain.steps} == {0}
    assert [refined.refine_of(s) for s in refined.steps] == [
        LUNAR.queue.refine_of(s) for s in LUNAR.queue.steps
    ]


def test_parameters_and_seed_are_laid_over_those_of_the_queue() -> None:
    queue = variant(LUNAR, parse_arm("full,temperature=0.7,model=other"), INPUTS, seed=99).queue
    params = queue.params_of(queue.steps[1])
    assert (params.temperature, params.seed, params.max_tokens) == (0.7, 99, 4096)
    assert queue.steps[1].model == "other"


def test_a_bullet_is_left_out_with_what_is_indented_below_it() -> None:
    text = "Do it.\n- one: first\n  and more\n- two: second\nEnd\n"
    assert without_bullet(text, "one") == "Do it.\n- two: second\nEnd\n"
    assert without_bullet(text, "on") == text


def test_each_thing_left_out_is_an_arm_of_its_own() -> None:
    base = parse_arm("interface")
    arms = list(arms_without(in_shape(LUNAR, "interface"), base))

    assert len(arms) == 1 + 33 + (1 + 2 + 3)  # the role, the bullets, the context entries
    whole = prompts(base)
    for arm in arms:
        assert prompts(arm) != whole, arm.name
    noise = next(arm for arm in arms if arm.omits == ("preprocessing.noise",))
    assert "- noise:" in whole["preprocessing"][-1]
    assert "- noise:" not in prompts(noise)["preprocessing"][-1]
    assert prompts(noise)["model"] == whole["model"]
    context = next(arm for arm in arms if arm.omits == ("training<model",))
    assert len(prompts(context)["training"][-1]) < len(whole["training"][-1])


def test_a_bullet_that_no_prompt_has_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="no bullet `- nothing: …`"):
        variant(LUNAR, Arm(omits=("model.nothing",)), INPUTS, seed=1)


def test_arms_are_named_as_they_are_written() -> None:
    for text in (
        "monolith",
        "full+refine",
        "none,temperature=0.8",
        "written,queue=b.yaml,top_p=0.5",
    ):
        assert parse_arm(text).name == text
    assert slug("written,without report<stats") == "written_without_report_stats"


def test_a_monolith_has_no_context_that_could_be_left_out() -> None:
    arms = list(arms_without(in_shape(LUNAR, "monolith"), parse_arm("monolith")))

    assert not [arm.name for arm in arms if "<" in arm.name]
    assert len(arms) == 1 + 33
