"""The dataset of lunar images."""

import torch
from augment import add_noise, augment
from filters import sharpen
from images import load_image
from torchvision.transforms.functional import resize


class LunarDataset(torch.utils.data.Dataset):
    """Opens an image when it is asked for."""

    def __init__(self, paths, labels, image_size=256, train=False):
        self.paths, self.labels = paths, labels
        self.image_size, self.train = image_size, train

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = load_image(self.paths[index])
        image = resize(image, [self.image_size, self.image_size], antialias=True)
        if self.train:
            image = augment(image)
        image = sharpen(image)
        if self.train:
            image = add_noise(image)
        return image, int(self.labels[index])
