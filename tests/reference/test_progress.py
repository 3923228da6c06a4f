"""What a training shows in a terminal, and what it leaves in a log."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.utils.data import DataLoader, TensorDataset

from reference_impl.lunar.progress import Progressing
from reference_impl.lunar.training import train_model
from tests.reference.conftest import Tiny


def shown(folder: Path, *, terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, highlight=False)
    data = TensorDataset(torch.rand(12, 3, 32, 32), torch.arange(12) % 2)
    loader = DataLoader(data, batch_size=4)
    progress = Progressing(2, console)
    train_model(Tiny(), loader, loader, 2, save_dir=folder, report=progress, watch=progress.batches)
    return screen.getvalue()


def test_a_log_gets_one_plain_line_per_epoch(tmp_path: Path) -> None:
    lines = shown(tmp_path, terminal=False).splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert re.match(rf"epoch {number}/2: train loss \d\.\d{{4}}, .*macro-F1 \d\.\d{{3}}", line)
        assert "\x1b" not in line


def test_a_terminal_gets_a_bar_within_the_epoch_and_a_table(tmp_path: Path) -> None:
    screen = shown(tmp_path, terminal=True)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert re.search(r"epoch 1/2 .*0/3", text)
    assert re.search(r"epoch 2/2 ", text)
    assert text.count("macro-F1") == 1  # one head
    rows = re.findall(r"(?:^|\r) *(\d)/2 +\d\.\d{4}", text, re.MULTILINE)
    assert rows == ["1", "2"]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_hands_on_every_batch(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    batches = Progressing(1, console).batches(DataLoader(list(range(7)), batch_size=3), 1)
    assert torch.cat(list(batches)).tolist() == list(range(7))
