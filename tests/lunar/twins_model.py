"""Wrong twins of the model: each breaks one requirement of the step model."""

from tests.lunar.twins import Twin


def _twin(requirement: str, what: str, old: str, new: str, *, file: str = "model.py") -> Twin:
    return Twin(requirement=requirement, what=what, file=file, old=old, new=new)


_BACKBONE = "backbone.py"
_BLOCK = "tokens = block(tokens)\n"

TWINS = [
    _twin(
        "backbone",
        "pretrained weights are never loaded",
        "ResNet50_Weights.IMAGENET1K_V2 if pretrained else None",
        "None",
        file=_BACKBONE,
    ),
    _twin(
        "backbone",
        "layer4 is that of another network",
        "self.layer3, self.layer4 = net.layer3, net.layer4",
        "self.layer3, self.layer4 = net.layer3, nn.Conv2d(1024, 2048, 1)",
        file=_BACKBONE,
    ),
    _twin(
        "frozen",
        "layer2 is trained",
        "FROZEN_STAGES = 3\n",
        "FROZEN_STAGES = 2\n",
        file=_BACKBONE,
    ),
    _twin(
        "frozen",
        "layer3 is frozen, too",
        "FROZEN_STAGES = 3\n",
        "FROZEN_STAGES = 4\n",
        file=_BACKBONE,
    ),
    _twin(
        "frozen",
        "running statistics move in train mode",
        "            stage.eval()\n",
        "            stage.train(mode)\n",
        file=_BACKBONE,
    ),
    _twin(
        "frozen",
        "parameters still ask for a gradient",
        "stage.requires_grad_(False)",
        "stage.requires_grad_(True)",
        file=_BACKBONE,
    ),
    _twin("transformer", "three blocks", "BLOCKS = 4\n", "BLOCKS = 3\n"),
    _twin("transformer", "width 256", "DIM = 512\n", "DIM = 256\n"),
    _twin(
        "transformer",
        "one block four times",
        "for block in self.blocks:",
        "for block in [self.blocks[0]] * len(self.blocks):",
    ),
    _twin(
        "transformer",
        "attends over the batch instead of the positions",
        "batch_first=True",
        "batch_first=False",
    ),
    _twin(
        "transformer",
        "blocks that are attention alone",
        _BLOCK,
        "tokens = block.self_attn(tokens, tokens, tokens)[0]\n",
    ),
    _twin(
        "transformer",
        "blocks without an MLP",
        _BLOCK,
        "tokens = tokens + block._sa_block(block.norm1(tokens), None, None)\n",
    ),
    _twin(
        "transformer",
        "blocks that do not add what went in",
        _BLOCK,
        "tokens = block._ff_block(block.norm2(block._sa_block(block.norm1(tokens), None, None)))\n",
    ),
    _twin("aspp", "dilation 12 became 2", "(6, 12, 18)", "(6, 2, 18)"),
    _twin("aspp", "no dilation 18", "(6, 12, 18)", "(6, 12)"),
    _twin(
        "aspp",
        "what dilation 18 hears counts in training only",
        "*(look(features) for look in self.dilated)",
        "*(look(features) * (n < 2 or self.training) for n, look in enumerate(self.dilated))",
    ),
    _twin(
        "aspp",
        "each branch sees another map",
        "*(look(features) for look in self.dilated)",
        "*(look(features + n) for n, look in enumerate(self.dilated))",
    ),
    _twin(
        "skip_attention",
        "skips are added as they are",
        "AttentionGate(DIM) if gated else None",
        "None",
    ),
    _twin(
        "skip_attention",
        "the mask may turn the sign",
        "torch.sigmoid(self.mask(agreed))",
        "torch.tanh(self.mask(agreed))",
    ),
    _twin(
        "skip_attention",
        "the mask masks the sum",
        "            earlier = self.gate(earlier, deeper)\n",
        "            agreed = self.gate.of_skip(earlier) + self.gate.of_deeper(deeper)\n"
        "            mask = torch.sigmoid(self.gate.mask(agreed) / 100)  # near a half\n"
        "            return self.fuse(mask * (earlier + deeper))\n",
    ),
    _twin(
        "skip_attention",
        "the mask is the same for each image",
        "torch.sigmoid(self.mask(agreed))",
        "torch.sigmoid(self.mask.weight.view(1, -1, 1, 1).mean())",
    ),
    _twin(
        "he_init",
        "uniform instead of normal",
        "nn.init.kaiming_normal_(part.weight,",
        "nn.init.kaiming_uniform_(part.weight,",
    ),
    _twin(
        "he_init",
        "torch's own initialisation of linear layers",
        "isinstance(part, nn.Conv2d | nn.Linear)",
        "isinstance(part, nn.Conv2d)",
    ),
    _twin(
        "he_init",
        "pretrained layers are drawn anew",
        "for new in (self.aspp, self.transformer, self.join3, self.join2, self.head):",
        "for new in (self,):",
    ),
    _twin(
        "dropout",
        "one half before the head, whatever is asked",
        "self.head = nn.Sequential(nn.Dropout(dropout_prob), nn.Linear(DIM *",
        "self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(DIM *",
    ),
    _twin(
        "dropout",
        "also in eval mode",
        "return self.head(self.places(joined))",
        "return self.head(functional.dropout(self.places(joined), 0.3))",
    ),
    _twin(
        "dropout",
        "none in the blocks",
        "DIM, HEADS, 4 * DIM, dropout, activation",
        "DIM, HEADS, 4 * DIM, 0.0, activation",
    ),
    _twin(
        "batchnorm",
        "nothing to learn",
        "nn.BatchNorm2d(outputs)",
        "nn.BatchNorm2d(outputs, affine=False)",
    ),
    _twin(
        "batchnorm",
        "statistics that never move",
        "nn.BatchNorm2d(outputs)",
        "nn.BatchNorm2d(outputs, momentum=0.0)",
    ),
    _twin(
        "batchnorm",
        "group norm instead",
        "nn.BatchNorm2d(outputs)",
        "nn.GroupNorm(8, outputs)",
    ),
    _twin(
        "gpu_ready",
        "positions stay on the CPU",
        "positions(height, width, DIM).to(tokens)",
        "positions(height, width, DIM)",
    ),
    _twin(
        "gpu_ready",
        "positions for 256 px only",
        "positions(height, width, DIM).to(tokens)",
        "positions(16, 16, DIM).to(tokens)",
    ),
    _twin(
        "gpu_ready",
        "asks for CUDA",
        "half, quarter, deep = self.backbone(images)",
        "half, quarter, deep = self.backbone(images.cuda())",
    ),
    _twin(
        "gpu_ready",
        "always five classes",
        "nn.Linear(DIM * PLACES**2, num_classes)",
        "nn.Linear(DIM * PLACES**2, 5)",
    ),
]
"""They must turn red in their own requirement, and in no other."""
