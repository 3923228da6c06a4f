"""Histograms of gradients and a linear classifier, against scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from reference_impl.lunar import baseline
from reference_impl.lunar.samples import create_sample_data


def test_the_classifier_is_scikit_learn_s_logistic_regression() -> None:
    random = np.random.default_rng(0)
    labels = random.choice(3, 200, p=[0.6, 0.3, 0.1])
    inputs = random.standard_normal((200, 12)) + labels[:, None] * np.linspace(-1, 1, 12) / 2
    ready = StandardScaler().fit_transform(inputs)
    theirs = LogisticRegression(C=1 / (0.05 * 200), class_weight="balanced", tol=1e-8, max_iter=999)
    expected = theirs.fit(ready, labels).predict_log_proba(ready)
    tensors = torch.from_numpy(inputs).float(), torch.from_numpy(labels)
    found = baseline.fit(*tensors, classes=3, penalty=0.05)(tensors[0]).log_softmax(1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_no_fold_is_judged_by_a_model_that_has_seen_it(tmp_path: Path) -> None:
    create_sample_data(tmp_path / "data", 60, image_size=64)
    names = ("crater", "mare")
    rows = [  # fold 1 calls every crater a mare: what one fold teaches is wrong in the other
        f"{path},{names[(names.index(path.parent.name) + n % 2) % 2]},{n % 2}"
        for name in names
        for n, path in enumerate(sorted((tmp_path / "data" / name).iterdir()))
    ]
    (tmp_path / "windows.csv").write_text("\n".join(["path,label,fold", *rows]))
    found = baseline.judge_folds(tmp_path / "windows.csv", 0.1)
    for fold in found.values():
        assert np.trace(fold["confusion"]) <= 2
        assert np.sum(fold["confusion"]) == 12


@pytest.mark.training
def test_each_fold_is_judged_by_a_model_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_sample_data(tmp_path / "data", 90, image_size=64)
    paths = sorted((tmp_path / "data").rglob("*.png"))
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name},{n % 3}" for n, p in enumerate(paths)]
    (tmp_path / "windows.csv").write_text("\n".join(["path,label,fold", *rows]))
    out = tmp_path / "baseline.json"
    baseline.main(["--manifest", str(tmp_path / "windows.csv"), "--out", str(out)])
    found = json.loads(out.read_text())
    assert {name: sum(map(sum, fold["confusion"])) for name, fold in found["folds"].items()} == {
        "0": 30,
        "1": 30,
        "2": 30,
    }
    assert found["mean_f1"] > 0.6  # chance is 0.2
    assert f"macro-F1 {found['mean_f1']:.3f}" in capsys.readouterr().out


def test_without_folds_there_is_nothing_to_judge(tmp_path: Path) -> None:
    create_sample_data(tmp_path / "data", 10, image_size=32)
    with pytest.raises(SystemExit, match="no two folds"):
        baseline.main(["--manifest", str(tmp_path / "data")])
