# SPDX-License-Identifier: BSD-3-Clause
"""The proxy: bytes come through unchanged; late, slow, not at all, or half of them, as it is told."""
import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from covey.testing import Proxy
from waiting import wait_until

DATA = bytes(range(256)) * 4096


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def proxy(server: socket.socket) -> Iterator[Proxy]:
    with Proxy(f"tcp://127.0.0.1:{server.getsockname()[1]}") as found:
        yield found


def call(proxy: Proxy, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection through the proxy."""
    host, _, port = proxy.address.removeprefix("tcp://").partition(":")
    near = socket.create_connection((host, int(port)), timeout=10)
    far, _ = server.accept()
    far.settimeout(10)
    return near, far


def read(line: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size and (data := line.recv(size - len(found))):
        found += data
    return bytes(found)


def test_bytes_come_through_unchanged_both_ways(proxy: Proxy, server: socket.socket) -> None:
    near, far = call(proxy, server)
    with near, far:
        for one, other in ((near, far), (far, near)):
            sender = threading.Thread(target=one.sendall, args=(DATA,))
            sender.start()
            assert read(other, len(DATA)) == DATA
            sender.join()
        assert proxy.moved == 2 * len(DATA)
        near.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b"", "the end of one direction was not told"
        far.sendall(b"still here")
        assert read(near, 10) == b"still here"


def test_a_cut_is_silent_and_loses_nothing(proxy: Proxy, server: socket.socket) -> None:
    near, far = call(proxy, server)
    with near, far:
        near.sendall(b"before")
        assert read(far, 6) == b"before"
        proxy.cut()
        near.sendall(b"during")
        far.settimeout(0.1)
        with pytest.raises(TimeoutError):
            far.recv(1)
        far.settimeout(10)
        proxy.restore()
        assert read(far, 6) == b"during"


def test_it_hangs_up_in_the_middle_of_a_message_and_serves_the_next(proxy: Proxy, server: socket.socket) -> None:
    near, far = call(proxy, server)
    with near, far:
        proxy.hang_up(after=1000)
        near.sendall(bytes(5000))
        got = b""
        with pytest.raises(ConnectionResetError):
            while True:
                data = far.recv(4096)
                assert data, "it was closed politely"
                got += data
        assert len(got) <= 1000
    near, far = call(proxy, server)
    with near, far:
        near.sendall(b"again")
        assert read(far, 5) == b"again"


def test_half_close_ends_one_direction(proxy: Proxy, server: socket.socket) -> None:
    near, far = call(proxy, server)
    with near, far:
        near.sendall(b"hello")
        assert read(far, 5) == b"hello"
        proxy.half_close()
        assert far.recv(1) == b""
        far.sendall(b"back")
        assert read(near, 4) == b"back"


def test_delay_and_rate_are_kept(proxy: Proxy, server: socket.socket) -> None:
    near, far = call(proxy, server)
    with near, far:
        proxy.delay = 0.1
        began = monotonic()
        near.sendall(b"x")
        assert read(far, 1) == b"x"
        assert monotonic() - began >= 0.1
        proxy.delay, proxy.rate = 0.0, 500_000.0
        began = monotonic()
        sender = threading.Thread(target=near.sendall, args=(DATA[:100_000],))
        sender.start()
        assert read(far, 100_000) == DATA[:100_000]
        sender.join()
        assert monotonic() - began >= 0.2


def test_nobody_behind_it_is_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Proxy(f"127.0.0.1:{port}") as proxy:
        address, _, port = proxy.address.removeprefix("tcp://").partition(":")
        with socket.create_connection((address, int(port)), timeout=10) as line:
            with pytest.raises(ConnectionResetError):
                assert line.recv(1)
            wait_until(lambda: proxy.accepted == 1)
    proxy.close()
    with pytest.raises(RuntimeError, match="is closed: nothing goes through it"):
        proxy.cut()
