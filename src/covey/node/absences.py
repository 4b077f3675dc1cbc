# SPDX-License-Identifier: BSD-3-Clause
"""What people are told of a machine that is not there, of a broker that lacks what is wanted, and when.

Why: who waits for a machine wants to know for which, why, and what to do; a sentence that guesses is worse than none.

May not know: loops, sockets, clocks (`now` is an argument). Guarantees: one sentence each; a broker that lacks
something is named once, until it has had it.
"""

from __future__ import annotations

import math
from collections.abc import Collection

__all__ = ["Lacking", "namesake_in", "sentence_of", "why_missing"]

# How the words of link/dial and broker/relays begin, where more is to be said than they know.
_OUR_KEY_REFUSED = "it refused our key"
_HUNG_UP = "it hung up during the handshake"
_KNOWN_ALREADY = "a node of its name is connected already: "
# Of machines that are there: what is said of them instead of "is not there".
_PRESENT = ("it refuses our key", "it has another key", "it turns us away", "it calls itself")


def namesake_in(why: str) -> str | None:
    """The name that another node has already, if that is why a machine is missing.

    >>> namesake_in("a node of its name is connected already: alpha"), namesake_in("nobody listens there")
    ('alpha', None)
    """
    return why.removeprefix(_KNOWN_ALREADY) if why.startswith(_KNOWN_ALREADY) else None


def why_missing(
    why: str, fingerprint: str | None, *, broker: bool = False, authkey: bool = False, namesake: str = ""
) -> str:
    """Why a machine is missing, from the link's own words and, where there are keys, the fingerprint of ours;
    `authkey`: ours is made of an `authkey=`. `namesake`: who has its name.

    >>> why_missing("", None)
    'it does not answer'
    """
    name = namesake_in(why)
    if name is not None:
        return (f"it calls itself {name!r}, as {namesake or 'another node'} does, and one of them is used: if they are "
                "two machines, give each its own (name=…/--name)")
    if fingerprint is not None and why.startswith((_OUR_KEY_REFUSED, _HUNG_UP)):
        key = f"the one here (fingerprint {fingerprint})"
        fault = f"refuses our key, {key}" if why.startswith(_OUR_KEY_REFUSED) else (
            f"has another key than {key}, or is no covey at all")
        if authkey:
            return f"it {fault}: give both the same authkey"
        file = "the broker's connection file" if broker else "the key file"
        return f"it {fault}: copy {file} from there to here"
    return why or "it does not answer"


def sentence_of(written: str, address: str, why: str, *, broker: bool = False) -> str:
    """What is said of a machine that is missing for that reason.

    >>> sentence_of("lab9", "tcp://lab9:2718", "nobody listens there")
    'lab9 is not there: nobody listens there (tcp://lab9:2718); it joins when it comes'
    >>> sentence_of("lab9", "tcp://lab9:2718", "it turns us away: its Python is another")
    'lab9 (tcp://lab9:2718) turns us away: its Python is another'
    """
    if why.startswith(_PRESENT):
        return f"{written} ({address}) {why.removeprefix('it ')}"
    return f"{written} is not there: {why} ({address}); it {'is joined' if broker else 'joins'} when it comes"


class Lacking:
    """Brokers that lack something that somebody waits for, by the files that they wrote.

    >>> brokers = Lacking(patience=4.0)
    >>> brokers.overdue(["lab.json"], 10.0), brokers.overdue(["lab.json"], 14.0), brokers.overdue(["lab.json"], 15.0)
    ([], ['lab.json'], [])
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}
        self._named: set[str] = set()

    def overdue(self, files: Collection[str], now: float) -> list[str]:
        """Of those that lack it now, the ones of which it is time to speak."""
        self._since = {file: self._since.get(file, now) for file in files}
        self._named.intersection_update(files)
        due = [file for file, since in self._since.items() if file not in self._named and now >= since + self._patience]
        self._named.update(due)
        return due

    @property
    def next_time(self) -> float:
        """When to ask again, if nothing is heard before."""
        since = (since for file, since in self._since.items() if file not in self._named)
        return min(since, default=math.inf) + self._patience
