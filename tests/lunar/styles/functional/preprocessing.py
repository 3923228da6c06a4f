"""Снимки Луны: чтение файлов, аугментация и загрузчики — на numpy, PIL и torch.nn.functional."""

import math
import os
import random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
MAX_ANGLE = 15.0  # градусов в обе стороны
JITTER = 0.2  # доля, на которую меняются яркость и контраст
NOISE = 0.01  # σ шума на шкале 0–1
BLUR_SIZE = 5
BLUR_SIGMA = 1.1  # σ, которую gaussian_blur берёт для ядра 5×5: 0.15 · 5 + 0.35


def class_names(image_dir):
    """Имена папок с классами по алфавиту; место в списке — номер класса."""
    with os.scandir(image_dir) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def get_image_paths(image_dir):
    """Отсортированный список файлов <image_dir>/<класс>/<файл>."""
    paths = []
    for name in class_names(image_dir):
        folder = os.path.join(image_dir, name)
        for file_name in os.listdir(folder):
            path = os.path.join(folder, file_name)
            if file_name.lower().endswith(SUFFIXES) and os.path.isfile(path):
                paths.append(path)
    return sorted(paths)


def load_image(path):
    """Файл → тензор float32 (3, H, W) в пределах 0–1."""
    with Image.open(path) as picture:
        deep = picture.mode.startswith("I")  # 16 бит на пиксель
        if not deep:
            picture = picture.convert("RGB")
        pixels = np.array(picture, dtype=np.float32)
    pixels /= 65535.0 if deep else 255.0
    pixels = np.clip(pixels, 0.0, 1.0)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def gaussian_kernel():
    """Одномерное ядро Гаусса с суммой 1."""
    offsets = torch.arange(BLUR_SIZE, dtype=torch.float32) - BLUR_SIZE // 2
    kernel = torch.exp(-0.5 * (offsets / BLUR_SIGMA) ** 2)
    return kernel / kernel.sum()


def blur(image):
    """Размытие свёрткой по строкам и столбцам; края отражаются."""
    height, width = image.shape[-2:]
    kernel = gaussian_kernel().to(image)
    half = BLUR_SIZE // 2
    planes = image.reshape(-1, 1, height, width)
    planes = F.pad(planes, (half, half, half, half), mode="reflect")
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1))
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1))
    return planes.reshape(image.shape)


def high_pass(image):
    """Мелкие детали: снимок без своей размытой копии."""
    return image - blur(image)


def resize(image, size):
    """Снимок (3, H, W) → (3, size, size)."""
    if tuple(image.shape[-2:]) == (size, size):
        return image
    resized = F.interpolate(
        image[None], size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].clamp(0.0, 1.0)


def rotate(image, degrees):
    """Повернуть квадратный снимок вокруг центра; за краем снимок отражается."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]])
    grid = F.affine_grid(matrix, [1, *image.shape], align_corners=False)
    turned = F.grid_sample(
        image[None], grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return turned[0]


def jitter(image):
    """Случайно изменить яркость, затем контраст относительно среднего."""
    brightness = random.uniform(1.0 - JITTER, 1.0 + JITTER)
    contrast = random.uniform(1.0 - JITTER, 1.0 + JITTER)
    image = (image * brightness).clamp(0.0, 1.0)
    middle = image.mean()
    return ((image - middle) * contrast + middle).clamp(0.0, 1.0)


def augment(image):
    """Поворот, отражения, яркость и контраст — только для обучения."""
    image = rotate(image, random.uniform(-MAX_ANGLE, MAX_ANGLE))
    if random.random() < 0.5:
        image = torch.flip(image, dims=[2])  # слева направо
    if random.random() < 0.5:
        image = torch.flip(image, dims=[1])  # сверху вниз
    return jitter(image)


def add_noise(image):
    """Добавить гауссов шум."""
    noise = np.random.normal(0.0, NOISE, size=tuple(image.shape)).astype(np.float32)
    return (image + torch.from_numpy(noise)).clamp(0.0, 1.0)


class LunarDataset(Dataset):
    """Пути и метки; файл открывается, когда до него доходит очередь."""

    def __init__(self, paths, labels, image_size=256, train=False):
        self.paths, self.labels = list(paths), list(labels)
        self.image_size, self.train = image_size, train

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = resize(load_image(self.paths[index]), self.image_size)
        if self.train:
            image = augment(image)
        image = torch.clamp(image + high_pass(image), 0.0, 1.0)
        if self.train:
            image = add_noise(image)
        return image, self.labels[index]


def create_train_val_dataloaders(
    image_dir, val_split=0.2, batch_size=8, num_workers=4, image_size=256
):
    """Разделить файлы (seed 42) и вернуть (train_loader, val_loader)."""
    paths = get_image_paths(image_dir)
    if not paths:
        raise ValueError(f"{image_dir}: нет ни одного снимка в папках классов")
    names = class_names(image_dir)
    labels = [names.index(os.path.basename(os.path.dirname(path))) for path in paths]

    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(42)).tolist()
    border = len(paths) - round(len(paths) * val_split)
    shared = {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        "prefetch_factor": 2 if num_workers > 0 else None,
        "persistent_workers": num_workers > 0,
    }
    loaders = []
    for part, train in ((order[:border], True), (order[border:], False)):
        dataset = LunarDataset(
            [paths[i] for i in part], [labels[i] for i in part], image_size, train
        )
        loaders.append(DataLoader(dataset, shuffle=train, **shared))
    return tuple(loaders)
