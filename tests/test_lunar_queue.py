"""The lunar queue asks for all that it was made for, in both languages, in its own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptqueue.chat.message import Message
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.model import StepResult
from promptqueue.queue.render import render_queue

PROMPTS = Path(__file__).parents[1] / "prompts"

# Written down by hand before the queue was: the independent list.
REQUIREMENTS = {
    "preprocessing": """
        rotation brightness_contrast noise mirroring eval_is_plain normalization high_pass
        multi_scale dataloader formats batch_memory comments
    """,
    "model": """
        backbone frozen transformer aspp skip_attention he_init dropout batchnorm gpu_ready
    """,
    "training": """
        focal_loss adamw cosine metrics early_stopping logging plots checkpoint
    """,
    "optimisation": """
        loader_speed mixed_precision large_images entry_point
    """,
}
PATHS = {
    "preprocessing": ["preprocessing.py"],
    "model": ["model.py"],
    "training": ["training.py"],
    "optimisation": ["preprocessing.py", "training.py", "main.py"],
}
_PREPROCESSING = [
    "get_image_paths(image_dir)",
    "create_train_val_dataloaders("
    "image_dir, val_split=0.2, batch_size=8, num_workers=4, image_size=256)",
]
_TRAINING = [
    "train_model(model, train_loader, val_loader, num_epochs, learning_rate=1e-4, "
    'weight_decay=1e-5, gamma=2.0, patience=7, save_dir="checkpoints"',
    "load_model(model, path, device)",
    "best_f1 (float), total_time",
    "train_loss, val_loss, accuracy, precision, recall, f1, lr",
]
INTERFACE = {
    "preprocessing": _PREPROCESSING,
    "model": [
        'create_model(model_type="hybrid", num_classes=5, dropout_prob=0.3, pretrained=False)',
        '"hybrid": HybridModel, "simple": SimpleModel',
    ],
    "training": [*_TRAINING, "best_model.pth", "training_history.png"],
    "optimisation": [*_PREPROCESSING, *_TRAINING, "config.json", "results.json"],
}
FLAGS = {
    "data_dir": "lunar_images",
    "save_dir": "checkpoints",
    "model_type": "hybrid",
    "num_classes": "5",
    "dropout": "0.3",
    "pretrained": "",
    "epochs": "50",
    "batch_size": "8",
    "lr": "1e-4",
    "weight_decay": "1e-5",
    "gamma": "2.0",
    "patience": "7",
    "val_split": "0.2",
    "num_workers": "4",
    "create_sample_data": "",
    "seed": "42",
    "resume": "",
    "config": "",
}
HEADINGS = {
    "ru": ["ДАННЫЕ", "ЗАДАЧА", "ФОРМАТ ОТВЕТА"],
    "en": ["DATA", "TASK", "ANSWER FORMAT"],
}
CASES = [
    pytest.param(language, step, id=f"{language}-{step}")
    for language in ("ru", "en")
    for step in REQUIREMENTS
]


@pytest.fixture(scope="module")
def lunar() -> LoadedQueue:
    return load_queue(PROMPTS / "lunar.yaml")


@pytest.fixture(scope="module")
def prompts(lunar: LoadedQueue) -> dict[tuple[str, str], str]:
    return {
        (language, step): messages[-1].content
        for language in ("ru", "en")
        for step, messages in _rendered(lunar, f"language={language}").items()
    }


def test_every_requirement_stands_at_its_step(lunar: LoadedQueue) -> None:
    assert {step.id: set(step.requirements) for step in lunar.queue.steps} == {
        step: set(names.split()) for step, names in REQUIREMENTS.items()
    }
    assert sum(len(names.split()) for names in REQUIREMENTS.values()) == 33


def test_every_step_declares_its_files(lunar: LoadedQueue) -> None:
    assert {step.id: list(step.paths()) for step in lunar.queue.steps} == PATHS


@pytest.mark.parametrize(("language", "step"), CASES)
def test_each_requirement_is_one_bullet(
    prompts: dict[tuple[str, str], str], language: str, step: str
) -> None:
    bullets = re.findall(r"^- ([a-z_]+): \S", prompts[language, step], re.MULTILINE)
    assert sorted(bullets) == sorted(REQUIREMENTS[step].split())


@pytest.mark.parametrize(("language", "step"), CASES)
def test_the_interface_is_stated_in_full(
    prompts: dict[tuple[str, str], str], language: str, step: str
) -> None:
    missing = [text for text in INTERFACE[step] if text not in prompts[language, step]]
    assert missing == []


@pytest.mark.parametrize(("language", "step"), CASES)
def test_every_declared_symbol_is_named_in_the_prompt(
    lunar: LoadedQueue, prompts: dict[tuple[str, str], str], language: str, step: str
) -> None:
    outputs = next(s for s in lunar.queue.steps if s.id == step).outputs
    prompt = prompts[language, step]
    answer_format = prompt.partition(f"## {HEADINGS[language][-1]}")[2]
    for output in outputs:
        assert f"```python path={output.path}\n" in answer_format
        told = prompt if output.parts else answer_format  # of what stays, the name will do
        names = [name.partition("(")[0] if output.parts else name for name in output.symbols]
        assert [name for name in names if name not in told] == []


@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_flag_of_main_comes_with_its_default(
    prompts: dict[tuple[str, str], str], language: str
) -> None:
    prompt = prompts[language, "optimisation"]
    found = dict(re.findall(r"--(\w+)(?: ([\w.-]+))?", prompt))
    assert found == FLAGS


@pytest.mark.parametrize(("language", "step"), CASES)
def test_the_prompt_is_in_the_language_asked_for(
    lunar: LoadedQueue, prompts: dict[tuple[str, str], str], language: str, step: str
) -> None:
    role = _rendered(lunar, f"language={language}")[step][0]
    headings = re.findall(r"^## (?!CONTEXT)(.+)$", prompts[language, step], re.MULTILINE)
    assert role.role == "system"
    for text in (role.content, prompts[language, step]):
        assert bool(re.search("[А-Яа-яЁё]", text)) == (language == "ru")
    assert headings == HEADINGS[language]


def test_the_number_of_classes_reaches_the_prompts(lunar: LoadedQueue) -> None:
    rendered = _rendered(lunar, "num_classes=11")
    assert "num_classes=11," in rendered["model"][-1].content
    assert "--num_classes 11" in rendered["optimisation"][-1].content


def test_the_first_three_steps_share_one_prefix(lunar: LoadedQueue) -> None:
    """A server's prompt cache helps only while the messages before stay byte-identical."""
    first, second, third, _ = _rendered(lunar, "language=ru").values()
    assert second[: len(first)] == first
    assert third[: len(second)] == second


