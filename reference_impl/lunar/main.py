"""Train and judge the lunar classifier from the command line.

`python -m reference_impl.lunar.main --create_sample_data --epochs 3` needs nothing else.
Under `torchrun` the same command trains with several processes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import urllib.error
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import DataLoader

from reference_impl.lunar import distributed
from reference_impl.lunar.averaging import Mirrored
from reference_impl.lunar.backbone import FROZEN_STAGES
from reference_impl.lunar.checkpoints import CheckpointError, load_model, load_state, load_trunk
from reference_impl.lunar.index import DataError
from reference_impl.lunar.metrics import scores_of
from reference_impl.lunar.mistakes import plot_mistakes
from reference_impl.lunar.model import create_model
from reference_impl.lunar.plots import plot_confusion
from reference_impl.lunar.preprocessing import (
    create_evaluation_dataloader,
    create_manifest_dataloaders,
    create_train_val_dataloaders,
    files_of,
)
from reference_impl.lunar.progress import Progressing
from reference_impl.lunar.training import Options, evaluate, train_model
from reference_impl.lunar.utils import (
    create_sample_data,
    load_config,
    print_system_info,
    save_config,
    set_seed,
)

_KEPT = (
    *("model_type", "num_classes", "frozen_stages", "output_stride", "no_gates", "no_transformer"),
    *("no_high_pass", "image_size", "mirror_views", "dropout", "cache", "batch_views"),
)
"""Settings of model and images: a checkpoint is judged with them, unless the command line says
otherwise, and a training goes on with no others."""


def parser() -> argparse.ArgumentParser:
    """Return the command line: the article's flags with its values, then our own."""
    result = argparse.ArgumentParser(
        prog="python -m reference_impl.lunar.main", description=__doc__
    )
    add = result.add_argument
    add("--data_dir", default="lunar_images", help="a folder of images per class")
    add("--save_dir", default="checkpoints")
    add("--model_type", choices=("hybrid", "simple"), default="hybrid")
    add("--num_classes", type=int, default=5)
    add("--dropout", type=float, default=0.3)
    add("--pretrained", action="store_true", help="ImageNet weights for the backbone (download)")
    add("--epochs", type=int, default=50)
    add("--batch_size", type=int, default=8, help="of each process")
    add("--lr", type=float, default=1e-4)
    add("--weight_decay", type=float, default=1e-5)
    add("--gamma", type=float, default=2.0, help="of the focal loss; 0 is cross-entropy")
    add("--patience", type=int, default=7)
    add("--val_split", type=float, default=0.2)
    add("--num_workers", type=int, default=4)
    add("--create_sample_data", action="store_true", help="make images in --data_dir first")
    add("--seed", type=int, default=42)
    add("--resume", action="store_true", help="go on from last.pth in --save_dir")
    add("--config", help="a config.json; flags that are given win over it")
    own = result.add_argument_group("beyond the article")
    add = own.add_argument
    add("--num_samples", type=int, default=200, help="images that --create_sample_data makes")
    add("--image_size", type=int, default=256)
    add("--manifest", help="CSV or JSONL with path, label and fold, instead of --data_dir")
    add("--test_fold", help="with --manifest: the fold to judge on; the others train")
    add(
        "--evaluate",
        metavar="CHECKPOINT",
        help="judge a checkpoint, train nothing; without --save_dir the results of a training that "
        "lies there stay, and those of the checkpoint go to the folder `evaluation` in it",
    )
    add("--frozen_stages", type=int, default=FROZEN_STAGES, help="but for 3, not the contract")
    add("--trunk", metavar="CHECKPOINT", help="take the backbone of this checkpoint")
    add("--output_stride", type=int, choices=(16, 32), default=16)
    add("--no_gates", action="store_true", help="plain skip connections")
    add("--no_transformer", action="store_true")
    add("--no_high_pass", action="store_true", help="the plain image in all three channels")
    add("--schedule", choices=("cosine10", "cosine", "warm_restarts", "constant"))
    add("--amp", choices=("auto", "off", "bf16", "fp16"))
    add("--accumulation_steps", type=int, default=1, help="parts that a batch is computed in")
    add("--checkpointing", action="store_true", help="recompute transformer blocks")
    add("--class_weights", action="store_true")
    add("--average", type=float, default=0.0, help="keep a running mean of the weights; a decay")
    add("--mirror_views", action="store_true", help="judge by the mean over four mirrored views")
    add("--compile", action="store_true")
    add("--cache", action="store_true", help="decode each file once")
    add("--batch_views", action="store_true", help="augment in batches on the model's device")
    result.set_defaults(schedule="cosine10", amp="auto")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what a user can put right ends with exit code 2 and one line."""
    options = parse_flags(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        with distributed.joined():
            set_seed(options.seed)
            _evaluate(options) if options.evaluate else _train(options)
    except (DataError, CheckpointError, ValueError) as error:
        _fail(str(error))
    except urllib.error.URLError as error:
        _fail(
            f"the weights of --pretrained cannot be fetched: {error.reason}; go online, or do "
            "without, or take a backbone that is here with --trunk CHECKPOINT"
        )
    except OSError as error:
        _fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
    except KeyboardInterrupt:
        _fail(f"stopped; --resume goes on from {options.save_dir}", code=130)


def parse_flags(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return all settings: those of the flags, of --config, of the checkpoint that is judged."""
    options, config = parser().parse_args(arguments), dict[str, Any]()
    try:
        if options.evaluate:
            config |= load_state(options.evaluate).get("settings", {})
        if options.config:
            config |= load_config(options.config)
    except ValueError as error:
        _fail(str(error))
    unknown = sorted(set(config) - set(vars(options)))
    if unknown:
        _fail(f"{options.config or options.evaluate} has the unknown setting {unknown[0]!r}")
    configured = parser()
    configured.set_defaults(**_checked(config, options.config or options.evaluate))
    folder = Path(configured.get_default("save_dir"))
    if options.evaluate and (folder / "last.pth").exists():  # a training's own results stay
        configured.set_defaults(save_dir=str(folder / "evaluation"))
    return configured.parse_args(arguments)


