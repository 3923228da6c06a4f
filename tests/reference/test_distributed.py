"""Several processes are one process with a larger batch."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch

from reference_impl.lunar import distributed
from tests.reference import gradients_child as child
from tests.reference import machines_child, uneven_child

ROOT = Path(__file__).parents[2]


def launch(module: str, *arguments: str) -> None:
    """Run a module in two processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def shares(
    monkeypatch: pytest.MonkeyPatch, length: int, *, shuffled: bool, epoch: int = 0
) -> list[list[int]]:
    """Return what each of three processes is given."""
    monkeypatch.setattr(distributed, "world", lambda: 3)
    found = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        sampler = distributed.ShareSampler(length, shuffled=shuffled, seed=1)
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(sampler) == len(found[-1])
    return found


def test_shares_to_judge_cover_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shares(monkeypatch, 8, shuffled=False)
    assert sorted(chain(*found)) == list(range(8))
    assert sorted(map(len, found)) == [2, 3, 3]


def test_shares_to_train_on_are_as_long_as_each_other_and_leave_out_another_part_each_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_out = set()
    for epoch in range(20):
        found = shares(monkeypatch, 8, shuffled=True, epoch=epoch)
        assert found == shares(monkeypatch, 8, shuffled=True, epoch=epoch)
        assert [len(set(share)) for share in found] == [2, 2, 2]
        given = set(chain(*found))
        assert len(given) == 6
        left_out |= set(range(8)) - given
    assert left_out == set(range(8))


@pytest.mark.training
@pytest.mark.parametrize("name", ["simple", "hybrid"])
def test_gradients_of_two_processes_are_those_of_the_doubled_batch(
    tmp_path: Path, name: str
) -> None:
    launch(child.__name__, str(tmp_path / "found.pt"), name)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    expected = child.gradients(child.fresh(name), *child.batch())
    assert found.keys() == expected.keys()
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, atol=1e-5, rtol=1e-5)


@pytest.mark.training
def test_processes_that_read_different_numbers_of_images_train_and_judge_one_model(
    tmp_path: Path,
) -> None:
    launch(uneven_child.__name__, str(tmp_path / "found.pt"))
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert found["loss"] > 0
    assert found["judged"] == sum(map(sum, uneven_child.SIZES))
    assert found["apart"] < 1e-7
    assert found["drawn"] == found["wrong"] > 0


@pytest.mark.training
def test_machines_without_a_common_disk_train_resume_and_end_with_one_model(tmp_path: Path) -> None:
    launch(machines_child.__name__, str(tmp_path))
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in "01")
    assert len(one["f1"]) == 2
    assert one["f1"] == other["f1"]
    assert torch.equal(one["weights"], other["weights"])
    assert (tmp_path / "0" / "best.pth").exists()
    assert not (tmp_path / "1").exists()  # one process writes
