# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that dial a broker, and brokers that dial brokers: the way through firewalls and on clusters."""

import json
import signal
from pathlib import Path

import pytest

import covey
from chores import marked, places
from covey.keys.connection import ConnectionFile
from covey.wire.protocol import PROTOCOL
from hosts import PORT, Lab, pids_marked
from waiting import wait_until

pytestmark = pytest.mark.slow


def test_two_nodes_and_a_client_meet_at_a_broker(lab: Lab) -> None:
    _, path = lab.broker(lab.alpha)
    lab.node_of(lab.alpha, path)
    lab.node_of(lab.beta, path)
    with lab.gamma.client(path) as client:
        assert list(client.map(lambda x: x * x, range(2000))) == [x * x for x in range(2000)]
        wait_until(lambda: places(client) == {"alpha", "beta"}, client.__repr__)


def test_a_broker_works_for_a_broker(lab: Lab) -> None:
    _, top = lab.broker(lab.alpha, file="top.json")
    _, bottom = lab.broker(lab.beta, "--connect", top, file="bottom.json")
    lab.node_of(lab.gamma, bottom)
    with lab.alpha.client(top) as above, lab.gamma.client(bottom) as below:
        assert list(above.map(lambda x: x * x, range(2000))) == [x * x for x in range(2000)]
        assert places(above) == places(below) == {"gamma"}


def test_a_node_joins_and_another_leaves_mid_run(lab: Lab, tmp_path: Path) -> None:
    _, path = lab.broker(lab.alpha)
    early = lab.node_of(lab.beta, path)
    with lab.alpha.client(path) as client:
        futures = [client.submit(marked(str(tmp_path)), number) for number in range(100)]
        wait_until(lambda: (tmp_path / "beta").exists(), client.__repr__)
        lab.node_of(lab.gamma, path)
        wait_until(lambda: (tmp_path / "gamma").exists(), client.__repr__)
        assert early.stop() == 0
        assert [future.result(30) for future in futures] == list(range(100))
        assert places(client) == {"gamma"}


def test_a_broker_waits_for_nodes_and_for_the_broker_above(lab: Lab) -> None:
    above = str(lab.folder / "above.json")
    ConnectionFile.of(lab.secret, [f"tcp://{lab.beta.ip}:{PORT}"], protocol=PROTOCOL, version="0").write(above)
    lonely, path = lab.broker(lab.alpha, "--connect", above)
    lonely.wait_said("above.json is not there: nobody listens there .*; it is joined when it comes")
    lab.node_of(lab.gamma, path)
    with lab.alpha.client(path) as client:
        assert places(client) == {"gamma"}
        lab.broker(lab.beta, file="above.json")
        lonely.wait_said("above.json is there now")
        with lab.beta.client(above) as higher:
            assert places(higher) == {"gamma"}


@pytest.mark.faults
def test_a_restarted_broker_is_found_again(lab: Lab, tmp_path: Path) -> None:
    broker, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    with lab.gamma.client(path) as client:
        futures = [client.submit(marked(str(tmp_path)), number) for number in range(60)]
        wait_until(lambda: (tmp_path / "beta").exists(), client.__repr__)
        broker.kill()
        # Without an address: it stands in the file.
        again = lab.alpha.covey("broker", path)
        again.wait_said("covey broker: at")
        assert [future.result(30) for future in futures] == list(range(60))
        assert places(client) == {"beta"}


def test_two_clients_of_a_broker_are_served_at_once(lab: Lab) -> None:
    _, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    with lab.alpha.client(path) as first, lab.gamma.client(path) as second:
        ones = first.map(lambda x: x + 1, range(500))
        twos = second.map(lambda x: x + 2, range(500))
        assert list(ones) == list(range(1, 501))
        assert list(twos) == list(range(2, 502))


def test_a_key_for_one_role_opens_no_other(lab: Lab) -> None:
    _, path = lab.broker(lab.alpha)
    whole = ConnectionFile.read(path)
    for role in ("client", "node"):
        whole.for_role(role).write(lab.folder / f"{role}.json")
    refused = lab.beta.covey("node", "--connect", str(lab.folder / "client.json"), "--max-cpu", "1")
    assert refused.wait_end() == 1
    assert "holds the key of a client, and not of a node" in refused.said
    with pytest.raises(covey.KeyRefused, match="holds the key of a node, and not of a client"):
        covey.Client(lab.folder / "node.json")
    lab.node_of(lab.beta, str(lab.folder / "node.json"))
    with lab.gamma.client(lab.folder / "client.json") as client:
        assert client.submit(abs, -7).result(20) == 7


