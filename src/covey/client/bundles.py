# SPDX-License-Identifier: BSD-3-Clause
"""How many items the next bundle of a map holds, and how many bundles should be under way.

Why: one task costs some ten microseconds, so calls of a microsecond must travel many at a time, while a
call of a millisecond or more gains nothing from company: it would only make the others wait. What a
call costs is not known before some have run, so a map begins with single items and grows.

May not know: futures, clocks, the user's iterable. It is told what was pulled and what was done.
Guarantees: a size is at least 1; with `chunksize` it is that, except where `buffersize` is smaller; a
bundle grows at most GROWTH-fold over the largest that has come back, so one wrong guess costs little.
"""

# Work in a bundle, in seconds: long against what a task costs, short against what a person notices.
BUNDLE_WORK = 0.006
# Calls at least this long travel alone: a task's own cost is under 1 % of them.
ALONE_ABOVE = 0.001
# Toward the end bundles shrink so that the slots finish together, but not below this much work.
LEAST_WORK = 0.0005
# Work that each slot should have under way, so that it never waits for the client.
DEPTH_WORK = 0.02
GROWTH = 16
MOST_ITEMS = 32768
# Bytes that one bundle, and all items under way, may hold, as far as a sample item tells.
BUNDLE_BYTES = 4 << 20
WINDOW_BYTES = 256 << 20
# A known length up to this is sent at once, item by item: that costs a millisecond and needs no guess.
SMALL = 1024
# While the consumer waits for a slow item, so many items a slot may run ahead of it.
AHEAD = 4096
# How fast what was measured earlier loses its weight, per bundle.
MEMORY = 0.9


class Sizer:
    """Sizes of one map's bundles: facts come in through `on_…`, the rest are answers."""

    def __init__(self, slots: int, chunksize: int | None, buffersize: int | None, length: int | None) -> None:
        self.slots = max(1, slots)
        self.chunksize = chunksize
        self.buffersize = buffersize
        self.length = length
        # Decayed sums; their ratio is the estimate. Both 0 until something was measured.
        self._run_seconds = 0.0
        self._run_items = 0.0
        self._pull_seconds = 0.0
        self._pull_items = 0.0
        self._largest_done = 0
        self._item_bytes = 1
        # The last adaptive size was held down by GROWTH alone: the next answers will allow larger ones.
        self._growing = True

    def on_pulled(self, items: int, seconds: float) -> None:
        """`items` were taken from the iterable in `seconds`."""
        self._pull_seconds = self._pull_seconds * MEMORY + seconds
        self._pull_items = self._pull_items * MEMORY + items

    def on_sample(self, item_bytes: int) -> None:
        """One item is about so large."""
        self._item_bytes = max(1, item_bytes)

    def on_done(self, items: int, seconds: float) -> None:
        """A bundle of `items` ran for `seconds` in its slot."""
        self._run_seconds = self._run_seconds * MEMORY + seconds
        self._run_items = self._run_items * MEMORY + items
        if items > self._largest_done:
            self._largest_done = items

    @property
    def measured(self) -> bool:
        return self._largest_done > 0

    @property
    def item_seconds(self) -> float:
        """What one call takes, 0 if nobody knows yet."""
        return self._run_seconds / self._run_items if self._run_items else 0.0

    def size(self, pulled: int, held: int) -> int:
        """Items for the next bundle, when `pulled` were taken so far and `held` of them are not handed out yet."""
        if self.chunksize is not None:
            wanted = self.chunksize
        elif not self.measured:
            wanted = 1
        else:
            wanted = self._adaptive(pulled)
        if self.buffersize is not None:
            wanted = min(wanted, self.buffersize - held)
            if self.chunksize is None:
                # a buffer that one bundle fills would keep one slot busy and the others idle
                wanted = min(wanted, self.buffersize // (2 * self.slots))
        return max(1, wanted)

    def _adaptive(self, pulled: int) -> int:
        seconds = self.item_seconds
        self._growing = False
        if seconds >= ALONE_ABOVE:
            return 1
        # A bundle must be quick to gather, too: a slow iterable would hold back results that are ready.
        if self._pull_items:
            seconds = max(seconds, self._pull_seconds / self._pull_items)
        seconds = max(seconds, 1e-9)
        wanted = min(BUNDLE_WORK / seconds, MOST_ITEMS, BUNDLE_BYTES / self._item_bytes)
        if self.length is not None:
            share = max((self.length - pulled) / (4 * self.slots), LEAST_WORK / seconds)
            wanted = min(wanted, share)
        grown = GROWTH * self._largest_done
        self._growing = wanted > grown
        return int(min(wanted, grown))

    def depth(self, size: int) -> int:
        """Bundles of `size`, as `size()` gave it last, that should be unfinished at any time."""
        if self.length is not None and self.length <= SMALL and self.chunksize is None:
            return SMALL
        if self.chunksize is None and (self._growing or not self.measured):
            # many small bundles now would stand in the way of the larger ones that the next answers allow
            return 4 * self.slots
        work = self.item_seconds * size
        a_slot = min(512.0, max(2.0, DEPTH_WORK / work)) if work else 512.0
        return int(a_slot * self.slots) + 1

    def ahead(self, size: int) -> int:
        """Items that may be posted and not yet handed out while the consumer waits for one of them."""
        if self.buffersize is not None:
            return self.buffersize
        most = max(AHEAD * self.slots, 8 * self.slots * size)
        return max(4 * self.slots, min(most, WINDOW_BYTES // self._item_bytes))
