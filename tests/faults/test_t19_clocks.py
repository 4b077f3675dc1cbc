# SPDX-License-Identifier: BSD-3-Clause
"""T19 and P20: the clock on the wall jumps an hour forth and two back under a broker, its nodes and their slots: no
node is lost, no task timed out, because nobody looks at that clock.

Why a library of our own, of a few lines: libfaketime is on few machines, and a compiler on all that can build covey.
"""
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import time

import pytest

from covey.terminal.inquiry import Inquiry, Target
from covey.testing import Flock
from figures import Figures
from tally import Tally, square_after

pytestmark = [pytest.mark.faults, pytest.mark.slow]

HOUR = 3600
SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *shift;
__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("SHIFT_FILE"), O_RDONLY);
    void *found = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    shift = found == MAP_FAILED ? 0 : found;
    close(file);
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    int done = syscall(SYS_clock_gettime, clock, at);
    if (shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *shift;
    return done;
}
int gettimeofday(struct timeval *at, void *zone) {
    int done = syscall(SYS_gettimeofday, at, zone);
    if (shift && at) at->tv_sec += *shift;
    return done;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture
def turn_clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], object]:
    """Turns the wall clocks of all programs that are started from now on; not our own."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here for the library that turns the clocks")
    library, shift = tmp_path / "clocks.so", tmp_path / "shift"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)], input=SOURCE, text=True, check=True)
    shift.write_bytes(struct.pack("l", 0))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("SHIFT_FILE", str(shift))

    def turn(seconds: int) -> None:
        # In place, because it is mapped.
        with open(shift, "r+b") as file:
            file.write(struct.pack("l", seconds))

    return turn


def test_t19_wall_clocks_that_jump_change_nothing(turn_clocks: Callable[[int], object], figures: Figures) -> None:
    with Flock(nodes=2, slots=1, lease=2.0, beat_every=0.3) as flock:
        client = flock.client()

        def there() -> float:
            import time

            return time.time()

        slots = set(flock.slots())
        tally = Tally(client.options(timeout=20).submit, square_after(0.01), 600)
        for done, shift in ((100, HOUR), (300, -HOUR), (500, 0)):
            tally.wait_done(done, state=flock.picture)
            turn_clocks(shift)
            assert client.submit(there).result(20) - time() == pytest.approx(shift, abs=60)
        tally.check(state=flock.picture)
        assert set(flock.slots()) == slots, "a slot was replaced"
        with Inquiry(Target.of_file(flock.connection)) as inquiry:
            found = inquiry.ask("status")["tasks"]
    assert (found["losses"], found["crashes"], found["retried"]) == (0, 0, 0)
    figures.say("T19", "clocks an hour forth and two back during a run: 0 nodes lost, 0 timeouts, 0 lost, 0 doubled")
