# SPDX-License-Identifier: BSD-3-Clause
"""The convergence of an optimisation as a small SVG.

Why: a notebook should show how it went, without a plotting library.

May not know: algorithms. Guarantees: always a valid picture, of whatever there is; its size does not grow with the
number of iterations.
"""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["convergence"]

WIDTH, HEIGHT, MARGIN = 480, 200, 34
# More points than this nobody can tell apart in the width.
MOST_POINTS = 240
COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#762a83", "#e08214", "#35978f", "#8c510a", "#4d4d4d")


def convergence(evaluations: NDArray[np.int64], best: NDArray[np.float64]) -> str:
    """The best value of each group (columns) over the evaluations made."""
    finite = best[np.isfinite(best)]
    if not len(finite):
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"></svg>'
    low, high = float(finite.min()), float(finite.max())
    height = (high - low) or 1.0
    last = max(1, int(evaluations.max()))
    rows = np.unique(np.linspace(0, len(best) - 1, MOST_POINTS).astype(int))
    lines = []
    for group in range(best.shape[1]):
        points = [
            f"{MARGIN + evaluations[row, group] / last * (WIDTH - 2 * MARGIN):.1f},"
            f"{HEIGHT - MARGIN - (best[row, group] - low) / height * (HEIGHT - 2 * MARGIN):.1f}"
            for row in rows
            if np.isfinite(best[row, group])
        ]
        colour = COLOURS[group % len(COLOURS)]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{" ".join(points)}"/>')
    frame = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    words = [
        (MARGIN, MARGIN - 8, "start", f"{high:.4g}"), (MARGIN, HEIGHT - MARGIN + 14, "start", f"{low:.4g}"),
        (WIDTH - MARGIN, HEIGHT - MARGIN + 14, "end", f"{last:,} evaluations"),
    ]
    text = "".join(f'<text x="{x}" y="{y}" text-anchor="{at}">{escape(word)}</text>' for x, y, at, word in words)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect x="{MARGIN}" y="{MARGIN}" width="{frame[0]}" height="{frame[1]}" fill="none" '
        f'stroke="#bbbbbb"/>{"".join(lines)}{text}</svg>'
    )
