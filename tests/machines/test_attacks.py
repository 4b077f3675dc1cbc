# SPDX-License-Identifier: BSD-3-Clause
"""Strangers at the gate of a node: its memory stays bounded, its peers are served, nobody comes in.

The bounds are those of a stranger's worst case: as many frames as connections, each as large as a frame may be, until
the handshake's two seconds are over.
"""

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
import zmq

import covey
from attackers import (
    MIB,
    Attack,
    Weapon,
    half_greeting,
    half_handshake,
    idler,
    one_huge_command,
    one_huge_message,
    random_bytes,
    unfinished_multipart,
    web_browser,
)
from callers import ASKER, Caller, hello
from chores import places
from covey.keys.pairs import KeyPair, PeerKeys
from covey.keys.secret import Secret
from covey.node.offer import detect_offer
from covey.node.server import Gate, NodeServer
from figures import Figures
from hosts import PORT, Lab, resident_of
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

FRAME = 4 * MIB
SLACK = 10 * MIB


def line_to(lab: Lab) -> Callable[[], socket.socket]:
    """Connects to beta's gate from gamma."""
    def connect() -> socket.socket:
        return socket.create_connection((lab.beta.ip, PORT), timeout=5)

    return lambda: lab.gamma.inside(connect)


def rate(client: covey.Client, count: int = 100) -> float:
    """Tasks done in a second, at best of some rounds: machines that run tests are busy, too."""

    def work(number: int) -> int:
        import time

        time.sleep(0.005)       # work
        return number

    best = 0.0
    for _ in range(3):
        began = monotonic()
        futures = [client.submit(work, number) for number in range(count)]
        assert [future.result(30) for future in futures] == list(range(count))
        best = max(best, count / (monotonic() - began))
    return best


def test_floods_before_the_handshake_are_bounded(lab: Lab, figures: Figures) -> None:
    node = lab.beta.listening()
    weapons: list[Weapon] = [unfinished_multipart, one_huge_message, one_huge_command, half_handshake, random_bytes]
    with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:
        quiet = rate(client)
        before = resident_of(node.pid)
        with Attack(line_to(lab), weapons) as attack:
            during = rate(client)
            most = resident_of(node.pid)
            attack.wait_hung_up(2)
            most = max(most, resident_of(node.pid))
        grown, pace = (most - before) / MIB, during / quiet
        figures.say("T8", f"{len(weapons)} floods: +{grown:.0f} MiB, {pace:.0%} of the pace for others")
        assert most - before < len(weapons) * FRAME + SLACK
        assert during >= 0.8 * quiet
        assert client.submit(abs, -1).result(20) == 1
    assert "another key, or no covey at all, was kept out" in node.said
    assert "Traceback" not in node.said


def test_browsers_and_idlers_are_hung_up_on(lab: Lab) -> None:
    node = lab.beta.listening()
    with Attack(line_to(lab), [web_browser, half_handshake, half_greeting, idler]) as attack:
        attack.wait_hung_up()
    with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:
        assert client.submit(abs, -1).result(20) == 1
    assert node.process.poll() is None


def test_a_browser_at_the_port_is_told_of(lab: Lab) -> None:
    node = lab.beta.listening()
    with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:
        assert client.submit(abs, -1).result(20) == 1
        with Attack(line_to(lab), [web_browser]) as attack:
            attack.wait_hung_up()
            said = node.wait_said("no covey at all, was kept out", deadline=5.0)
        assert lab.gamma.ip in said
    # Whoever was let in and leaves is no stranger.
    assert node.said.count("was kept out") == 1


@pytest.mark.parametrize(("idle", "limit"), [(500, 256), pytest.param(2000, 1024, marks=pytest.mark.soak)])
def test_idle_connections_beyond_the_descriptor_limit_shut_nobody_out(
    lab: Lab, idle: int, limit: int, figures: Figures
) -> None:
    broker, path = lab.broker(lab.beta)
    lab.node_of(lab.alpha, path)
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (limit, limit))
    with lab.alpha.client(path) as client:
        assert places(client) == {"alpha"}
        with many_idle(lab, idle):
            assert client.submit(abs, -1).result(8) == 1
            began = monotonic()
            lab.node_of(lab.gamma, path)
            wait_until(lambda: "gamma" in places(client), broker.picture, deadline=8.0)
            figures.say(
                "T9", f"{idle:,} idle connections, {limit:,} descriptors: a peer served, a new node within "
                f"{monotonic() - began:.1f} s")
    assert broker.process.poll() is None


@contextmanager
def many_idle(lab: Lab, count: int) -> Iterator[None]:
    """So many connections that say nothing; those that are hung up are not made anew."""

    def connect() -> list[socket.socket]:
        found = []
        for _ in range(count):
            line = socket.socket()
            line.setblocking(False)
            line.connect_ex((lab.beta.ip, PORT))
            found.append(line)
        return found

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * count)), hard))
    lines = lab.gamma.inside(connect)
    try:
        yield
    finally:
        for line in lines:
            line.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_wrong_keys_are_counted_and_none_comes_in(lab: Lab, count: int, figures: Figures) -> None:
    keys = lab.secret.keys()
    gate = Gate((f"tcp://{lab.beta.ip}:{PORT}",), keys)
    server = lab.beta.inside(lambda: NodeServer(detect_offer(max_cpu=1, max_gpu=0), gate=gate))
    try:
        lab.beta.inside(server.start)
        # Half of them know the server's public key, as whoever once saw a connection file does.
        strangers = [PeerKeys(keys.broker.public, "client", KeyPair.of(os.urandom(32))) for _ in range(count // 2)]
        strangers += [Secret(os.urandom(32)).keys().peer("client") for _ in range(count // 2)]
        callers = [lab.gamma.inside(lambda own=own: Caller(gate.addresses[0], own)) for own in strangers]
        for found in callers:
            # One that was refused already has nowhere to send to.
            with contextlib.suppress(zmq.Again):
                found.socket.send(hello(ASKER), zmq.NOBLOCK)

        def kept_out() -> int:
            refused, _, broken_off = server.node.strangers()
            # One was the server's own trial.
            return refused + broken_off - 1

        wait_until(lambda: kept_out() >= count, kept_out)
        began = monotonic()
        with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:
            assert client.submit(abs, -1).result(20) == 1
            connected = monotonic() - began
            assert connected < 2.0
        assert not any(found.socket.poll(0) for found in callers), "somebody got an answer"
        assert kept_out() == count
        figures.say("T10", f"{count:,} wrong keys: 0 let in, each counted; a right one served after {connected:.2f} s")
        for found in callers:
            found.close()
    finally:
        server.close()
