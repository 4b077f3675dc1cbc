# SPDX-License-Identifier: BSD-3-Clause
"""Who is not let in, or not as what, and what both sides are told of it."""

import os
import socket
from pathlib import Path

import pytest
from zmq.utils import z85

from callers import ASKER, DOER, PYTHON, VERSION_BYTES, caller, greeting, hello, kind_of, mechanism_of, refusal
from covey.keys.connection import ConnectionFile
from covey.keys.pairs import ROLES, PeerKeys, Role
from covey.keys.secret import Secret
from figures import Figures
from hosts import PORT, Host, Lab
from waiting import wait_until

pytestmark = pytest.mark.slow


def answer(lab: Lab, host: Host, data: bytes, keys: PeerKeys | None, deadline: float = 5.0) -> bytes | None:
    """What the gate of `host` says to a caller from gamma who opens with `data`."""

    def ask() -> bytes | None:
        with caller(f"tcp://{host.ip}:{PORT}", keys) as found:
            return found.ask(data, deadline)

    return lab.gamma.inside(ask)


def keys_of(lab: Lab, role: Role) -> PeerKeys:
    return lab.secret.keys().peer(role)


def test_the_key_decides_the_role(lab: Lab) -> None:
    lab.beta.listening()
    for role, right, wrong in ((ROLES[0], ASKER, DOER), (ROLES[1], DOER, ASKER)):
        keys = keys_of(lab, role)
        assert kind_of(answer(lab, lab.beta, hello(right), keys) or b"") == "WELCOME"
        assert f"the key it came with is a {role}'s" in refusal(answer(lab, lab.beta, hello(wrong), keys) or b"")


def test_another_python_is_refused_by_name(lab: Lab) -> None:
    node = lab.beta.listening()
    said = refusal(answer(lab, lab.beta, hello(ASKER, python=PYTHON + 1), keys_of(lab, "client")) or b"")
    assert "Python is another minor version" in said
    here, there = (".".join(map(str, divmod(python, 256))) for python in (PYTHON, PYTHON + 1))
    assert f"({there} calls {here})" in said
    node.wait_said("another minor version", deadline=5.0)


def test_another_protocol_is_refused_by_name(lab: Lab) -> None:
    node = lab.beta.listening()
    data = bytearray(hello(ASKER))
    data[4] += 1                # the header's version
    said = refusal(answer(lab, lab.beta, bytes(data), keys_of(lab, "client")) or b"")
    assert "another version of covey's protocol" in said
    node.wait_said("another version of covey's protocol", deadline=5.0)


def test_a_key_that_differs_is_said_on_both_sides(lab: Lab) -> None:
    node = lab.beta.listening()
    other = Secret(os.urandom(32))
    lab.alpha.give_key(other)
    manager = lab.alpha.script(f"""
        import covey
        with covey.Client(machines=[{lab.beta.ip!r}], max_cpu=0) as client:
            client.submit(abs, 1).result()
    """)
    assert manager.wait_end() == 1
    _, _, there = manager.said.rpartition("NobodyThere: ")
    here = node.wait_said("was kept out")
    assert other.fingerprint in there
    assert "key file" in there
    assert lab.secret.fingerprint in here
    assert f"somebody at {lab.alpha.ip} with" in here
    assert "key file" in here


def test_the_second_node_of_a_name_says_why_it_does_nothing(lab: Lab) -> None:
    broker, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    twin = lab.node_of(lab.gamma, path, "--name", "beta")
    twin.wait_said("a node of the same name is connected already", deadline=6.0)
    broker.wait_said("turned away .*: beta: a node of the same name", deadline=6.0)


def test_a_refusal_is_not_called_an_absence(lab: Lab) -> None:
    _, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    twin = lab.node_of(lab.gamma, path, "--name", "beta")
    line = twin.wait_said("turns us away", deadline=6.0)
    address = f"tcp://{lab.alpha.ip}:{PORT}"
    assert f"the broker of {path} ({address}) turns us away: a node of the same name is connected already" in line
    assert "is not there" not in twin.said


def test_a_port_in_use_names_the_process(lab: Lab) -> None:
    first = lab.beta.listening()
    second = lab.beta.covey("node", "--listen", "--max-cpu", "1")
    assert second.wait_end() == 1
    assert f"port {PORT} is in use by" in second.said
    assert f"(pid {first.pid})" in second.said
    assert "Traceback" not in second.said


