# SPDX-License-Identifier: BSD-3-Clause
"""From all that was measured to the rows of the table: medians, spreads, ratios, and whether the target is met.

May not know: processes, how anything was measured.
Guarantees: what is printed is the median of the rounds with the lowest and the highest; the ratio is that of the
medians, covey's over the peer's; nothing is left out: a peer without a figure gets a row that says why.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers import FLOORS
from benchmarks.question import BEST, Check, Question, Values

__all__ = ["HEAD", "Row", "best_peer", "figure", "layout", "rows", "spread"]

HEAD = ("question", "covey", "best peer (name)", "ratio", "target", "met?")

# who: what was measured, round by round
Answers = Mapping[str, Sequence[Values]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, as text."""

    question: str
    covey: str
    peer: str
    ratio: str
    target: str
    met: str


def rows(question: Question, answers: Answers) -> list[Row]:
    return [_row(check, question, answers) for check in question.checks]


def _row(check: Check, question: Question, answers: Answers) -> Row:
    ours = samples(answers, "covey", check.metric)
    rival = best_peer(check, question, answers)
    theirs = samples(answers, rival, check.metric) if rival else []
    ratio = statistics.median(ours) / statistics.median(theirs) if ours and theirs and any(theirs) else None
    judged = ratio if check.against else statistics.median(ours) if ours else None
    if check.bound is None:
        met = "-"
    elif judged is None:
        met = "not measured"
    else:
        met = "yes" if (judged >= check.bound if check.more else judged <= check.bound) else "NO"
    return Row(
        question=check.says,
        covey=spread(ours, check.unit),
        peer=f"{spread(theirs, check.unit)} ({rival})" if rival else "-",
        ratio="-" if ratio is None else f"{figure(ratio)} ×",
        target=check.target,
        met=met,
    )


def best_peer(check: Check, question: Question, answers: Answers) -> str | None:
    """The best of those that the check may be held against and that have a figure."""
    named = [name for name in check.against if name != BEST]
    asked = named or [name for name in question.peers if name not in FLOORS and name not in check.besides]
    medians = {name: statistics.median(values) for name in asked if (values := samples(answers, name, check.metric))}
    if not medians:
        return None
    return (max if check.more else min)(medians, key=medians.__getitem__)


def samples(answers: Answers, who: str, metric: str) -> list[float]:
    return [values[metric] for values in answers.get(who, ()) if metric in values]


def spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "-"
    text = f"{figure(statistics.median(values))}{'' if unit in ('tasks/s', 'items/s') else ' '}"
    text += {"tasks/s": "/s", "items/s": "/s"}.get(unit, unit)
    return f"{text} [{figure(min(values))}..{figure(max(values))}]" if len(values) > 1 else text


def figure(value: float) -> str:
    """Three digits that count."""
    if value >= 999_500:
        return f"{value / 1e6:.3g} M"
    if value >= 9_995:
        return f"{value / 1e3:.3g} k"
    if value >= 999.5:
        return f"{value:.0f}"
    return f"{value:.3g}"


def layout(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Columns that line up, in a form that is a table in Markdown, too."""
    cells = [tuple(head), *map(tuple, lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    text = ["| " + " | ".join(row) + " |" for row in padded]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
