"""Where images lie, and which class each belongs to."""

import os

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def get_image_paths(image_dir):
    """List the images of all class folders."""
    found = []
    for name in os.listdir(image_dir):
        folder = os.path.join(image_dir, name)
        if os.path.isdir(folder):
            found += [os.path.join(folder, f) for f in os.listdir(folder) if f.lower().endswith(SUFFIXES)]
    return sorted(found)


def get_labels(paths):
    """Number the folders of the paths."""
    names = [os.path.basename(os.path.dirname(path)) for path in paths]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return [numbers[name] for name in names]
