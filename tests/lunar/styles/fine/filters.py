"""High-pass filter."""

from torchvision.transforms.functional import gaussian_blur


def high_pass(image):
    """Take away what is smooth."""
    return image - gaussian_blur(image, kernel_size=[5, 5])


def sharpen(image):
    """Bring out edges."""
    return (image + high_pass(image)).clamp(0, 1)
