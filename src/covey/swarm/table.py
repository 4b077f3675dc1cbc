# SPDX-License-Identifier: BSD-3-Clause
"""Results as a table of text.

Why: several groups, side by side, are read in a terminal.

May not know: how results were made; any mapping of names to sequences will do. Guarantees: names sorted, 'fitness'
last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["table_of"]

FITNESS = "fitness"
TITLE = "RESULTS"


def table_of(results: Mapping[str, Any], precision: int, colwidth: int) -> str:
    """The table.

    >>> print(table_of({"tau": [0.5], "fitness": [2.0]}, 4, 10))
    RESULTS   Group 0
    --------------------
    tau       0.5
    fitness   2
    """
    rows: list[tuple[str, list[Any]]] = []
    for name in [*sorted(name for name in results if name != FITNESS), FITNESS]:
        if name not in results:
            continue
        value = np.asarray(results[name])
        if value.ndim == 2:
            rows += [(f"{name}[{number}]", list(row)) for number, row in enumerate(value)]
        else:
            rows.append((name, list(np.atleast_1d(value))))
    groups = len(rows[0][1]) if rows else 0
    first = max([colwidth, *(len(name) + 2 for name, _ in rows)])
    lines = [TITLE.ljust(first) + "".join(f"Group {group}".ljust(colwidth) for group in range(groups))]
    lines.append("-" * (first + colwidth * groups))
    lines += [name.ljust(first) + "".join(_cell(item, precision).ljust(colwidth) for item in row) for name, row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _cell(item: Any, precision: int) -> str:
    if isinstance(item, (float, np.floating)):
        return f"{item:.{precision}g}"
    return str(item)
