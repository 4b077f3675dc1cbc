# SPDX-License-Identifier: BSD-3-Clause
"""How much memory does a queued task take, with its future, in the caller's process?

For covey that process holds the client and the broker, which is a thread of it. All slots are held, the tasks
are queued, and the growth of the resident set is read once it has been still for a while; each size in a
pool's first large queue of a fresh process, because memory that an earlier queue left free would hide the
growth. The list of futures is included, the integers that are the arguments are not made twice.
"""

import os
import time
import traceback

from benchmarks.answer import WrongResult, check_results, main, running
from benchmarks.blocked import blocked
from benchmarks.peers import Peer
from benchmarks.question import Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure"]

LARGE, HUGE = 200_000, 1_000_000

QUESTION = Question(
    name="memory",
    asks="bytes a queued task, broker + client",
    checks=(
        Check("200,000 queued, memory a task", "bytes_200000", "bytes", more=False, bound=600),
        Check("1,000,000 queued, memory a task", "bytes_1000000", "bytes", more=False, bound=600),
    ),
    peers=("pool", "executor", "mpire"),
)


def measure(peer: Peer, quick: bool) -> Values:
    sizes = (LARGE, HUGE) if type(peer).__name__ == "Covey" and not quick else (LARGE,)
    values: dict[str, float] = {}
    for calls in sizes:
        values[f"bytes_{calls}"] = _in_a_fork(type(peer), calls)
    return values


def _in_a_fork(kind: type[Peer], calls: int) -> float:
    """Each size in a process of its own; nothing runs in this one yet, so a fork is safe."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        try:
            os.write(writer, str(_bytes_a_task(kind(), calls)).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    if status or not text:
        raise WrongResult(f"the process that queued {calls} tasks ended with status {status}")
    return float(text)


def _bytes_a_task(peer: Peer, calls: int) -> float:
    with running(peer, "submit"):
        items = list(range(calls))
        peer.collect(peer.submit_all(noop, items[:1000]))
        with blocked(peer) as release:
            before = _resident()
            handles = peer.submit_all(noop, items)
            after = _settled()
            release()
            check_results(peer.collect(handles), items)
    return (after - before) / calls


def _settled() -> int:
    """The resident set when it has not grown for a second: batches may still be on their way to the broker."""
    last, still = _resident(), 0
    while still < 10:
        time.sleep(0.1)
        now = _resident()
        still = 0 if now > last else still + 1
        last = max(last, now)
    return last


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(QUESTION, measure)
