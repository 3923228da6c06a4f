"""Wrong twins of the step preprocessing."""

from __future__ import annotations

from tests.lunar.twins import Twin

_ANGLE = "MAX_ANGLE = 15.0"
_MIRROR = "mirror = np.where(random.random(2) < 0.5, -1.0, 1.0)"
_JITTER = "brightness, contrast = random.uniform(1 - JITTER, 1 + JITTER, 2)"
_NOISE = "return np.float32(NOISE) * np.random.default_rng(0).standard_normal(length, np.float32)"
_SPLIT = "train, validation = split(load_index(image_dir), val_split, seed)"

TWINS = [
    Twin("rotation", "up to 30 degrees", "images.py", _ANGLE, "MAX_ANGLE = 30.0"),
    Twin("rotation", "no more than 5 degrees", "images.py", _ANGLE, "MAX_ANGLE = 5.0"),
    Twin(
        "rotation", "to one side only", "images.py",
        "angle = random.uniform(-MAX_ANGLE, MAX_ANGLE)", "angle = random.uniform(0, MAX_ANGLE)",
    ),
    Twin(
        "mirroring", "left to right only", "images.py",
        _MIRROR, _MIRROR.replace("random.random(2) < 0.5", "[random.random() < 0.5, False]"),
    ),
    Twin("mirroring", "both ways at once", "images.py", _MIRROR,
         _MIRROR.replace("random.random(2)", "random.random()") + " * np.ones(2)"),
    Twin("mirroring", "one time in ten", "images.py", _MIRROR, _MIRROR.replace("0.5", "0.1")),
    Twin("brightness_contrast", "by 50 per cent", "images.py", "JITTER = 0.2", "JITTER = 0.5"),
    Twin("brightness_contrast", "contrast left alone", "images.py", _JITTER,
         _JITTER + "\n    contrast = 1.0"),
    Twin("brightness_contrast", "brightness left alone", "images.py", _JITTER,
         _JITTER + "\n    brightness = 1.0"),
    Twin("noise", "sigma 0.05", "images.py", "NOISE = 0.01", "NOISE = 0.05"),
    Twin("noise", "none", "images.py", "NOISE = 0.01", "NOISE = 0.0"),
    Twin("noise", "uniform", "images.py", _NOISE,
         "return np.float32(NOISE) * np.random.default_rng(0).uniform(-3**0.5, 3**0.5, length)"
         ".astype(np.float32)"),
    Twin("noise", "the same in every image", "images.py",
         "start = int(random.integers(len(bank) - size * size))", "start = 0"),
    Twin("eval_is_plain", "validation images are augmented", "preprocessing.py",
         "        if self.training:\n            random", "        if True:\n            random"),
    Twin("eval_is_plain", "validation images are mirrored", "preprocessing.py",
         "            image = resize(image, self.image_size)",
         "            image = np.ascontiguousarray(resize(image, self.image_size)[:, ::-1])"),
    Twin("normalization", "16 bits are divided by too much", "images.py",
         "scale = np.float32(1 / np.iinfo(pixels.dtype).max)",
         "scale = np.float32(1 / (255 if pixels.dtype == np.uint8 else 2**17))"),
    Twin("normalization", "from -1 to 1", "preprocessing.py",
         "return torch.from_numpy(to_channels(image)), self.labels[number]",
         "return torch.from_numpy(to_channels(image)) * 2 - 1, self.labels[number]"),
    Twin("normalization", "bytes", "preprocessing.py",
         "    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)",
         "    return (torch.stack(images) * 255).byte(), torch.tensor(labels, dtype=torch.int64)",
         stops=("entry_point",)),
    Twin("high_pass", "a low-pass filter", "images.py",
         "return np.asarray(cv2.subtract(image, _slow(image, sigma)), np.float32)",
         "return np.asarray(_slow(image, sigma), np.float32)"),
    Twin("high_pass", "squared", "images.py",
         "return np.asarray(cv2.subtract(image, _slow(image, sigma)), np.float32)",
         "return np.asarray(cv2.subtract(image, _slow(image, sigma)) ** 2, np.float32)"),
    Twin("high_pass", "not used by the loader", "images.py",
         "        cv2.addWeighted(image, GAIN, slow, -GAIN, 0.5, dst=view)",
         "        view[:] = image + 0 * slow"),
    Twin("multi_scale", "always 256", "preprocessing.py",
         "        self.image_size = image_size", "        self.image_size = 256"),
    Twin("dataloader", "a third for validation", "preprocessing.py", _SPLIT,
         "train, validation = split(load_index(image_dir), val_split * 1.7, seed)"),
    Twin("dataloader", "validation images also train", "preprocessing.py", _SPLIT,
         _SPLIT + "\n    train = load_index(image_dir)"),
    Twin("dataloader", "another split each time", "preprocessing.py", _SPLIT,
         _SPLIT.replace("seed)", "int(torch.randint(10**6, ()))) ")),
    Twin("dataloader", "one channel", "preprocessing.py",
         "    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)",
         "    batch = torch.stack(images)  # the picture, with its high-pass view laid over it\n"
         "    view = torch.nn.functional.avg_pool2d(batch[:, 1:2] - 0.5, 5, 1, 2)\n"
         "    batch = (batch[:, :1] + 0.3 * view).clamp(0, 1)\n"
         "    return batch, torch.tensor(labels, dtype=torch.int64)",
         stops=("entry_point",)),
    Twin("dataloader", "labels as floats", "preprocessing.py",
         "    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)",
         "    return torch.stack(images), torch.tensor(labels, dtype=torch.float32)",
         stops=("entry_point",)),
    Twin("dataloader", "images as a list", "preprocessing.py",
         "    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)",
         "    return list(images), torch.tensor(labels, dtype=torch.int64)",
         stops=("entry_point",)),
    Twin("formats", "no webp", "index.py", '".webp"', '".web"'),
    Twin("formats", "small letters only", "index.py",
         "path.suffix.lower() in SUFFIXES", "path.suffix in SUFFIXES"),
    Twin("batch_memory", "all files are read at once", "preprocessing.py",
         "        self._decoded: dict[int, NDArray[np.uint8]] | None = {} if cache else None",
         "        self._decoded = None\n"
         "        ready = {n: self._open(n) for n in range(len(self.paths))}\n"
         "        self._open = ready.__getitem__"),
    Twin("batch_memory", "every file is kept", "preprocessing.py",
         "        self._decoded: dict[int, NDArray[np.uint8]] | None = {} if cache else None",
         "        self._decoded: dict[int, NDArray[np.uint8]] | None = {}"),
    Twin("comments", "in another language", "preprocessing.py", "log = logging", "log = logging",
         language="ru"),
]  # fmt: skip
