"""A comparison as a picture: what each arm meets for its tokens, and which requirements."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from promptqueue.compare.statistics import LEVEL, coverage
from promptqueue.compare.summary import Comparison
from promptqueue.errors import UsageError, writing
from promptqueue.extras import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCH = 0.28
_COLUMN_INCH = 1.1
_NARROW_INCH = 0.5
_FEW = 10
"""Arms that have a colour of their own; more of them go by number."""
_ROOM = 1.05
"""To the right of the dearest sample, whose point would else be cut in half."""
_DARK = 0.6
"""From this share on, black on blue is hard to read."""


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture; its suffix says in which format.

    Raises:
        UsageError: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(f"matplotlib is not installed: {install_command('compare')}") from error
    rows, columns = len(comparison.requirements), len(comparison.arms)
    height = max(4.5, 1.6 + _ROW_INCH * rows)
    table = 2.2 + columns * (_COLUMN_INCH if columns <= _FEW else _NARROW_INCH)
    figure = Figure(figsize=(6 + table, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[6, table])
    _draw_cost(left, comparison)
    _draw_requirements(right, comparison)
    with writing(path):
        figure.savefig(path, dpi=120)


def _draw_cost(axes: Axes, comparison: Comparison) -> None:
    """Draw the share that each arm meets over the tokens that it takes, with every sample."""
    few = len(comparison.arms) <= _FEW
    for number, arm in enumerate(comparison.arms):
        colour = f"C{number % _FEW}"
        axes.scatter(
            [sample.spending.tokens for sample in arm.samples],
            [100 * sample.rate for sample in arm.samples],
            s=18, alpha=0.4, color=colour, linewidths=0,
        )  # fmt: skip
        met = arm.met
        around = None
        if not math.isnan(met.low):
            around = [[100 * (met.value - met.low)], [100 * (met.high - met.value)]]
        axes.errorbar(
            [arm.tokens], [100 * met.value], yerr=around,
            fmt="o", ms=9, capsize=5, color=colour, label=f"{arm.arm} (n = {len(arm.samples)})",
        )  # fmt: skip
        if not few:
            axes.annotate(
                str(number + 1), (arm.tokens, 100 * met.value),
                xytext=(5, 4), textcoords="offset points", fontsize=7,
            )  # fmt: skip
    axes.set_title(
        f"What the code of each way to ask meets\n{comparison.queue}: "
        f"{len(comparison.requirements)} requirements\nanswered by {', '.join(comparison.models)}"
    )
    axes.set_xlabel(
        f"tokens of one sample, in and out\nlarge: mean{_bars(comparison)}; small: samples"
    )
    axes.set_ylabel("requirements met, %")
    tokens = (sample.spending.tokens for arm in comparison.arms for sample in arm.samples)
    axes.set_xlim(0, _ROOM * max(1, *tokens))  # where every prompt was refused, there are none
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(-3, 103)
    axes.grid(alpha=0.25)
    if few:
        axes.legend(loc="best")


def _bars(comparison: Comparison) -> str:
    """Say what the bars are, where there are any."""
    counts = [len(arm.samples) for arm in comparison.arms if not math.isnan(arm.met.low)]
    if not counts:
        return ""
    held = coverage(min(counts))
    often = f"{'about' if held >= LEVEL else 'at most'} {held:.0%}"
    return f"; bar: bootstrap interval,\nwhich holds the true mean {often} of the time"


def _draw_requirements(axes: Axes, comparison: Comparison) -> None:
    """Draw which requirement each arm meets how often."""
    shares = [[arm.by_requirement[name] for arm in comparison.arms]
              for name in comparison.requirements]  # fmt: skip
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_title("Samples that meet it, %")
    names = [arm.arm for arm in comparison.arms]
    if len(names) > _FEW:
        names = [f"{number} {name}" for number, name in enumerate(names, 1)]
    slope = 30 if len(names) <= _FEW else 60
    axes.set_xticks(range(len(names)), names, rotation=slope, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(comparison.requirements)), comparison.requirements)
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8,
                color="white" if share > _DARK else "black",
            )  # fmt: skip
