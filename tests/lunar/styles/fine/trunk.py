"""The backbone, its first layers frozen."""

from torchvision.models import resnet50

FROZEN = ("conv1", "bn1", "layer1", "layer2")


def make_trunk(pretrained=False):
    """Make a ResNet-50 without its head."""
    trunk = resnet50(
        weights="DEFAULT" if pretrained else None,
        replace_stride_with_dilation=[False, False, True],
    )
    for name in FROZEN:
        for parameter in getattr(trunk, name).parameters():
            parameter.requires_grad = False
    del trunk.fc
    return trunk


def keep_frozen(trunk):
    """Keep statistics where they are."""
    for name in FROZEN:
        getattr(trunk, name).eval()


def features(trunk, x):
    """Return what layer2 and layer4 make of images."""
    x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(x))))
    second = trunk.layer2(trunk.layer1(x))
    return second, trunk.layer4(trunk.layer3(second))
