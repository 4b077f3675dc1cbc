# SPDX-License-Identifier: BSD-3-Clause
"""T5 and P21: frames from somebody who has the right key and sends anything: the broker lives, its memory stays, and an
honest client is served."""
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic

import pytest
import zmq

from callers import ASKER, DOER, Caller, caller, hello, kind_of
from covey.keys.connection import ConnectionFile
from covey.keys.pairs import Role
from covey.testing import Flock
from covey.wire.protocol import KINDS, message
from figures import Figures
from hosts import resident_of
from tally import quantile
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

MIB = 1 << 20
EXTRA = 1
# A HELLO again and again, because who is refused is a stranger; the others as they would come.
KIND_AT = 5
# What whoever has the key may do, and what would end the test: telling a node to end.
SPARED = {KINDS["STOP"], KINDS["BYE"]}


def good_messages() -> list[bytes]:
    """One of each kind that a peer may send, with sound records."""
    records = {
        "BEAT": [], "QUERY": [struct.pack("<II", 5, 6) + b"status"], "ANSWER": [struct.pack("<II", 5, 2) + b"{}"],
        "NOTE": [struct.pack("<QI", 1, 2) + b"go"],
        "FUNCTION": [struct.pack("<II16s", 1, 4, bytes(range(16))) + b"body"],
        "FORGET": [struct.pack("<I", 7)],
        "TASKS": [struct.pack("<QIIhBBBBBHIIQ", 1, 1, 2, -3, 5, 1, 2, 1, 3, 0, 5000, 0, 0) + b"xy"],
        "CANCEL": [struct.pack("<QI", 1, 1)], "RETRACT": [struct.pack("<Q", 1 << 40)],
        "OUTCOMES": [struct.pack("<QIIBBH", 1, 2, 1500, 1, 1, 0) + b"ok"], "STARTED": [struct.pack("<Q", 1)],
        "RETRACTED": [struct.pack("<QI", 1, 1)], "OUTPUT": [struct.pack("<QHHI", 1, 1, 2, 5) + b"h0hi\n"],
        "CREDIT": [struct.pack("<IIQIIII", 10, 40, 1 << 20, 4, 0, 0, 0)],
        "REFUSE": [struct.pack("<II", 1, 2) + b"no"], "HELD": [struct.pack("<Q", 5)], "LEAVING": [],
        "WELCOME": [struct.pack("<IIQIIHHIIIIII", 3, 131072, 1 << 28, 15000, 7, 0x030B, 0, 2, 1, 0, 0, 90, 3) + b"lab"],
        "TAKEN": [struct.pack("<Q", 1 << 18)],
    }
    sound = [message(KINDS[kind], found) for kind, found in records.items()]
    return [*sound, message(KINDS["PIECES"], [struct.pack("<Q", 40)], EXTRA), message(KINDS["PIECES"], [], EXTRA)]


def frames(rng: random.Random, count: int) -> Iterator[list[bytes]]:
    """Messages: sound ones, sound ones with some bytes changed, the beginning of one, and noise."""
    sound = good_messages()
    for _ in range(count):
        data = bytearray(rng.choice(sound))
        for _ in range(rng.choice((0, 1, 1, 2, 8))):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        what = rng.random()
        if what < 0.05:
            data = data[:rng.randrange(len(data))]
        elif what < 0.1:
            data = bytearray(rng.randbytes(rng.randrange(200)))
        if len(data) > KIND_AT and data[KIND_AT] in SPARED:
            continue
        yield [bytes(data), *(rng.randbytes(rng.randrange(40)) for _ in range(rng.choice((0, 0, 0, 1, 3))))]


def throw(found: Caller, role: int, seed: int, count: int) -> int:
    """Sends so many; says hello again from time to time. Returns how many went out."""
    rng = random.Random(seed)
    sent = 0
    for frame in frames(rng, count):
        if sent % 12 == 0:
            found.socket.send(hello(role, name=f"fuzz {seed}"))
        found.socket.send_multipart(frame)
        sent += 1
        while found.socket.poll(0):
            found.socket.recv_multipart()
    return sent


