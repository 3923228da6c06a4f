"""Random changes of training images."""

import torch
from torchvision import transforms

AUGMENT = transforms.Compose([
    transforms.RandomRotation(15),
    transforms.RandomHorizontalFlip(0.5),
    transforms.RandomVerticalFlip(0.5),
    transforms.ColorJitter(brightness=0.2, contrast=0.2),
])


def augment(image):
    """Turn, mirror and light an image at random."""
    return AUGMENT(image)


def add_noise(image):
    """Add Gaussian noise."""
    return (image + 0.01 * torch.randn_like(image)).clamp(0, 1)
