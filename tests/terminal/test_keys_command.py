# SPDX-License-Identifier: BSD-3-Clause
"""`covey keys`: each action, each refusal, and that nothing secret is printed or can be an argument."""
import argparse
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from covey.keys.connection import ConnectionFile
from covey.keys.secret import Secret
from covey.terminal.keys import parser
from covey.terminal.main import main
from covey.wire.protocol import PROTOCOL
from whole_command import command

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Gives the command, for a user with an empty home; returns exit code, output and errors."""
    for name in ("COVEY_KEY_FILE", "COVEY_CONNECTION", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(["keys", *map(str, arguments)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def own(folder: Path) -> Path:
    return folder / ".config/covey/key"


def no_secret_in(folder: Path, text: str) -> None:
    """Whatever is written in hexadecimal in any file there, but the public halves."""
    for path in folder.rglob("*"):
        if path.is_file():
            written = path.read_text()
            hidden = [line.split('"')[3] for line in written.splitlines() if '"client":' in line or '"node":' in line]
            for secret in hidden or [written.strip()]:
                assert secret
                assert secret not in text


def test_new_makes_the_users_own_key(say: Say, tmp_path: Path) -> None:
    code, out, _ = say("new")
    made = Secret.read(own(tmp_path))
    assert code == 0
    assert out.startswith(f"made the key file {own(tmp_path)}, fingerprint {made.fingerprint}\n")
    no_secret_in(tmp_path, out)


def test_new_makes_one_at_a_path_or_where_the_variable_says(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say("new", tmp_path / "a")[0] == 0
    monkeypatch.setenv("COVEY_KEY_FILE", str(tmp_path / "b"))
    assert say("new")[0] == 0
    assert Secret.read(tmp_path / "a") != Secret.read(tmp_path / "b")
    assert not own(tmp_path).exists()


def test_new_does_not_replace_a_key(say: Say, tmp_path: Path) -> None:
    say("new")
    before = Secret.read(own(tmp_path))
    code, out, err = say("new")
    assert (code, out) == (1, "")
    assert err.startswith(f"covey keys: the key file {own(tmp_path)} is there already")
    assert Secret.read(own(tmp_path)) == before


def test_new_makes_a_connection_file_in_advance(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    code, out, _ = say("new", path, "--address", "tcp://login:2718", "--address", "tcp://10.0.0.1:2718")
    found = ConnectionFile.read(path)
    assert code == 0
    assert (found.addresses, found.name, found.host) == (("tcp://login:2718", "tcp://10.0.0.1:2718"), "lab", "login")
    assert found.protocol == PROTOCOL
    assert found.keys("node") == Secret.read(own(tmp_path)).keys().peer("node")
    assert found.keys("client") == Secret.read(own(tmp_path)).keys().peer("client")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert found.fingerprint in out
    no_secret_in(tmp_path, out)


def test_new_makes_one_for_a_role_under_any_name(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "lab"
    assert say("new", path, "--connection", "--role", "node", "--address", "tcp://login:2718")[0] == 0
    assert list(ConnectionFile.read(path).pairs) == ["node"]


def test_new_refuses_what_nobody_can_dial_or_what_is_there(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    code, _, err = say("new", path, "--address", "tcp://*:2718")
    assert (code, path.exists()) == (1, False)
    assert "means every interface" in err
    say("new", path, "--address", "tcp://login:2718")
    code, _, err = say("new", path, "--address", "tcp://login:2718")
    assert code == 1
    assert "is there already, and peers may depend on it" in err


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["new", "lab.json"], "a connection file needs at least one --address"),
    (["new", "--connection", "--address", "tcp://a:1"], "--connection needs the PATH"),
    (["new", "lab", "--address", "tcp://a:1"], "--address and --role are for a connection file"),
    (["new", "lab", "--role", "node"], "--address and --role are for a connection file"),
    (["new", "lab.json", "--role", "broker"], "invalid choice: 'broker'"),
    (["show-public", "--connection"], "--connection needs the PATH"),
    ([], "required: new | show-public | rotate"),
    (["new", "lab", "--key", "0123"], "unrecognized arguments"),
])
def test_what_cannot_be_understood_is_said(say: Say, arguments: list[str], sentence: str) -> None:
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err


def test_show_public_shows_the_same_for_the_same_secret(say: Say, tmp_path: Path) -> None:
    say("new", tmp_path / "lab.json", "--address", "tcp://login:2718")
    keys = Secret.read(own(tmp_path)).keys()
    code, of_key, _ = say("show-public")
    assert code == 0
    assert say("show-public", own(tmp_path)) == (0, of_key, "")
    code, of_file, _ = say("show-public", tmp_path / "lab.json")
    assert code == 0
    for line in (f"broker  {keys.broker.public.hex()}", f"client  {keys.client.public.hex()}",
                 f"node    {keys.node.public.hex()}"):
        assert line in of_key
        assert line in of_file
    fingerprint = f": fingerprint {Secret.read(own(tmp_path)).fingerprint}"
    assert fingerprint in of_key
    assert fingerprint in of_file
    assert "address tcp://login:2718" in of_file
    no_secret_in(tmp_path, of_key + of_file)


def test_show_public_makes_nothing(say: Say, tmp_path: Path) -> None:
    code, _, err = say("show-public")
    assert code == 1
    assert "is not there: make it with `covey keys new" in err
    assert list(tmp_path.iterdir()) == []


def test_show_public_refuses_what_others_can_read(say: Say, tmp_path: Path) -> None:
    say("new")
    own(tmp_path).chmod(0o644)
    code, _, err = say("show-public")
    assert code == 1
    assert f"chmod 600 {own(tmp_path)}" in err


def test_rotate_says_what_to_restart(say: Say, tmp_path: Path) -> None:
    say("new")
    before = Secret.read(own(tmp_path))
    code, out, _ = say("rotate")
    assert code == 0
    assert Secret.read(own(tmp_path)) != before == Secret.read(str(own(tmp_path)) + ".old")
    assert "3. Restart nodes, worker scripts and clients." in out
    no_secret_in(tmp_path, out)


def test_rotate_needs_a_key(say: Say, tmp_path: Path) -> None:
    code, _, err = say("rotate", tmp_path / "none")
    assert code == 1
    assert "is not there" in err


def test_no_option_takes_a_key() -> None:
    actions = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    options = {name for sub in actions.choices.values() for action in sub._actions for name in action.option_strings}
    assert options == {"-h", "--help", "--connection", "--address", "--role"}


def test_nothing_secret_is_in_arguments_or_environment_of_a_process(say: Say, tmp_path: Path) -> None:
    say("new")
    code = ("import os; from covey.keys.secret import Secret; secret = Secret.find(); "
            "print(open('/proc/self/cmdline').read(), {**os.environ})")
    done = command("-c", code, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    no_secret_in(tmp_path, done.stdout)