def test_a_killed_node_is_missed_at_once_and_its_name_is_free(lab: Lab, tmp_path: Path) -> None:
    _, path = lab.broker(lab.alpha)
    doomed = lab.node_of(lab.beta, path)

    def hold(folder: str) -> str | None:
        import os
        import signal

        import covey

        here = covey.current()
        assert here is not None
        open(os.path.join(folder, str(here.node)), "w").close()
        while here.node == "beta":
            signal.pause()
        return here.node

    with lab.alpha.client(path) as client:
        future = client.submit(hold, str(tmp_path))
        wait_until(lambda: (tmp_path / "beta").exists(), client.__repr__)
        doomed.kill()
        lab.node_of(lab.gamma, path)
        # A lease would be 15 seconds.
        assert future.result(6) == "gamma"
        lab.node_of(lab.beta, path)
        wait_until(lambda: places(client) == {"beta", "gamma"}, client.__repr__)


def test_a_manager_who_is_done_does_not_end_a_broker_that_he_shares(lab: Lab) -> None:
    broker, path = lab.broker(lab.alpha)
    node = lab.node_of(lab.beta, path)
    manager = lab.gamma.script(f"""
        import json, covey
        with covey.distribute(abs, machines=[{lab.alpha.ip!r}], max_cpu=0) as dabs:
            print(json.dumps(dabs([-1, -2])))
    """)
    assert manager.result() == [1, 2]
    with lab.gamma.client(path) as client:
        assert client.submit(abs, -7).result(20) == 7
        assert places(client) == {"beta"}
    assert (broker.process.poll(), node.process.poll()) == (None, None)
    # Whom it dialled may end it: the broker above, when it has been asked to let it go.
    _, top = lab.broker(lab.gamma, file="top.json")
    below, _ = lab.broker(lab.beta, "--connect", top, file="below.json")
    drained = lab.gamma.covey("drain", "broker-beta", "--connect", top)
    assert drained.wait_end() == 0, drained.picture()
    assert below.wait_end() == 0


def test_a_node_without_a_name_is_called_as_status_calls_it(lab: Lab) -> None:
    _, path = lab.broker(lab.alpha)
    lab.beta.covey("node", "--connect", path, "--max-cpu", "1").wait_said("for the broker of")
    with lab.gamma.client(path) as client:
        name, = places(client)
    shown = lab.gamma.covey("status", path, "--json")
    assert shown.wait_end() == 0
    assert [node["name"] for node in json.loads(shown.printed)["nodes"]] == [name]


GPU_NODE = """
    import sys
    from covey.keys.connection import ConnectionFile
    from covey.node.counts import Counted
    from covey.node.devices import Gpu
    from covey.node.machines import Machine
    from covey.node.memory import Memory
    from covey.node.offer import Offer
    from covey.node.server import NodeServer
    offer = Offer(0, Counted(1, "a test"), (Gpu("GPU-1", "Fake", 8, 8, 0),), "a test", Memory(1, 1, "a test"))
    file = ConnectionFile.read({path!r})
    upstream = ([Machine.of_broker({path!r}, address) for address in file.addresses], file.keys("node"))
    NodeServer(offer, upstream=upstream, name="with GPU").run(lambda: print("up", flush=True))
"""


def test_calls_for_a_gpu_wait_at_a_broker_until_one_joins(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    _, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    with lab.alpha.client(path) as client:
        view = client.options(gpu=1)
        future = view.submit(lambda: getattr(covey.current(), "node", None))
        view.options(priority=3)
        said = [message for message in caplog.messages if "GPU" in message]
        assert said == ["options(gpu=1): the broker has no GPU slot yet; calls wait until a node with one joins"]
        assert client.submit(abs, -1).result(20) == 1
        assert not future.done()
        lab.gamma.script(GPU_NODE.format(path=path)).wait_printed("up")
        assert future.result(30) == "with GPU"
        wait_until(lambda: client.gpu_slots, client.__repr__)
        caplog.clear()
        client.options(gpu=1)
        assert not caplog.messages


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_node_and_a_broker(lab: Lab, number: signal.Signals) -> None:
    broker, path = lab.broker(lab.alpha)
    node = lab.node_of(lab.beta, path)
    with lab.gamma.client(path) as client:
        assert client.submit(abs, -1).result(20) == 1
    assert (node.stop(number), broker.stop(number)) == (0, 0), node.picture() + broker.picture()
    wait_until(lambda: not pids_marked(), pids_marked)
