"""Wrong speed-ups of training.py: each changes what it should not, or does nothing."""

from tests.lunar.twins import Twin

MIXED_PRECISION = [
    Twin(
        "mixed_precision",
        "off on a CPU",
        "training.py",
        'torch.cuda.is_available() else "bf16"',
        'torch.cuda.is_available() else "off"',
    ),
    Twin(
        "mixed_precision",
        "never off",
        "training.py",
        'amp=mixed if use_amp else "off"',
        "amp=mixed",
    ),
    Twin(
        "mixed_precision",
        "float16 on a CPU",
        "training.py",
        'torch.cuda.is_available() else "bf16"',
        'torch.cuda.is_available() else "fp16"',
    ),
    Twin(
        "mixed_precision",
        "the weights are halved, too",
        "engine.py",
        "        self.scaler = torch.amp",
        "        if self.dtype.itemsize == 2:\n            self.bare.to(self.dtype)\n"
        "        self.scaler = torch.amp",
    ),
    Twin(
        "mixed_precision",
        "the loss is not scaled",
        "engine.py",
        "self.scaler.scale(loss).backward()",
        "loss.backward()",
    ),
]
LARGE_IMAGES = [
    Twin(
        "large_images",
        "the batch stays whole",
        "training.py",
        "accumulation_steps=accumulation_steps)",
        "accumulation_steps=1)",
    ),
    Twin(
        "large_images",
        "parts count the same, whatever their size",
        "engine.py",
        "(len(truth) / len(labels))",
        "(1 / self.options.accumulation_steps)",
    ),
    Twin(
        "large_images",
        "gradients of parts add up undivided",
        "engine.py",
        " * (len(truth) / len(labels))",
        "",
    ),
    Twin(
        "large_images",
        "only the last part counts",
        "engine.py",
        "            with self._autocast():\n                logits",
        "            self.optimizer.zero_grad()\n"
        "            with self._autocast():\n                logits",
    ),
]
TWINS = [*MIXED_PRECISION, *LARGE_IMAGES]