def test_a_connection_file_that_others_read_or_that_is_torn_is_refused(lab: Lab) -> None:
    path = lab.folder / "lab.json"
    whole = ConnectionFile.of(lab.secret, [f"tcp://{lab.alpha.ip}:{PORT}"], protocol=2, version="0")
    whole.write(path)
    path.chmod(0o644)
    open_to_all = lab.beta.covey("node", "--connect", str(path), "--max-cpu", "1")
    assert open_to_all.wait_end() == 1
    assert "chmod 600" in open_to_all.said
    path.chmod(0o600)
    path.write_bytes(whole.file_bytes()[:200])
    torn = lab.beta.covey("node", "--connect", str(path), "--max-cpu", "1")
    assert torn.wait_end() == 1
    assert "torn" in torn.said
    assert "Traceback" not in open_to_all.said + torn.said


def listeners(host: Host) -> set[int]:
    """The TCP ports at which somebody listens there."""

    def look() -> set[int]:
        found = set()
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    found.add(int(fields[1].rpartition(":")[2], 16))
        return found

    return host.inside(look)


def test_every_port_speaks_curve_and_nothing_else(lab: Lab, figures: Figures) -> None:
    _, path = lab.broker(lab.alpha)
    lab.alpha.worker("max_cpu=1, port=3001")
    lab.alpha.covey("node", "--listen", f"tcp://{lab.alpha.ip}:3002", "--max-cpu", "1").wait_said("slots?, at")
    lab.alpha.covey("node", "--listen", "tcp://127.0.0.1:3003", "--max-cpu", "1").wait_said("slots?, at")
    lab.node_of(lab.alpha, path)
    with lab.alpha.client(path) as client:
        assert client.submit(abs, -1).result(20) == 1
        assert listeners(lab.alpha) == {PORT, 3001, 3002, 3003}
        for port in listeners(lab.alpha):
            ip = "127.0.0.1" if port == 3003 else lab.alpha.ip
            line = lab.alpha.inside(lambda ip=ip, port=port: socket.create_connection((ip, port), timeout=5))
            with line:
                assert mechanism_of(line) == b"CURVE"
                line.sendall(greeting(b"NULL")[VERSION_BYTES:])
                # It hangs up: nothing that is sent in plain is read.
                assert line.recv(1) == b""
    figures.say("T20", "4 of 4 ports: CURVE, and a caller without it is hung up on")


def test_a_caller_without_a_key_gets_nothing(lab: Lab) -> None:
    lab.beta.listening()
    assert answer(lab, lab.beta, hello(ASKER), None, 1.0) is None


def test_no_key_is_seen_anywhere(lab: Lab, figures: Figures) -> None:
    words = "correct horse battery"
    broker, path = lab.broker(lab.alpha)
    programs = [
        broker, lab.node_of(lab.beta, path), lab.gamma.worker(f"max_cpu=1, port=3000, authkey={words!r}"),
        lab.gamma.listening(), lab.alpha.covey("keys", "show-public"), lab.alpha.covey("keys", "show-public", path),
    ]
    there = [f"{lab.gamma.ip}:3000"]
    with lab.gamma.client(path) as one, lab.alpha.client(machines=there, authkey=words, max_cpu=0) as other:
        assert one.submit(abs, -1).result(20) == other.submit(abs, -1).result(20) == 1
        # A key file where a connection file should be: it is read, refused, and not shown.
        programs.append(lab.alpha.covey("node", "--connect", str(lab.beta.key_file), "--max-cpu", "1"))
        assert programs[-1].wait_end() == 1
        wait_until(lambda: all(program.said or program.printed for program in programs))
        shown = {f"what {program.pid} said": (program.said + program.printed).encode() for program in programs}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for name in ("cmdline", "environ"):
                try:
                    shown[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
                except OSError:
                    continue            # it ended while we looked
    hidden = forms(lab.secret) | forms(Secret.from_authkey(words)) | {words.encode()}
    found = [place for place, text in shown.items() if any(secret in text for secret in hidden)]
    assert not found
    figures.say("T21", f"{len(shown):,} command lines, environments and logs: no key in any form")


def forms(secret: Secret) -> set[bytes]:
    """All that must be seen nowhere: each secret half, as bytes, in hexadecimal, and as ZeroMQ writes it."""
    keys = secret.keys()
    raw = [bytes.fromhex(secret.file_bytes().decode()), keys.broker.secret, keys.client.secret, keys.node.secret]
    return {form for key in raw for form in (key, key.hex().encode(), z85.encode(key))}
