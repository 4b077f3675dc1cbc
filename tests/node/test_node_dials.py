# SPDX-License-Identifier: BSD-3-Clause
"""A node that dials a broker, seen by a broker that is made by hand."""

import os
import struct
import sys
from pathlib import Path

import pytest
import zmq

from covey.keys.secret import Secret
from covey.node.machines import Machine
from covey.node.offer import detect_offer
from covey.node.server import NodeServer
from covey.wire.protocol import KINDS, message, split
from waiting import wait_until

pytestmark = pytest.mark.slow

_HELLO = struct.Struct("<BBHIIiIIIIIQI")
_WELCOME = struct.Struct("<IIQIIHHIIIIII")
_CREDIT = struct.Struct("<IIQIIII")


def test_slots_that_come_up_before_the_welcome_are_offered(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/broker"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as broker:
        broker.set(zmq.LINGER, 0)
        broker.bind(address)
        keys = Secret(os.urandom(32)).keys().peer("node")
        server = NodeServer(
            detect_offer(max_cpu=1, max_gpu=0), upstream=([Machine("the broker", address)], keys), name="dialling"
        )
        server.start()
        try:
            assert broker.poll(20_000)
            route, hello = broker.recv_multipart()
            offered = _HELLO.unpack(split(hello)[1][0][0])[6]
            wait_until(server.node.slots)
            python = sys.version_info[0] << 8 | sys.version_info[1]
            welcome = _WELCOME.pack(0, 100, 1 << 20, 15_000, 1, python, 0, 0, 0, 0, 0, 0, 4) + b"hand"
            broker.send_multipart([route, message(KINDS["WELCOME"], [welcome])])
            wait_until(lambda: offered == 1 or latest_offer(broker) == 1, "the slot was never offered".__str__)
        finally:
            server.close()


def latest_offer(broker: "zmq.Socket[bytes]") -> int:
    """The CPU slots in the message that is there, if it tells of any."""
    if not broker.poll(100):
        return 0
    kind, records = split(broker.recv_multipart()[1])
    return int(_CREDIT.unpack(records[0][0])[3]) if kind == KINDS["CREDIT"] else 0
