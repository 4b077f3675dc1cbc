# SPDX-License-Identifier: BSD-3-Clause
"""The luggage of a book of functions: the user's own modules, packed, and packed again when a file changed.

Why: slots on other machines have what is installed there, and nothing of the user's. So the body of a function
brings the modules along that it needs, as trunks; each is read once, however many functions need it.

    names that a pickle refers to ──► own modules ──► what those import ──► … ──► trunks

May not know: functions, slots, frames. Guarantees: nothing installed is packed; a module over the limit is an error
that names its file; a file that has changed is noticed by the next `look`, which looks at most every PATIENCE seconds
unless it is told to. Any thread.
"""
from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pickle import PickleBuffer
from time import monotonic, time

from covey.codec import trunk as trunks
from covey.codec.imports import imports_of_source
from covey.codec.ownership import find_own
from covey.codec.trunk import Listing, Trunk
from covey.errors import ModuleTooLarge

# Looking costs a microsecond a file, and `submit` asks a million times a second; nobody edits faster than this.
PATIENCE = 0.1
# A look at a package of a thousand files takes milliseconds: never more than this part of the time goes into looking.
_SHARE = 0.02
# A file that was written less than this before it was read may be written again without its time telling: the clock
# of a file system ticks every few milliseconds, some every second or two.
_TICK = 2.0


class Packed:
    """A trunk that is kept, and how it was."""

    __slots__ = ("blob", "imports", "is_young", "listing", "trunk")

    def __init__(self, trunk: Trunk, listing: Listing, now: float) -> None:
        self.is_young = _is_young(listing, now)
        self.trunk = trunk
        self.listing = listing
        self.blob = PickleBuffer(trunk.blob())
        self.imports = frozenset(_imports(trunk))


class Luggage:
    """The trunks of one client. `version` is another number whenever a file has changed.

    >>> Luggage().gather(["os.path", "numpy", "__main__"])
    ()
    """

    def __init__(
        self, limit: int = 1 << 24, clock: Callable[[], float] = monotonic, wall: Callable[[], float] = time
    ) -> None:
        self.version = 1
        self._limit = limit
        self._clock = clock
        self._wall = wall
        self._next_look = clock() + PATIENCE
        self._packed: dict[str, Packed] = {}
        self._owners: dict[str, tuple[str, str] | None] = {}
        self._lock = threading.RLock()

    def look(self, *, now: bool = False) -> None:
        """Notices files that have changed; `now`: even if it has looked a moment ago."""
        began = self._clock()
        if not now and began < self._next_look:
            return
        with self._lock:
            stale = [name for name, packed in self._packed.items() if _has_changed(packed, self._wall())]
            ended = self._clock()
            self._next_look = ended + max(PATIENCE, (ended - began) / _SHARE)
            for name in stale:
                del self._packed[name]
            if stale:
                self._owners.clear()
                self.version += 1

    def names(self, references: Iterable[str]) -> frozenset[str]:
        """The own modules and packages that dotted names lie in, without what those import."""
        return frozenset(own[0] for own in map(self._owner, references) if own is not None)

    def gather(self, references: Iterable[str]) -> tuple[Packed, ...]:
        """The trunks that dotted names lie in, and those that these import, and so on; sorted by name."""
        found: dict[str, Packed] = {}
        seen: set[str] = set()
        waiting = list(references)
        with self._lock:
            while waiting:
                reference = waiting.pop()
                if reference in seen:
                    continue
                seen.add(reference)
                own = self._owner(reference)
                if own is not None and own[0] not in found:
                    packed = self._pack(*own)
                    found[own[0]] = packed
                    waiting.extend(packed.imports)
        return tuple(found[name] for name in sorted(found))

    def _owner(self, reference: str) -> tuple[str, str] | None:
        try:
            return self._owners[reference]
        except KeyError:
            own = find_own(reference)
            # What is not there yet may come: an import that is tried and does without.
            if own is not None or reference.partition(".")[0] in sys.modules:
                self._owners[reference] = own
            return own

    def _pack(self, name: str, origin: str) -> Packed:
        packed = self._packed.get(name)
        if packed is None or packed.trunk.origin != origin:
            try:
                packed = self._packed_now(name, origin)
            except FileNotFoundError:
                # An editor that saves removes one file and puts another in its place.
                packed = self._packed_now(name, origin)
            self._packed[name] = packed
        return packed

    def _packed_now(self, name: str, origin: str) -> Packed:
        listing = trunks.scan(origin)
        size = sum(entry[1] for entry in listing)
        if size > self._limit:
            largest = max(listing, key=lambda entry: entry[1])[0]
            path = os.path.join(trunks.folder_of(origin), largest)
            raise ModuleTooLarge(f"the module {name!r}, whose largest file is {path},", size, self._limit)
        now = self._wall()
        return Packed(trunks.pack(name, origin, listing), listing, now)


def _has_changed(packed: Packed, now: float) -> bool:
    trunk = packed.trunk
    try:
        if trunks.scan(trunk.origin) != packed.listing:
            return True
        if packed.is_young:
            packed.is_young = _is_young(packed.listing, now)
            return trunks.pack(trunk.name, trunk.origin, packed.listing).digest != trunk.digest
    except OSError:
        pass                    # it has gone; what was packed is what the functions were written with
    return False


def _is_young(listing: Listing, now: float) -> bool:
    return any(modified > (now - _TICK) * 1e9 for _, _, modified, _ in listing)


def _imports(trunk: Trunk) -> Iterator[str]:
    parent = trunk.name.rpartition(".")[0]
    for path, content in trunk.files.items():
        if path.endswith(".py"):
            parts = path.split("/")[:-1]
            package = ".".join(([parent] if parent else []) + parts)
            yield from imports_of_source(content, package)
