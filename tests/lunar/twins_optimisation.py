"""Wrong twins of the step optimisation: how loaders are set up, and the program as a whole."""

from __future__ import annotations

from tests.lunar.twins import Twin

_CONFIG = 'save_config(vars(options), folder / "config.json")'

TWINS = [
    Twin("loader_speed", "workers start anew each epoch", "preprocessing.py",
         "persistent_workers=workers > 0,", "persistent_workers=False,"),
    Twin("loader_speed", "always pinned", "preprocessing.py",
         "pin_memory=torch.cuda.is_available(),", "pin_memory=True,"),
    Twin("loader_speed", "never pinned", "preprocessing.py",
         "pin_memory=torch.cuda.is_available(),", "pin_memory=False,"),
    Twin("loader_speed", "no workers", "preprocessing.py",
         "workers = min(workers, max(0, (os.cpu_count() or 1) - 1))", "workers = 0"),
    Twin("entry_point", "another gamma by default", "main.py",
         'add("--dropout", type=float, default=0.3)', 'add("--dropout", type=float, default=0.5)'),
    Twin("entry_point", "the config is not read", "main.py",
         "    return configured.parse_args(arguments)", "    return options"),
    Twin("entry_point", "no config.json", "main.py", _CONFIG, "pass"),
    Twin("entry_point", "numbers as strings in results.json", "main.py",
         'result["confusion"], classes), **_kept(result), **more}',
         'result["confusion"], classes),'
         ' **{k: str(v) for k, v in _kept(result).items()}, **more}'),
    Twin("entry_point", "config.json lacks a flag", "main.py", _CONFIG,
         _CONFIG.replace("vars(options)",
                         "{k: v for k, v in vars(options).items() if k != 'weight_decay'}")),
    Twin("entry_point", "a flag is missing", "main.py",
         'add("--seed", type=int, default=42)', 'add("--random_seed", type=int, dest="seed")'),
    Twin("entry_point", "no resume flag", "main.py",
         'add("--resume", action="store_true", help="go on from last.pth in --save_dir")',
         "argparse.Namespace.resume = False"),
    Twin("entry_point", "create_sample_data crashes", "samples.py",
         "counts = dict.fromkeys(TERRAINS, 0)", "counts = {}"),
    Twin("entry_point", "create_sample_data forgets a class", "samples.py",
         "name = list(TERRAINS)[number % len(TERRAINS)]",
         "name = list(TERRAINS)[number % (len(TERRAINS) - 1)]"),
]  # fmt: skip
