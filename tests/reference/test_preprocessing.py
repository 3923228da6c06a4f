"""Requirements of prompt 1: what training images look like, and which files may come."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from reference_impl.lunar import distributed
from reference_impl.lunar.index import DataError, by_fold, load_index, split
from reference_impl.lunar.preprocessing import (
    LunarDataset,
    create_evaluation_dataloader,
    create_manifest_dataloaders,
    create_train_val_dataloaders,
    get_image_paths,
    read_image,
    to_channels,
)


def test_training_views_follow_from_seed_epoch_and_number(images: Path) -> None:
    (images / "dark" / "1.png").write_bytes((images / "dark" / "0.png").read_bytes())
    index = load_index(images)
    first, again, other = (LunarDataset(index, 64, training=True, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first[0][0], again[0][0])
    again.set_epoch(1)
    for view in (again[0][0], other[0][0], first[1][0]):  # all of the same pixels
        assert not torch.equal(first[0][0], view)


def test_images_that_judge_come_once_and_are_never_augmented(images: Path) -> None:
    rows = [f"{name}/{n}.png,{name},{n % 2}" for name in ("dark", "light") for n in range(10)]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,fold", *rows]))
    sizes: dict[str, Any] = {"batch_size": 3, "num_workers": 0, "image_size": 64}
    for loader in (
        create_train_val_dataloaders(images, **sizes)[1],
        *create_manifest_dataloaders(manifest, "0", **sizes)[1:],
        create_evaluation_dataloader(images, **sizes),
    ):
        expected = np.stack([to_channels(read_image(path)) for path in loader.dataset.paths])
        found = torch.cat([batch for batch, _ in loader])
        np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("size", [256, 512])
def test_both_scales_can_be_asked_for(images: Path, size: int) -> None:
    train, val = create_train_val_dataloaders(images, batch_size=4, num_workers=0, image_size=size)
    for loader in (train, val):
        batch, labels = next(iter(loader))
        assert batch.shape == (4, 3, size, size)
        assert (batch.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert 0 <= float(batch.min()) < float(batch.max()) <= 1


def test_the_split_is_disjoint_complete_seeded_and_a_fifth_of_each_class(images: Path) -> None:
    index = load_index(images)
    train, val = split(index, 0.2, 1)
    assert not set(train.paths) & set(val.paths)
    assert set(train.paths) | set(val.paths) == set(index.paths)
    assert val.counts() == {"dark": 2, "light": 2}
    assert split(index, 0.2, 1)[1].paths == val.paths
    assert split(index, 0.2, 2)[1].paths != val.paths


def test_defaults_of_the_loaders_are_those_of_the_prompt(images: Path) -> None:
    train, val = create_train_val_dataloaders(images)
    assert train.batch_size == 8
    assert len(val.dataset) == 4
    assert train.dataset.image_size == 256


def test_workers_stay_and_bring_the_same_images_in_each_epoch(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # so that there may be a worker
    epochs: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for workers, seen in epochs.items():
        loader, _ = create_train_val_dataloaders(images, num_workers=workers, image_size=64)
        assert (loader.num_workers, loader.persistent_workers) == (workers, workers > 0)
        for epoch in (1, 2):
            loader.dataset.set_epoch(epoch)
            loader.sampler.set_epoch(epoch)
            seen.append(torch.cat([batch for batch, _ in loader]))
    for alone, helped in zip(*epochs.values(), strict=True):
        assert torch.equal(alone, helped)
    assert not torch.equal(*epochs[0])


def _sixteen_bits(path: Path, pixels: np.ndarray) -> None:
    cv2.imwrite(str(path), pixels.astype(np.uint16) * 257)


KINDS = {
    "gray.png": lambda path, p: Image.fromarray(p).save(path),
    "rgb.png": lambda path, p: Image.fromarray(p).convert("RGB").save(path),
    "rgba.png": lambda path, p: Image.fromarray(p).convert("RGBA").save(path),
    "palette.png": lambda path, p: Image.fromarray(p).convert("P").save(path),
    "gray.jpg": lambda path, p: Image.fromarray(p).save(path, quality=98),
    "rgb.jpeg": lambda path, p: Image.fromarray(p).convert("RGB").save(path, quality=98),
    "gray.tif": lambda path, p: Image.fromarray(p).save(path),
    "rgb.tiff": lambda path, p: Image.fromarray(p).convert("RGB").save(path),
    "sixteen.tif": _sixteen_bits,
    "sixteen.png": _sixteen_bits,
    "gray.bmp": lambda path, p: Image.fromarray(p).save(path),
    "lossless.webp": lambda path, p: Image.fromarray(p).convert("RGB").save(path, lossless=True),
    "UPPER.PNG": lambda path, p: Image.fromarray(p).save(path),
    "кратер.png": lambda path, p: Image.fromarray(p).save(path),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_format_gives_the_same_values(tmp_path: Path, name: str) -> None:
    ramp = np.add.outer(np.arange(40), 3 * np.arange(40)).astype(np.uint8)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        KINDS[name](tmp_path / label / name, ramp)
    assert len(load_index(tmp_path).paths) == 2
    found = read_image(tmp_path / "a" / name)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ramp / 255, atol=0.03 if "jp" in name else 0.005)


def test_class_folders_may_be_links_and_links_that_lead_back_up_end(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked" / "dark").mkdir(parents=True)
    (images / "light").rename(tmp_path / "elsewhere")
    (tmp_path / "linked" / "light").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "linked" / "dark" / "more").symlink_to(images / "dark")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    (images / "dark" / "up").symlink_to(tmp_path / "linked" / "dark")
    assert load_index(tmp_path / "linked").counts() == {"dark": 10, "light": 10}


def test_odd_files_are_named_skipped_and_counted(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "dark" / "empty.png").write_bytes(b"")
    (images / "dark" / "text.jpg").write_text("no image")
    (images / "dark" / "notes.txt").write_text("not even an image's name")
    Image.fromarray(np.zeros((32, 32), np.float32), "F").save(images / "light" / "float.tif")
    with caplog.at_level(logging.WARNING):
        index = load_index(images)
    assert sorted(path.name for path in index.skipped) == ["empty.png", "float.tif", "text.jpg"]
    assert len(index.paths) == 20
    for name in ("empty.png", "text.jpg", "float.tif", "3 of 23 files"):
        assert name in caplog.text


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_file_that_breaks_off_is_named_skipped_and_counted(
    images: Path, name: str, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(images / "dark" / name)
    whole = (images / "dark" / name).read_bytes()
    (images / "dark" / name).write_bytes(whole[: round(share * len(whole))])
    assert [path.name for path in load_index(images).skipped] == [name]
    assert f"{name} is skipped: image file is truncated" in caplog.text
    assert "1 of 21 files" in caplog.text
    (images / "dark" / name).write_bytes(whole + bytes(4096))  # as some disks fill up their blocks
    assert not load_index(images).skipped


def test_a_file_that_breaks_off_later_is_left_out_of_its_batch(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loader = create_evaluation_dataloader(images, batch_size=20, num_workers=0, image_size=64)
    (images / "dark" / "0.png").write_bytes(b"")
    batch, labels = next(iter(loader))
    assert len(batch) == len(labels) == 19
    assert "0.png is skipped" in caplog.text


def test_files_are_opened_when_their_turn_comes(images: Path, monkeypatch) -> None:
    opened = []

    def reading(path):
        opened.append(path)
        return np.zeros((64, 64), np.float32)

    monkeypatch.setattr("reference_impl.lunar.preprocessing.read_image", reading)
    train, _ = create_train_val_dataloaders(images, batch_size=4, num_workers=0, image_size=64)
    assert not opened
    next(iter(train))
    assert len(opened) == 4


def test_each_file_is_decoded_once_with_a_cache(images: Path, monkeypatch) -> None:
    opened = []
    real = read_image

    def reading(path):
        opened.append(path)
        return real(path)

    monkeypatch.setattr("reference_impl.lunar.preprocessing.read_image", reading)
    dataset = LunarDataset(load_index(images), 64, training=False, cache=True)
    first = [dataset[i][0] for i in range(5)]
    again = [dataset[i][0] for i in range(5)]
    assert len(opened) == 5
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


def test_a_manifest_gives_paths_labels_and_folds(images: Path) -> None:
    rows = [
        (f"{name}/{number}.png", name, str(number % 3))
        for name in ("dark", "light")
        for number in range(10)
    ]
    as_csv = images / "windows.csv"
    as_csv.write_text("path,label,fold\n" + "".join(",".join(row) + "\n" for row in rows))
    as_jsonl = images / "windows.jsonl"
    records = [{"path": path, "label": label, "split": fold} for path, label, fold in rows]
    as_jsonl.write_text("\n".join(json.dumps(record) for record in records))
    for manifest in (as_csv, as_jsonl):
        train, test = by_fold(load_index(manifest), "1")
        assert sorted(path.name for path in test.paths) == sorted(["1.png", "4.png", "7.png"] * 2)
        assert len(train.paths) == 14
        assert not set(train.paths) & set(test.paths)
    loaders = create_manifest_dataloaders(as_csv, "0", num_workers=0, image_size=64)
    train, val, test = (loader.dataset for loader in loaders)
    assert len(test) == 8
    assert len(train) + len(val) == 12
    assert len(val) == 2
    assert not set(test.paths) & {*train.paths, *val.paths}


@pytest.mark.parametrize("name", ["val", "Validation", "dev"])
def test_a_fold_for_validation_chooses_the_epoch(images: Path, name: str) -> None:
    parts = [*["train"] * 5, *[name] * 3, *["test"] * 2]
    rows = [
        f"{label}/{n}.png,{label},{part}"
        for label in ("dark", "light")
        for n, part in enumerate(parts)
    ]
    (images / "windows.csv").write_text("\n".join(["path,label,split", *rows]))
    loaders = create_manifest_dataloaders(images / "windows.csv", "test", num_workers=0)
    found = [sorted({path.stem for path in loader.dataset.paths}) for loader in loaders]
    assert found == [list("01234"), list("567"), list("89")]


def test_labels_may_be_numbers(images: Path) -> None:
    manifest = images / "windows.jsonl"
    rows = [{"path": f"{name}/1.png", "label": n} for n, name in enumerate(("dark", "light"))]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    assert load_index(manifest).classes == ("0", "1")


def test_a_digest_tells_data_sets_apart_wherever_they_lie(images: Path) -> None:
    found = load_index(images).digest()
    moved = images.rename(images.with_name("moved"))
    assert load_index(moved).digest() == found
    (moved / "dark" / "0.png").rename(moved / "light" / "10.png")
    assert load_index(moved).digest() != found


def test_windows_of_one_feature_stay_on_one_side_of_the_split(images: Path) -> None:
    rows = [
        f"{name}/{n}.png,{name},{name} {n // 3}" for name in ("dark", "light") for n in range(10)
    ]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,feature", *rows]))
    for seed in range(5):
        train, val = split(load_index(manifest), 0.3, seed)
        assert not set(train.groups) & set(val.groups)
        assert val.counts().keys() == {"dark", "light"}
        assert min(val.counts().values()) >= 3


def test_a_class_of_one_feature_alone_is_held_out_like_the_others(images: Path) -> None:
    rows = [f"dark/{n}.png,dark,dark" for n in range(10)]
    rows += [f"light/{n}.png,light,light {n // 2}" for n in range(10)]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,feature", *rows]))
    for seed in range(5):
        train, val = split(load_index(manifest), 0.2, seed)
        assert val.counts() == {"dark": 2, "light": 2}
        assert train.counts() == {"dark": 8, "light": 8}


def test_a_large_feature_does_not_swallow_what_is_left_to_train_on(images: Path) -> None:
    sizes = {"dark": (7, 1, 1, 1), "light": (4, 3, 2, 1)}
    rows = []
    for name, counts in sizes.items():
        names = [f"{name} {place}" for place, count in enumerate(counts) for _ in range(count)]
        rows += [f"{name}/{number}.png,{name},{each}" for number, each in enumerate(names)]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,feature", *rows]))
    for seed in range(20):
        _, val = split(load_index(manifest), 0.2, seed)
        assert all(1 <= count <= 3 for count in val.counts().values())


def test_a_class_that_cannot_be_held_out_is_named(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{name}/{n}.png,{name},one scene" for name in ("dark", "light") for n in range(10)]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,feature", *rows]))
    split(load_index(manifest), 0.2, 0)
    assert "no image of dark can be held out" in caplog.text


def test_a_group_of_several_classes_is_on_one_side_of_the_split(images: Path) -> None:
    rows = [
        f"{name}/{n}.png,{name},scene {n // 2}" for name in ("dark", "light") for n in range(10)
    ]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,feature", *rows]))
    for seed in range(5):
        train, val = split(load_index(manifest), 0.4, seed)
        assert not set(train.groups) & set(val.groups)
        assert train.counts().keys() == val.counts().keys() == {"dark", "light"}


def test_no_class_is_without_a_group_to_train_on(images: Path) -> None:
    scenes = {"dark": "aaaaabbbbb", "light": "bbbbbccccc"}
    rows = [f"{name}/{n}.png,{name},{scenes[name][n]}" for name in scenes for n in range(10)]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,feature", *rows]))
    for seed in range(20):
        train, val = split(load_index(manifest), 0.5, seed)
        assert train.counts().keys() == {"dark", "light"}
        assert not set(train.groups) & set(val.groups)


def test_a_share_smaller_than_a_batch_is_no_empty_training(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = torch.utils.data.SubsetRandomSampler(range(6))
    monkeypatch.setattr(distributed, "sampler", lambda *_, **__: share)
    train, _ = create_train_val_dataloaders(images, batch_size=8, num_workers=0, image_size=64)
    assert [len(labels) for _, labels in train] == [6]


def test_one_fold_of_a_manifest_can_be_judged(images: Path) -> None:
    rows = [f"{name}/{n}.png,{name},{n % 2}" for name in ("dark", "light") for n in range(10)]
    manifest = images / "windows.csv"
    manifest.write_text("\n".join(["path,label,fold", *rows]))
    loader = create_evaluation_dataloader(manifest, num_workers=0, image_size=64, fold="1")
    assert sum(len(labels) for _, labels in loader) == 10
    with pytest.raises(DataError, match="no fold '7'"):
        create_evaluation_dataloader(manifest, fold="7")
    manifest.write_text("\n".join(["path,label,fold", *(f"{row[:-1]}3" for row in rows)]))
    assert len(create_evaluation_dataloader(manifest, fold="3").dataset) == 20
    with pytest.raises(DataError, match="no fold but '3', so there is none to train on"):
        create_manifest_dataloaders(manifest, "3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,klass\n", "no column 'label'"),
        ("path,label,fold\n,dark,0\n", "m.csv:2: a row needs path and label"),
        ("path,label\ndark/1.png,dark\n", "only the class 'dark'"),
        ("path,label\nnone.png,a\n", "no usable image"),
    ],
)
def test_a_manifest_with_errors_is_refused(images: Path, text: str, words: str) -> None:
    manifest = images / "m.csv"
    manifest.write_text(text)
    with pytest.raises(DataError, match=words.replace(".", r"\.")):
        load_index(manifest)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("dark/1.png,dark,0", "dark/1.png,light,0", "with the label 'dark' and the label 'light'"),
        ("dark/1.png,dark,0", "./light/../dark/1.png,dark,1", "the fold '0' and the fold '1'"),
        ("dark/1.png,dark,0", "link.png,dark,1", "the fold '0' and the fold '1'"),
    ],
    ids=["labels", "folds", "link"],
)
def test_an_image_has_one_label_and_one_fold(
    images: Path, first: str, second: str, words: str
) -> None:
    (images / "link.png").symlink_to(images / "dark" / "1.png")
    manifest = images / "m.csv"
    manifest.write_text("\n".join(["path,label,fold", first, "light/1.png,light,0", second]))
    with pytest.raises(DataError, match=rf"m\.csv:2 and .*m\.csv:4 are the same image, .*{words}"):
        load_index(manifest)
    manifest.write_text("\n".join(["path,label,fold", first, "light/1.png,light,0", first]))
    assert len(load_index(manifest).paths) == 3  # twice is no contradiction


def test_one_file_in_two_class_folders_is_refused(images: Path) -> None:
    (images / "light" / "more.png").symlink_to(images / "dark" / "1.png")
    with pytest.raises(DataError, match=r"dark/1\.png and .*light/more\.png are the same image"):
        load_index(images)


def test_what_cannot_be_used_is_said_with_the_way_out(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        get_image_paths(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in a class folder"):
        get_image_paths(tmp_path / "empty")
    with pytest.raises(DataError, match="has no column `fold`"):
        by_fold(load_index(images), "0")
    with pytest.raises(DataError, match="must be between 0 and 1"):
        create_train_val_dataloaders(images, val_split=1.5)
    with pytest.raises(DataError, match="multiple of 32"):
        create_train_val_dataloaders(images, image_size=100)
    with pytest.raises(DataError, match="the model knows left, right"):
        load_index(images, classes=("left", "right"))
