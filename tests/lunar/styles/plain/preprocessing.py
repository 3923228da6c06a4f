"""Загрузка снимков поверхности Луны и подготовка их к обучению классификатора."""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import gaussian_blur

# Поддерживаемые расширения файлов; регистр значения не имеет.
EXTENSIONS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
# Постоянное начальное число, чтобы файлы всегда делились одинаково.
SPLIT_SEED = 42
# Стандартное отклонение шума на шкале 0–1.
NOISE_SIGMA = 0.01


def get_image_paths(image_dir):
    """Вернуть отсортированный список путей вида <image_dir>/<класс>/<файл>."""
    return sorted(
        str(path)
        for path in Path(image_dir).glob("*/*")
        if path.is_file() and path.suffix.lower() in EXTENSIONS
    )


def load_image(path):
    """Прочитать снимок как тензор float32 (3, H, W) со значениями 0–1."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            # 16-битный серый снимок: один канал повторяется трижды.
            array = np.asarray(image).astype(np.float32) / 65535.0
            array = np.stack([array, array, array], axis=-1)
        else:
            array = np.asarray(image.convert("RGB")).astype(np.float32) / 255.0
    # (H, W, 3) → (3, H, W)
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    return tensor.clamp(0.0, 1.0)


def high_pass(image):
    """Вычесть из снимка его размытую копию: остаются края кратеров."""
    return image - gaussian_blur(image, 5)


class LunarDataset(Dataset):
    """Набор снимков: хранит только пути и метки, файлы открывает по одному."""

    def __init__(self, paths, labels, image_size=256, train=False):
        self.paths = list(paths)
        self.labels = list(labels)
        self.image_size = image_size
        self.train = train
        self.resize = transforms.Resize((image_size, image_size), antialias=True)
        # Случайные преобразования нужны только при обучении.
        self.augment = transforms.Compose(
            [
                transforms.RandomRotation(15),
                transforms.RandomHorizontalFlip(p=0.5),
                transforms.RandomVerticalFlip(p=0.5),
                transforms.ColorJitter(brightness=0.2, contrast=0.2),
            ]
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = self.resize(load_image(self.paths[index]))
        if self.train:
            image = self.augment(image)
        # Фильтр верхних частот подчёркивает кратеры.
        image = (image + high_pass(image)).clamp(0.0, 1.0)
        if self.train:
            # Гауссов шум добавляется последним.
            image = (image + NOISE_SIGMA * torch.randn_like(image)).clamp(0.0, 1.0)
        return image, int(self.labels[index])


def _make_loader(dataset, batch_size, num_workers, shuffle):
    """Создать DataLoader; параметры рабочих процессов нужны, только когда они есть."""
    options = {}
    if num_workers > 0:
        options["prefetch_factor"] = 2
        options["persistent_workers"] = True
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        **options,
    )


def create_train_val_dataloaders(
    image_dir, val_split=0.2, batch_size=8, num_workers=4, image_size=256
):
    """Вернуть загрузчики обучающих и проверочных снимков."""
    paths = get_image_paths(image_dir)
    if not paths:
        raise ValueError(f"В папке {image_dir} нет снимков вида <класс>/<файл>")
    # Номер класса — место имени папки в алфавитном порядке.
    classes = sorted(folder.name for folder in Path(image_dir).iterdir() if folder.is_dir())
    numbers = {name: number for number, name in enumerate(classes)}

    random.Random(SPLIT_SEED).shuffle(paths)
    labels = [numbers[Path(path).parent.name] for path in paths]
    val_count = int(len(paths) * val_split)

    val_set = LunarDataset(paths[:val_count], labels[:val_count], image_size, train=False)
    train_set = LunarDataset(paths[val_count:], labels[val_count:], image_size, train=True)
    train_loader = _make_loader(train_set, batch_size, num_workers, shuffle=True)
    val_loader = _make_loader(val_set, batch_size, num_workers, shuffle=False)
    return train_loader, val_loader
