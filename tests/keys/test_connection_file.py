# SPDX-License-Identifier: BSD-3-Clause
"""The connection file: what is in it, who can read it, what becomes of torn ones, and what a restarted broker keeps."""
import copy
import io
import json
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from covey.errors import KeyRefused, NotPicklable
from covey.keys.connection import ConnectionFile, find_connection
from covey.keys.secret import Secret
from covey.settings import Settings
from forms import ROOT, shown, told

SECRET = Secret(ROOT)
KEYS = SECRET.keys()
SECRETS = [ROOT, KEYS.broker.secret, KEYS.client.secret, KEYS.node.secret]
HERE = "tcp://login.lab:2718"
FOUND = ConnectionFile.of(SECRET, [HERE, "ipc:///run/covey"], protocol=2, version="1.0", name="lab")


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def keep(path: Path, *addresses: str, secret: Secret = SECRET, protocol: int = 2) -> ConnectionFile:
    return ConnectionFile.keep_or_make(path, secret, addresses, protocol=protocol, version="1.0")


def written(folder: Path, text: bytes | str) -> Path:
    path = folder / "lab.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    content = json.loads(FOUND.file_bytes())
    change(content)
    return json.dumps(content)


def test_a_person_can_read_it() -> None:
    assert FOUND.file_bytes().decode() == f"""{{
  "addresses": [
    "tcp://login.lab:2718",
    "ipc:///run/covey"
  ],
  "broker": {{
    "host": "login.lab",
    "name": "lab",
    "public": "{KEYS.broker.public.hex()}"
  }},
  "covey": "1.0",
  "format": 1,
  "keys": {{
    "client": "{KEYS.client.secret.hex()}",
    "node": "{KEYS.node.secret.hex()}"
  }},
  "protocol": 2
}}
"""


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    FOUND.write(path)
    assert ConnectionFile.read(path) == FOUND
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["lab.json"]


def test_it_holds_what_each_role_needs_to_dial_and_not_the_brokers_secret() -> None:
    assert FOUND.keys("client") == KEYS.peer("client")
    assert FOUND.keys("node") == KEYS.peer("node")
    assert not shown(FOUND.file_bytes().decode(), [ROOT, KEYS.broker.secret])
    assert FOUND.fingerprint == SECRET.fingerprint


def test_a_copy_for_one_role_has_no_other_key(tmp_path: Path) -> None:
    FOUND.for_role("node").write(tmp_path / "node.json")
    found = ConnectionFile.read(tmp_path / "node.json")
    assert found.keys("node") == KEYS.peer("node")
    assert not shown((tmp_path / "node.json").read_text(), [KEYS.client.secret])
    with pytest.raises(KeyRefused) as caught:
        found.keys("client")
    assert str(caught.value) == (f"{tmp_path}/node.json holds the key of a node, and not of a client: copy the "
                                 "broker's own file, or make one with `covey keys new --role client`")


def test_it_comes_on_standard_input() -> None:
    assert ConnectionFile.read("-", io.BytesIO(FOUND.file_bytes())) == FOUND
    with pytest.raises(KeyRefused, match="standard input is torn or not a connection file: copy it anew"):
        ConnectionFile.read("-", io.BytesIO(FOUND.file_bytes()[:-9]))


def test_it_is_not_typed_at_a_terminal() -> None:
    with pytest.raises(KeyRefused, match=r"standard input is a terminal, .*: pipe it in"):
        ConnectionFile.read("-", Terminal(FOUND.file_bytes()))


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(KeyRefused, match="standard input is closed: pipe the connection file in, or name its path"):
        ConnectionFile.read("-")


def test_one_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    with pytest.raises(KeyRefused) as caught:
        ConnectionFile.read(path)
    assert str(caught.value) == (f"the connection file {path} is not there: start `covey broker {path}`, make it with "
                                 "`covey keys new`, or copy it from where the broker runs")


def test_one_that_others_can_read(tmp_path: Path) -> None:
    path = written(tmp_path, FOUND.file_bytes())
    path.chmod(0o644)
    with pytest.raises(KeyRefused, match=f"the connection file {path} can be read or changed by others .mode 0644"):
        ConnectionFile.read(path)


TORN = {
    "empty": "",
    "not text": b"\xff\xfe\x00",
    "a key file": ROOT.hex() + "\n",
    "half": FOUND.file_bytes()[:200],
    "a list": "[]",
    "nested": "[" * 50_000,
    "no format": changed(lambda c: c.pop("format")),
    "format as a truth": changed(lambda c: c.update(format=True)),
    "no addresses": changed(lambda c: c.pop("addresses")),
    "addresses as text": changed(lambda c: c.update(addresses=HERE)),
    "addresses as names": changed(lambda c: c.update(addresses={HERE: 1})),
    "an address as a number": changed(lambda c: c.update(addresses=[2718])),
    "an address that nobody can dial": changed(lambda c: c.update(addresses=["tcp://*:2718"])),
    "no keys": changed(lambda c: c.update(keys={})),
    "keys of other roles": changed(lambda c: c.update(keys={"broker": ROOT.hex()})),
    "keys as text": changed(lambda c: c.update(keys="client")),
    "a short key": changed(lambda c: c["keys"].update(node="abcd")),
    "a key as a number": changed(lambda c: c["keys"].update(node=5)),
    "no broker": changed(lambda c: c.pop("broker")),
    "broker as text": changed(lambda c: c.update(broker="lab")),
    "a short public key": changed(lambda c: c["broker"].update(public="ab")),
    "a name that paints": changed(lambda c: c["broker"].update(name="\x1b[2J")),
    "a name as a number": changed(lambda c: c["broker"].update(name=5)),
    "protocol as text": changed(lambda c: c.update(protocol="2")),
    "version as a number": changed(lambda c: c.update(covey=1)),
}


