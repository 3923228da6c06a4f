"""A comparison as a picture: what each arm meets for its tokens, and which requirements."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from promptqueue.compare.summary import Comparison
from promptqueue.errors import StorageError, UsageError
from promptqueue.extras import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCH = 0.28
_COLUMN_INCH = 1.1
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
    figure = Figure(figsize=(6 + 2.2 + _COLUMN_INCH * columns, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[6, 2.2 + _COLUMN_INCH * columns])
    _draw_cost(left, comparison)
    _draw_requirements(right, comparison)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def _draw_cost(axes: Axes, comparison: Comparison) -> None:
    """Draw the share that each arm meets over the tokens that it takes, with every sample."""
    for number, arm in enumerate(comparison.arms):
        colour = f"C{number % 10}"
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
    axes.set_title(
        f"What the code of each way to ask meets\n{comparison.queue}: "
        f"{len(comparison.requirements)} requirements"
    )
    axes.set_xlabel("tokens of one sample, in and out")
    axes.set_ylabel("requirements met, % (mean, bootstrap interval; small: single samples)")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(-3, 103)
    axes.grid(alpha=0.25)
    axes.legend(loc="best")


def _draw_requirements(axes: Axes, comparison: Comparison) -> None:
    """Draw which requirement each arm meets how often."""
    shares = [[arm.by_requirement[name] for arm in comparison.arms]
              for name in comparison.requirements]  # fmt: skip
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_title("Samples that meet it, %")
    axes.set_xticks(
        range(len(comparison.arms)), [arm.arm for arm in comparison.arms], rotation=30, ha="right"
    )
    axes.set_yticks(range(len(comparison.requirements)), comparison.requirements)
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8,
                color="white" if share > _DARK else "black",
            )  # fmt: skip