def test_the_last_step_sees_the_files_that_it_revises(lunar: LoadedQueue) -> None:
    role, prompt = _rendered(lunar, "language=ru")["optimisation"]
    context = prompt.content.partition("## ДАННЫЕ")[0]
    assert role.role == "system"
    assert re.findall(r"^```(.*)$", context, re.MULTILINE)[::2] == [
        "python path=preprocessing.py",
        "python",  # the interface of model.py, which stays as it is
        "python path=training.py",
    ]


def test_the_smoke_queue_shows_the_second_step_the_interface_of_the_first() -> None:
    smoke = load_queue(PROMPTS / "smoke.yaml")
    stats = StepResult("stats", (), {"stats.py": 'def mean(values):\n    """Mean."""\n    1 / 0\n'})
    prompt = render_queue(smoke, {}, {"stats": stats})["report"][-1].content
    assert '```python\ndef mean(values):\n    """Mean."""' in prompt
    assert "1 / 0" not in prompt


def _rendered(lunar: LoadedQueue, setting: str) -> dict[str, tuple[Message, ...]]:
    return render_queue(lunar, resolve_inputs(lunar.queue, [setting]))


def runs_of(text: str, length: int) -> set[tuple[str, ...]]:
    """Return every run of so many words and signs."""
    words = re.findall(r"\w+|[^\w\s]", text)
    return {tuple(words[n : n + length]) for n in range(len(words) - length + 1)}


def copied(prompt: str, solution: str, declared: list[str]) -> set[tuple[str, ...]]:
    """Return the long runs that a prompt shares with a solution, the declared interface apart."""
    length = 15
    allowed = {run for symbol in declared for run in runs_of(f"def {symbol}:", length)}
    return (runs_of(prompt, length) & runs_of(solution, length)) - allowed


@pytest.mark.parametrize("name", ["lunar.yaml", "lunar-fine.yaml"])
@pytest.mark.parametrize("language", ["ru", "en"])
def test_no_prompt_gives_away_the_solution(language: str, name: str) -> None:
    loaded = load_queue(PROMPTS / name)
    prompts = render_queue(loaded, resolve_inputs(loaded.queue, [f"language={language}"]))
    said = "\n".join(m.content for messages in prompts.values() for m in messages)
    declared = [s for step in loaded.queue.steps for out in step.outputs for s in out.symbols]
    reference = PROMPTS.parent / "reference_impl" / "lunar"
    solutions = [path.read_text("utf-8") for path in reference.glob("*.py")]

    assert [run for text in solutions for run in copied(said, text, declared)] == []


def test_a_prompt_with_a_piece_of_the_solution_is_found() -> None:
    solution = (PROMPTS.parent / "reference_impl/lunar/losses.py").read_text("utf-8")
    piece = solution[solution.index("def ") :][:300]

    assert copied(f"Write a loss. For example:\n{piece}", solution, [])