def _checked(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a configuration whose values are such as the flags would take."""
    values = {n: v for n, v in config.items() if v is not None and v is not False}
    flags = [f"--{n}" if v is True else f"--{n}={v}" for n, v in values.items() if n != "config"]
    strict = parser()
    strict.exit_on_error = False
    try:
        found = vars(strict.parse_args(flags))
    except argparse.ArgumentError as error:
        _fail(f"{source}: {error}")
    return {name: found[name] for name in values}


def _train(options: argparse.Namespace) -> None:
    main_process, folder = distributed.is_main(), Path(options.save_dir)
    if options.create_sample_data and distributed.is_first_here():  # the same on each machine
        made = create_sample_data(options.data_dir, options.num_samples, seed=options.seed)
        print(f"made {sum(made.values())} sample images in {options.data_dir}")  # noqa: T201
    distributed.barrier()
    train_loader, val_loader, *test_loaders = loaders_of(options)
    model = _model(options, len(train_loader.dataset.classes))  # type: ignore[attr-defined]
    if main_process:
        print_system_info()
    began, shown = time.monotonic(), Progressing(options.epochs)
    result = train_model(
        model,
        train_loader,
        val_loader,
        options.epochs,
        learning_rate=options.lr,
        weight_decay=options.weight_decay,
        gamma=options.gamma,
        patience=options.patience,
        save_dir=folder,
        options=Options(
            schedule=options.schedule,
            amp=options.amp,
            accumulation_steps=options.accumulation_steps,
            class_weights=options.class_weights,
            compile=options.compile,
            resume=options.resume,
            seed=options.seed,
            average=options.average,
            settings={name: getattr(options, name) for name in _KEPT},
        ),
        report=shown,
        watch=shown.batches if main_process else None,
        ready=lambda: _keep_config(options),
    )
    classes = train_loader.dataset.classes  # type: ignore[attr-defined]
    model = Mirrored(model) if options.mirror_views else model
    judged = [_judged(model, loader, len(classes), options.gamma) for loader in test_loaders]
    plot_mistakes(model, [val_loader, *test_loaders][-1], classes, folder / "mistakes.png")
    if not main_process:
        return
    more: dict[str, Any] = {"session_time": time.monotonic() - began}
    more["files"] = files_of(train_loader, val_loader, *test_loaders)
    if judged:
        more["test"] = _described(judged[0], classes)
        print(f"macro-F1 {more['test']['f1']:.4f} on the fold {options.test_fold}")  # noqa: T201
    save_config(
        {**_described(result["confusion"], classes), **_kept(result), **more},
        folder / "results.json",
    )
    print(  # noqa: T201
        f"best macro-F1 {result['best_f1']:.4f} in epoch {result['best_epoch']}, "
        f"{result['total_time']:.0f} s; everything is in {folder}"
    )


def _keep_config(options: argparse.Namespace) -> None:
    """Write what is trained with: no sooner, or a refused resume would change what is told."""
    folder = Path(options.save_dir)
    if distributed.is_main():
        save_config(vars(options), folder / "config.json")


def _evaluate(options: argparse.Namespace) -> None:
    state = load_state(options.evaluate)
    classes = state.get("classes") or None
    source = options.manifest or options.data_dir
    loader = create_evaluation_dataloader(
        source,
        options.batch_size,
        options.num_workers,
        options.image_size,
        classes=classes,
        fold=options.test_fold,
    )
    names = loader.dataset.classes  # type: ignore[attr-defined]
    model = load_model(_model(options, len(names)), options.evaluate)
    model = Mirrored(model) if options.mirror_views else model
    began = time.monotonic()
    confusion = _judged(model, loader, len(names), options.gamma)
    if not distributed.is_main():
        return
    folder = Path(options.save_dir)
    result = _described(confusion, names)
    result |= {"best_f1": result["f1"], "total_time": time.monotonic() - began}
    save_config({**result, "checkpoint": str(options.evaluate)}, folder / "results.json")
    plot_confusion(torch.tensor(confusion), names, folder / "confusion.png")
    print(f"macro-F1 {result['f1']:.4f} on {result['images']} images; {folder}/results.json")  # noqa: T201


def _judged(
    model: nn.Module, loader: DataLoader[Any], classes: int, gamma: float
) -> list[list[int]]:
    """Return the confusion matrix of a model over a loader."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: list[list[int]] = evaluate(model.to(device), loader, device, classes, gamma)[1].tolist()
    return found


def _described(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> dict[str, Any]:
    """Return what results.json says of a confusion matrix."""
    scores = scores_of(torch.tensor(confusion))
    names = ("precision", "recall", "f1")
    return {
        "accuracy": scores.accuracy,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "images": sum(map(sum, confusion)),
        "classes": list(classes),
        "per_class": {
            name: dict(zip(names, figures, strict=True))
            for name, figures in zip(classes, scores.per_class, strict=True)
        },
        "confusion": confusion,
    }


def _kept(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("best_f1", "best_epoch", "total_time")}


def loaders_of(options: argparse.Namespace) -> list[DataLoader[Any]]:
    """Return the loaders for training, for validation, and, with folds, of the test fold."""
    sizes = (options.batch_size, options.num_workers, options.image_size)
    extra = {"seed": options.seed, "cache": options.cache, "gray": options.batch_views}
    if not options.manifest:
        if options.test_fold is not None:
            raise DataError(
                "--test_fold needs --manifest, the file that says what is in which fold"
            )
        return [*create_train_val_dataloaders(options.data_dir, options.val_split, *sizes, **extra)]
    if options.test_fold is None:
        raise DataError("--manifest needs --test_fold, the fold to judge on")
    extra["val_split"] = options.val_split
    return [*create_manifest_dataloaders(options.manifest, options.test_fold, *sizes, **extra)]


def _model(options: argparse.Namespace, classes: int) -> nn.Module:
    if classes != options.num_classes:
        raise DataError(
            f"the data has {classes} classes, --num_classes is {options.num_classes}; "
            f"give --num_classes {classes}"
        )
    model = create_model(
        options.model_type,
        classes,
        options.dropout,
        options.pretrained,
        frozen_stages=options.frozen_stages,
        output_stride=options.output_stride,
        use_gates=not options.no_gates,
        use_transformer=not options.no_transformer,
        use_high_pass=not options.no_high_pass,
    )
    if options.trunk:
        load_trunk(model, options.trunk)
    if options.checkpointing and hasattr(model, "transformer"):
        model.transformer.saves_memory = True  # type: ignore[union-attr]
    return model


def _fail(message: str, code: int = 2) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