@pytest.mark.parametrize("text", TORN.values(), ids=TORN.keys())
def test_one_that_is_torn_or_something_else(tmp_path: Path, text: bytes | str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(KeyRefused) as caught:
        ConnectionFile.read(path)
    assert str(caught.value) == f"{path} is torn or not a connection file: copy it anew from where the broker runs"
    assert not shown(told(caught.value), SECRETS)


def test_one_of_another_format(tmp_path: Path) -> None:
    path = written(tmp_path, '{"format": 7, "anything": 1}')
    with pytest.raises(KeyRefused) as caught:
        ConnectionFile.read(path)
    assert str(caught.value) == (f"{path} is a connection file of format 7, and this covey reads format 1: use the "
                                 "same covey here and where the broker runs")


def test_what_a_later_covey_adds_is_passed_over(tmp_path: Path) -> None:
    assert ConnectionFile.read(written(tmp_path, changed(lambda c: c.update(more=1, protocol=9)))).protocol == 9


def test_a_restarted_broker_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    made = keep(path, HERE)
    before = path.stat()
    assert keep(path) == made == ConnectionFile.read(path)
    assert path.stat() == before, "nothing changed, so nothing was written"


def test_a_restarted_broker_may_listen_elsewhere_with_the_same_keys(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    made = keep(path, HERE)
    moved = keep(path, "tcp://spare:2719", protocol=3)
    assert (moved.addresses, moved.host, moved.protocol) == (("tcp://spare:2719",), "spare", 3)
    assert (moved.broker, moved.pairs, moved.name) == (made.broker, made.pairs, made.name)
    assert ConnectionFile.read(path) == moved


def test_a_file_made_in_advance_keeps_its_name_addresses_and_roles(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    FOUND.for_role("node").create(path)
    assert keep(path) == FOUND.for_role("node")


def test_two_brokers_that_start_together_have_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other makes it after this one saw that there was none."""
    path = tmp_path / "lab.json"
    other = keep(path, HERE)
    monkeypatch.setattr("os.path.lexists", lambda path: False)
    assert keep(path) == other


def test_a_broker_with_another_key_does_not_take_the_file_over(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    keep(path, HERE)
    other = Secret(ROOT[::-1])
    with pytest.raises(KeyRefused) as caught:
        keep(path, secret=other)
    assert str(caught.value) == (
        f"{path} was made with another key (fingerprint {SECRET.fingerprint}) than this broker has "
        f"({other.fingerprint}): name the right one with COVEY_KEY_FILE, or, if the key was rotated, remove {path}, "
        "start again, and copy the new file to the peers")
    assert not shown(told(caught.value), [*SECRETS, ROOT[::-1]])


def test_a_broker_does_not_repair_a_torn_file(tmp_path: Path) -> None:
    path = written(tmp_path, "{")
    with pytest.raises(KeyRefused, match="is torn or not a connection file"):
        keep(path, HERE)
    assert path.read_text() == "{"


def test_making_one_does_not_replace_another(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    FOUND.create(path)
    with pytest.raises(KeyRefused, match="is there already, and peers may depend on it: name another, or remove it"):
        FOUND.create(path)


def test_addresses_are_looked_at_before_they_are_written(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="means every interface"):
        keep(tmp_path / "lab.json", "tcp://*:2718")
    assert list(tmp_path.iterdir()) == []


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    text = f"{FOUND!r} {FOUND} {FOUND.pairs!r} {FOUND.keys('node')!r} {[FOUND]}"
    assert not shown(text, SECRETS)
    assert repr(FOUND) == ("<ConnectionFile of lab on login.lab: tcp://login.lab:2718, ipc:///run/covey; keys: client, "
                           f"node; fingerprint {SECRET.fingerprint}>")
    (tmp_path / "file").touch()
    with pytest.raises(KeyRefused) as caught:
        FOUND.write(tmp_path / "file" / "lab.json")
    assert not shown(told(caught.value), SECRETS)


def test_it_does_not_travel_in_a_pickle() -> None:
    for travel in (pickle.dumps, copy.deepcopy):
        with pytest.raises(NotPicklable, match="send a connection file over ssh instead"):
            travel(FOUND)


def test_which_file_to_use() -> None:
    settings = Settings(connection="/named")
    assert find_connection("/given", settings) == "/given"
    assert find_connection(None, settings) == "/named"
    assert find_connection(None, Settings()) is None


def test_the_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVEY_CONNECTION", "/lab.json")
    assert find_connection() == "/lab.json"
