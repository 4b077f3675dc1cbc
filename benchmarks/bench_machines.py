# SPDX-License-Identifier: BSD-3-Clause
"""What other machines cost: TCP with encryption against a local socket, idle slots, two hundred nodes that come back.

The same node program serves at a named pipe and at a TCP port of the loopback interface, and the client computes
nothing itself, so that the two differ in nothing but the way. Idle slots are sockets that say HELLO and give signs of
life as slots do; nodes that come back are loops without slots, two hundred in one process, that a killed broker left
behind.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.answer import check_results, main
from benchmarks.peers import Peer
from benchmarks.question import SLOTS, Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure", "reconnect_seconds"]

NODES = 200
IDLE = (64, 512)
IDLE_SECONDS = 6.0
DEADLINE = 60.0

QUESTION = Question(
    name="machines",
    asks="a node over TCP + CURVE against ipc; idle slots; nodes that reconnect",
    checks=(
        Check("submit over TCP + CURVE, over ipc", "submit_ratio", "×", more=True, bound=0.7),
        Check("map over TCP + CURVE, over ipc", "map_ratio", "×", more=True, bound=0.8),
        Check("round trip over TCP + CURVE, over ipc", "trip_ratio", "×", more=False, bound=1.5),
        Check("submit over TCP + CURVE", "submit_tcp", "tasks/s", more=True, bound=None),
        Check("round trip over TCP + CURVE", "trip_tcp", "µs", more=False, bound=None),
        Check("64 idle slots, of a core", "idle_64", "%", more=False, bound=1.0),
        Check("512 idle slots, of a core", "idle_512", "%", more=False, bound=1.0),
        Check("200 nodes back at a restarted broker", "reconnect", "s", more=False, bound=5.0),
    ),
)


def measure(peer: Peer, quick: bool) -> Values:
    del peer
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as home:
        # A key, and a folder for named pipes, that belong to this measurement alone.
        os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_CONFIG_HOME"] = home
        Path(home).chmod(0o700)
        _ways(values, quick)
        for slots in IDLE:
            values[f"idle_{slots}"] = _idle_percent(slots)
        values["reconnect"] = reconnect_seconds(home)
    return values


def _ways(values: dict[str, float], quick: bool) -> None:
    rounds: dict[str, list[tuple[float, float, float]]] = {"ipc": [], "tcp": []}
    with (
        _process("node", "--listen", "tcp://127.0.0.1:*", "--max-cpu", str(SLOTS)) as listening,
        _process("node", "--named-pipe", "bench", "--max-cpu", str(SLOTS)),
    ):
        address = listening.partition(" at tcp://")[2].partition(",")[0]
        # They take turns, so that the machine's moods meet both.
        for _ in range(1 if quick else 3):
            rounds["ipc"].append(_way(quick, machines=["localhost"], named_pipe="bench"))
            rounds["tcp"].append(_way(quick, machines=[address]))
    ipc, tcp = (
        [statistics.median(column) for column in zip(*rounds[way], strict=True)] for way in ("ipc", "tcp")
    )
    values["submit_ratio"], values["map_ratio"], values["trip_ratio"] = (t / i for t, i in zip(tcp, ipc, strict=True))
    values["submit_tcp"], values["trip_tcp"] = tcp[0], tcp[2] * 1e6


def _way(quick: bool, **machines: object) -> tuple[float, float, float]:
    """Submits a second, mapped items a second, and the median round trip."""
    import covey

    calls, items, trips = (20_000, 200_000, 300) if quick else (200_000, 2_000_000, 2_500)
    with covey.Client(max_cpu=0, **machines) as client:  # type: ignore[arg-type]
        missing = client.wait_machines(DEADLINE)
        assert not missing, missing
        for future in [client.submit(noop, item) for item in range(2_000)]:
            future.result()
        start = time.perf_counter()
        results = [future.result() for future in [client.submit(noop, item) for item in range(calls)]]
        submits = calls / (time.perf_counter() - start)
        check_results(results, range(calls))
        start = time.perf_counter()
        results = list(client.map(noop, range(items)))
        mapped = items / (time.perf_counter() - start)
        check_results(results, range(items))
        times = []
        for item in range(trips):
            start = time.perf_counter()
            client.submit(noop, item).result()
            times.append(time.perf_counter() - start)
    return submits, mapped, statistics.median(times)


def _idle_percent(slots: int) -> float:
    """CPU time of the loop's thread, with so many slots that do nothing but give signs of life, of the time."""
    from covey.broker.loop import Loop
    from covey.settings import Settings

    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder:
        address = f"ipc://{folder}/broker"
        loop = Loop(Settings(), address)
        thread = threading.Thread(target=loop.run)
        thread.start()
        idle = subprocess.Popen([sys.executable, "-c", _IDLE_SLOTS, address, str(slots)])
        try:
            _wait(lambda: loop.totals()["doers"] == slots, f"{slots} idle slots")
            before = _cpu_seconds(thread)
            time.sleep(IDLE_SECONDS)
            used = _cpu_seconds(thread) - before
        finally:
            idle.kill()
            idle.wait()
            loop.stop()
            thread.join()
    return used / IDLE_SECONDS * 100