def times(client, count: int) -> list[float]:
    found = []
    for number in range(count):
        began = monotonic()
        assert client.submit(abs, -number).result(30) == number
        found.append(monotonic() - began)
    return found


# In a process of its own, and a modest one: it stands for a machine elsewhere, which takes nothing of this one's cores.
FUZZER = """
import os, sys
sys.path[:0] = {path!r}
from test_t05_fuzzed_frames import fuzz
os.nice(19)
fuzz({connection!r}, {role!r}, {word}, {count})
"""


def fuzz(connection: str, role: Role, word: int, count: int) -> None:
    file = ConnectionFile.read(connection)
    with caller(file.addresses[0], file.keys(role)) as found:
        # Whoever is faster than the broker waits for it.
        found.socket.set(zmq.SNDHWM, 1000)
        throw(found, word, word, count)


@pytest.mark.parametrize(("role", "word"), [("client", ASKER), ("node", DOER)])
@pytest.mark.parametrize("count", [50_000, pytest.param(500_000, marks=pytest.mark.soak)])
def test_t5_fuzzed_frames_from_a_peer_with_the_right_key(role: Role, word: int, count: int, figures: Figures) -> None:
    # Whoever has a node's key may take tasks and be lost with them, and this one does so all the time.
    with Flock(nodes=1, slots=1, loss_limit=1000, lease=2.0) as flock:
        client = flock.client()
        times(client, 200)
        idle = quantile(times(client, 1000), 0.99)
        before = resident_of(flock.broker.pid)
        program = FUZZER.format(path=sys.path, connection=str(flock.connection), role=role, word=word, count=count)
        took: list[float] = []
        with subprocess.Popen([sys.executable, "-c", program]) as fuzzer:
            while fuzzer.poll() is None:
                took += times(client, 20)
        assert fuzzer.returncode == 0
        assert flock.broker.running, flock.picture()
        grown = resident_of(flock.broker.pid) - before
        assert client.submit(abs, -1).result(30) == 1
        assert "Traceback" not in flock.picture()
    slower = quantile(took, 0.99) / idle
    figures.say(f"T5 {role}", f"{count:,} frames: broker alive, +{grown / MIB:.0f} MiB, p99 {slower:.1f} × idle")
    assert grown < 50 * MIB
    if role == "client" and count > 50_000:
        # In a short run, on a machine that does other things too, a p99 is a few round trips.
        assert slower < 5


@pytest.mark.parametrize(("role", "word", "kind"), [("client", ASKER, "STARTED"), ("node", DOER, "CANCEL")])
def test_p21_who_breaks_the_rules_of_its_role_is_cut_off(role: Role, word: int, kind: str) -> None:
    with Flock(nodes=0) as flock:
        file = ConnectionFile.read(flock.connection)
        bad = next(data for data in good_messages() if kind_of(data) == kind)
        with caller(file.addresses[0], file.keys(role)) as found:
            assert kind_of(found.ask(hello(word)) or b"") == "WELCOME"
            for _ in range(10):
                found.socket.send(bad)
            # It is a stranger again, who must say who he is before anything else.
            found.socket.send(message(KINDS["BEAT"], []))
            said: list[str] = []

            def heard() -> bool:
                while found.socket.poll(0):
                    said.append(kind_of(found.socket.recv_multipart()[0]))
                return "REFUSE" in said

            wait_until(heard, lambda: said)


def test_p21_a_function_of_the_highest_number_takes_no_more_room_than_one_of_the_lowest() -> None:
    with Flock(nodes=0) as flock:
        file = ConnectionFile.read(flock.connection)
        with caller(file.addresses[0], file.keys("client")) as found:
            assert kind_of(found.ask(hello(ASKER)) or b"") == "WELCOME"
            before = resident_of(flock.broker.pid)
            for number in (1, (1 << 28) - 1, (1 << 32) - 1):
                found.socket.send(message(KINDS["FUNCTION"], [struct.pack("<II16s", number, 4, bytes(16)) + b"body"]))
            query = message(KINDS["QUERY"], [struct.pack("<II", 1, 6) + b"status"])
            assert kind_of(found.ask(query) or b"") == "ANSWER"
            assert resident_of(flock.broker.pid) - before < MIB
