# SPDX-License-Identifier: BSD-3-Clause
"""How a client ends: by shutdown, by `with`, in the garbage, and what survives it."""

import gc
import os
import threading
import weakref

import pytest

import covey
from covey.errors import ClientClosed
from gates import hold
from waiting import wait_until


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or before it is read
        return True


def test_what_was_taken_is_completed(gate):
    client = covey.Client(max_cpu=2)
    held = [client.submit(hold, gate.folder, i) for i in range(5)]
    gate.wait_arrivals(2)
    gate.open()
    client.shutdown()
    assert [future.result() for future in held] == [0, 1, 2, 3, 4]
    client.shutdown()
    assert client.closed


def test_shutdown_may_leave_at_once(gate):
    client = covey.Client(max_cpu=1)
    future = client.submit(hold, gate.folder, 7)
    gate.wait_arrivals(1)
    client.shutdown(wait=False)
    assert not future.done()
    with pytest.raises(ClientClosed):
        client.submit(abs, 1)
    gate.open()
    assert future.result() == 7


def test_shutdown_may_cancel_what_waits(gate):
    client = covey.Client(max_cpu=1)
    first = client.submit(hold, gate.folder, 7)
    gate.wait_arrivals(1)
    wait_until(first.running)
    waiting = [client.submit(hold, gate.folder) for _ in range(10)]
    client.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert first.result() == 7
    assert all(future.cancelled() for future in waiting)
    client.shutdown()


def test_many_threads_may_shut_down():
    client = covey.Client(max_cpu=1)
    future = client.submit(abs, -1)
    threads = [threading.Thread(target=client.shutdown) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert future.result() == 1


def test_a_map_outlives_its_client():
    with covey.Client(max_cpu=2) as client:
        results = client.map(abs, range(-5000, 0))
    assert list(results) == list(range(5000, 0, -1))


def test_an_error_in_the_block_is_the_one_that_is_seen():
    with pytest.raises(LookupError), covey.Client(max_cpu=1) as client:
        future = client.submit(abs, -1)
        raise LookupError
    assert future.result() == 1


def test_ctrl_c_in_the_block_stops_everything(gate):
    with pytest.raises(KeyboardInterrupt), covey.Client(max_cpu=1) as client:
        future = client.submit(hold, gate.folder)
        (pid,) = gate.wait_arrivals(1)
        raise KeyboardInterrupt
    assert gone(pid)
    with pytest.raises(ClientClosed, match="stopped before"):
        future.result()


def test_a_killed_client_stays_closed(gate):
    client = covey.Client(max_cpu=1)
    future = client.submit(hold, gate.folder)
    (pid,) = gate.wait_arrivals(1)
    client.kill()
    client.kill()
    client.shutdown()
    assert gone(pid)
    with pytest.raises(ClientClosed):
        future.result()


def test_the_garbage_closes_a_client():
    client = covey.Client(max_cpu=1)
    pid = client.submit(os.getpid).result()
    reference = weakref.ref(client)
    del client
    gc.collect()
    wait_until(lambda: gone(pid))
    wait_until(lambda: reference() is None)


def test_futures_outlive_their_client(gate):
    future = covey.Client(max_cpu=1).submit(hold, gate.folder, 7)
    gc.collect()
    gate.wait_arrivals(1)
    gate.open()
    assert future.result() == 7
    del future
    gc.collect()


def test_nothing_is_left_in_the_file_system():
    client = covey.Client(max_cpu=2)
    folder = client.folder
    assert os.stat(folder).st_mode & 0o777 == 0o700
    client.submit(abs, 1).result()
    client.shutdown()
    assert not os.path.exists(folder)
