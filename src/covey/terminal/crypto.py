# SPDX-License-Identifier: BSD-3-Clause
"""How fast this machine encrypts: what a CURVE connection to itself carries.

Why measured and not known: libzmq may be built with libsodium or with its own slow copy, and processors differ tenfold;
a link to another machine is never faster than this.

May not know: covey's keys; these are made up for half a second. Guarantees: it ends in time, and leaves no socket.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zmq

__all__ = ["curve_speed"]

_BLOCK = 1 << 18


def curve_speed(seconds: float) -> float:
    """Bytes a second through one encrypted connection on loopback.

    >>> curve_speed(0.01) > 0
    True
    """
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        public, secret = zmq.curve_keypair()
        for socket in (pull, push):
            socket.linger = 0
            socket.hwm = 8
        pull.curve_server = True
        pull.curve_secretkey = secret
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        push.curve_serverkey = public
        push.curve_publickey, push.curve_secretkey = zmq.curve_keypair()
        push.connect(f"tcp://127.0.0.1:{port}")
        return _pump(push, pull, seconds)


def _pump(push: zmq.Socket[bytes], pull: zmq.Socket[bytes], seconds: float) -> float:
    import zmq

    block = bytes(_BLOCK)
    push.send(block)
    # The handshake does not count; without an answer by then there is none.
    if not pull.poll(3000):
        return 0.0
    poller = zmq.Poller()
    poller.register(push, zmq.POLLOUT)
    poller.register(pull, zmq.POLLIN)
    carried = 0
    begun = time.monotonic()
    while (spent := time.monotonic() - begun) < seconds or not carried:
        if spent > seconds + 1:
            return 0.0
        ready = dict(poller.poll(100))
        if push in ready:
            push.send(block, zmq.DONTWAIT)
        if pull in ready:
            carried += len(pull.recv())
    return carried / (time.monotonic() - begun)
