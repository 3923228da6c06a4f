"""Wrong trainers: each breaks one requirement of the step training, or of its speed-ups."""

from tests.lunar import twins_kept, twins_speed
from tests.lunar.twins import Twin

FOCAL = [
    Twin(
        "focal_loss",
        "gamma is always 2",
        "engine.py",
        "FocalLoss(gamma, weights)",
        "FocalLoss(2.0, weights)",
    ),
    Twin(
        "focal_loss",
        "gamma is 1.5 by default",
        "training.py",
        "gamma: float = 2.0,",
        "gamma: float = 1.5,",
    ),
    Twin(
        "focal_loss",
        "it is cross-entropy",
        "losses.py",
        "losses = focus * -log_true",
        "losses = -log_true",
    ),
    Twin(
        "focal_loss",
        "twice the mean",
        "losses.py",
        "return losses.mean()",
        "return 2 * losses.mean()",
    ),
    Twin(
        "focal_loss",
        "infinite for huge logits",
        "losses.py",
        "functional.log_softmax(logits.float(), dim=1)",
        "torch.softmax(logits.float(), dim=1).log()",
    ),
    Twin(
        "focal_loss",
        "the focus gives no gradient",
        "losses.py",
        "losses = focus *",
        "losses = focus.detach() *",
    ),
]
ADAMW = [
    Twin(
        "adamw",
        "Adam, whose decay is part of the gradient",
        "engine.py",
        "AdamW(parameters, lr=rate, weight_decay=decay, fused=True)",
        "torch.optim.Adam(parameters, lr=rate, weight_decay=decay)",
    ),
    Twin(
        "adamw",
        "weight decay left to PyTorch",
        "engine.py",
        "lr=rate, weight_decay=decay, fused",
        "lr=rate, fused",
    ),
    Twin(
        "adamw",
        "other betas",
        "engine.py",
        "weight_decay=decay, fused",
        "weight_decay=decay, betas=(0.5, 0.999), fused",
    ),
    Twin(
        "adamw",
        "lr 1e-3 by default",
        "training.py",
        "learning_rate: float = 1e-4",
        "learning_rate: float = 1e-3",
    ),
    Twin(
        "adamw",
        "decay 1e-2 by default",
        "training.py",
        "weight_decay: float = 1e-5",
        "weight_decay: float = 1e-2",
    ),
    Twin(
        "adamw",
        "it gets all parameters",
        "engine.py",
        "[each for each in model.parameters() if each.requires_grad]",
        "[*model.parameters()]",
    ),
    Twin(
        "adamw",
        "what was frozen is thawed",
        "engine.py",
        "[each for each in model.parameters() if each.requires_grad]",
        "[each.requires_grad_() for each in model.parameters()]",
    ),
]
COSINE = [
    Twin("cosine", "T_max is 12", "engine.py", "T_MAX = 10", "T_MAX = 12"),
    Twin(
        "cosine",
        "a step per batch",
        "engine.py",
        "self.scaler.update()",
        "self.scaler.update(); self.scheduler.step()",
    ),
    Twin("cosine", "never stepped", "training.py", "        engine.scheduler.step()\n", ""),
    Twin(
        "cosine",
        "starts anew after ten epochs",
        "engine.py",
        "CosineAnnealingLR(optimizer, T_max=T_MAX)",
        "CosineAnnealingWarmRestarts(optimizer, T_0=T_MAX)",
    ),
    Twin("cosine", "never below 1e-6", "engine.py", "T_max=T_MAX)", "T_max=T_MAX, eta_min=1e-6)"),
    Twin("cosine", "over all epochs", "engine.py", "T_max=T_MAX)", "T_max=epochs)"),
]
METRICS = [
    Twin(
        "metrics",
        "precision weighted by frequency",
        "metrics.py",
        "float(precision.mean())",
        "float((precision * true).sum() / true.sum())",
    ),
    Twin(
        "metrics",
        "recall of the classes that are there",
        "metrics.py",
        "float(recall.mean())",
        "float(recall[true > 0].mean())",
    ),
    Twin(
        "metrics",
        "F1 of the means",
        "metrics.py",
        "float(f1.mean())",
        "float(_share(2 * precision.mean() * recall.mean(), precision.mean() + recall.mean()))",
    ),
    Twin(
        "metrics",
        "micro F1",
        "metrics.py",
        "float(f1.mean())",
        "float(_share(hits.sum(), counts.sum()))",
    ),
    Twin(
        "metrics",
        "precision and recall swapped",
        "metrics.py",
        "labels * classes + predicted",
        "predicted * classes + labels",
    ),
    Twin(
        "metrics",
        "of the last batch",
        "engine.py",
        "confusion += confusion_matrix(",
        "confusion = confusion_matrix(",
    ),
    Twin(
        "metrics",
        "balanced accuracy",
        "metrics.py",
        "float(_share(hits.sum(), counts.sum()))",
        "float(recall.mean())",
    ),
    Twin("metrics", "validation with dropout", "engine.py", "    model.eval()\n", ""),
    Twin("metrics", "training without dropout", "engine.py", "self.model.train()", "pass"),
]
TWINS = [*FOCAL, *ADAMW, *COSINE, *METRICS, *twins_kept.TWINS, *twins_speed.TWINS]
