# SPDX-License-Identifier: BSD-3-Clause
"""What a loop does while it waits for somebody whom it has dialled."""

import socket
import threading
import time

import pytest

from covey.broker.loop import Loop
from covey.keys.secret import Secret
from covey.settings import Settings

pytestmark = pytest.mark.slow


def test_waiting_for_one_who_does_not_answer_takes_no_core() -> None:
    keys = Secret(b"k" * 32).keys().peer("node")
    used: list[float] = []
    loop = Loop(Settings(), "inproc://dials-a-mute")

    def run() -> None:
        loop.run()
        used.append(time.thread_time())

    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(10)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
            loop.dial(address, False, (keys.broker, keys.own.public, keys.own.secret))
            begun = time.monotonic()
            line, _ = mute.accept()
            with line:
                line.settimeout(10)
                # It greets, waits two seconds for a greeting in return, and hangs up.
                while line.recv(4096):
                    pass
            waited = time.monotonic() - begun
        finally:
            loop.stop()
            thread.join()
    assert waited > 1.0
    assert used[0] < waited / 10, f"{used[0]:.2f} s of a core in a wait of {waited:.2f} s"