# Signs of life as slots give them: every two seconds, each at its own time.
_IDLE_SLOTS = """
import struct, sys, time, zmq
from covey.wire.protocol import KINDS, message
address, count = sys.argv[1], int(sys.argv[2])
context = zmq.Context()
context.max_sockets = 4 * count
python = sys.version_info[0] << 8 | sys.version_info[1]
sockets = []
for number in range(count):
    socket = context.socket(zmq.DEALER)
    socket.connect(address)
    hello = struct.pack("<BBHIIiIIIIIQI", 2, 0, python, 1_000_000 + number, number, -1, 1, 0, 0, 0, 64, 0, 0)
    socket.send(message(KINDS["HELLO"], [hello]))
    sockets.append(socket)
beat = message(KINDS["BEAT"], [])
while True:
    for socket in sockets:
        socket.send(beat)
        while socket.poll(0):
            socket.recv_multipart()
        time.sleep(2.0 / count)
"""


def _cpu_seconds(thread: threading.Thread) -> float:
    return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]) * 1e-9


def reconnect_seconds(home: str) -> float:
    """From the start of a broker that replaces a killed one until all nodes are there again."""
    from covey.broker.loop import Loop
    from covey.keys.connection import ConnectionFile
    from covey.settings import Settings

    path = f"{home}/bench.json"
    loops = []
    threads = []
    try:
        with _process("broker", path, kill=True):
            file = ConnectionFile.read(path)
            keys = file.keys("node")
            for number in range(NODES):
                loop = Loop(Settings(), f"inproc://bench-node-{number}")
                loop.name = f"node-{number}"
                loop.dial(file.addresses[0], False, (keys.broker, keys.own.public, keys.own.secret))
                threads.append(threading.Thread(target=loop.run))
                threads[-1].start()
                loops.append(loop)
            _wait(lambda: all(_is_open(loop) for loop in loops), "all nodes at the broker")
        _wait(lambda: not any(_is_open(loop) for loop in loops), "all nodes to notice that it is gone")
        start = time.perf_counter()
        with _process("broker", path, kill=True):
            _wait(lambda: all(_is_open(loop) for loop in loops), "all nodes at the new broker")
            return time.perf_counter() - start
    finally:
        for loop in loops:
            loop.stop()
        for thread in threads:
            thread.join()


def _is_open(loop: object) -> bool:
    return loop.totals()["askers"] == 1  # type: ignore[attr-defined, no-any-return]


def _wait(condition: object, what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError(f"waited {DEADLINE:.0f} s for {what}")
        time.sleep(0.005)


@contextmanager
def _process(*words: str, kill: bool = False) -> Iterator[str]:
    """`covey …`, and the line that it says when it is ready."""
    process = subprocess.Popen([sys.executable, "-m", "covey", *words], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "Ctrl-C ends this" in line, line + process.stderr.read()
        yield line
    finally:
        process.kill() if kill else process.terminate()
        process.wait(DEADLINE)
        process.stderr.close()


if __name__ == "__main__":
    main(QUESTION, measure)
