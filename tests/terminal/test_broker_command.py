# SPDX-License-Identifier: BSD-3-Clause
"""`covey broker` and `covey node --listen`: what cannot be listened at is refused, and nothing is left of the try."""
import socket
from pathlib import Path

import pytest

from covey.errors import CoveyError, KeyRefused, PlaceTaken
from covey.keys.connection import ConnectionFile
from covey.keys.secret import Secret
from covey.terminal import broker, node
from covey.terminal.listening import checked_listen
from covey.wire.protocol import PROTOCOL


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVEY_KEY_FILE", str(tmp_path / "key"))
    (tmp_path / "key").write_text("17" * 32)
    (tmp_path / "key").chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("address", ["tcp://*:2718", "tcp://127.0.0.1:*", "tcp://[::1]:65535", "tcp://lab7:0"])
def test_a_host_and_a_port(address: str) -> None:
    assert checked_listen(address) == address


@pytest.mark.parametrize("address", [
    "tcp://127.0.0.1:99999", "tcp://127.0.0.1:65536", "127.0.0.1:20001", "udp://127.0.0.1:1", "tcp://127.0.0.1", "",
    "tcp://:1", "tcp://a b:1", "tcp://127.0.0.1:x"])
def test_anything_else_is_refused_by_both(address: str, home: Path) -> None:
    said = f"--listen {address}: write tcp://HOST:PORT, with a port up to 65535"
    for word in (lambda: broker.run([str(home / "b.json"), "--listen", address]),
                 lambda: node.run(["--max-cpu", "1", "--max-gpu", "0", "--listen", address])):
        if address:
            with pytest.raises(CoveyError) as caught:
                word()
            assert str(caught.value) == said
    with pytest.raises(CoveyError):
        checked_listen(address)
    assert not (home / "b.json").exists()


def test_a_broker_that_cannot_listen_leaves_no_file(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PlaceTaken):
        broker.run([str(home / "b.json"), "--listen", f"tcp://127.0.0.1:{taken.getsockname()[1]}"])
    assert [path.name for path in home.iterdir()] == ["key"]


@pytest.mark.parametrize("asked", ["tcp://127.0.0.1:*", "tcp://127.0.0.1:0", None])
def test_any_port_is_that_of_the_last_time(home: Path, asked: str | None) -> None:
    # Whoever lost a broker looks for it there. Here somebody else has come in between.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        last = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        ConnectionFile.of(Secret.find(), [last], protocol=PROTOCOL, version="0").write(home / "b.json")
        with pytest.raises(PlaceTaken, match=last.rpartition(":")[2]):
            broker.run([str(home / "b.json"), *(["--listen", asked] if asked else [])])


def test_a_name_that_cannot_be_is_refused_in_a_sentence(home: Path) -> None:
    with pytest.raises(CoveyError, match="a node's name has 1 to 254 bytes"):
        broker.run([str(home / "b.json"), "--name", ""])
    assert not (home / "b.json").exists()


def test_a_broker_makes_no_folder(home: Path) -> None:
    with pytest.raises(CoveyError, match=r"the folder .*nodir is not there"):
        broker.run([str(home / "nodir/b.json")])
    assert not (home / "nodir").exists()


def test_a_broker_whose_own_file_is_torn_says_to_remove_it(home: Path) -> None:
    (home / "b.json").write_text("{")
    (home / "b.json").chmod(0o600)
    with pytest.raises(KeyRefused, match=r"b\.json is torn or not a connection file: remove it, start again"):
        broker.run([str(home / "b.json")])
