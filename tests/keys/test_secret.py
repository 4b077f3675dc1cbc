# SPDX-License-Identifier: BSD-3-Clause
"""The shared secret: where it is found, made once, refused when it is not private, and never shown."""
import copy
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest

from covey.errors import KeyRefused, NotPicklable
from covey.keys.secret import Secret, key_path
from covey.settings import Settings
from forms import ROOT, shown, told

NONE = Settings()


def home(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder)}


def key_file(folder: Path, text: bytes) -> Path:
    path = folder / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    return path


def test_an_authkey_is_the_same_secret_everywhere() -> None:
    assert Secret.from_authkey("correct horse") == Secret.from_authkey(b"correct horse")
    assert Secret.from_authkey("correct horse").fingerprint == "16b35976", "machines with different coveys must agree"
    assert Secret.from_authkey("correct horsf") != Secret.from_authkey("correct horse")


def test_a_short_authkey_is_refused() -> None:
    with pytest.raises(KeyRefused) as caught:
        Secret.from_authkey("hunter2")
    assert str(caught.value) == ("authkey= has 7 bytes, and needs at least 8: take a longer one, or leave it out, and "
                                 "covey uses a key file")


def test_an_authkey_of_another_type_is_refused() -> None:
    with pytest.raises(KeyRefused, match="authkey= must be str or bytes, and not int"):
        Secret.from_authkey(12345678)  # type: ignore[arg-type]


def test_where_the_key_file_is(tmp_path: Path) -> None:
    assert key_path(NONE, home(tmp_path)) == str(tmp_path / ".config/covey/key")
    assert key_path(NONE, {"HOME": "/home/ann", "XDG_CONFIG_HOME": "/conf"}) == "/conf/covey/key"
    assert key_path(NONE, {"HOME": "/home/ann", "XDG_CONFIG_HOME": "relative"}) == "/home/ann/.config/covey/key"
    assert key_path(None, {"HOME": "/home/ann", "COVEY_KEY_FILE": "/k"}) == "/k"


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    with pytest.raises(KeyRefused, match="no home directory for a key file: set COVEY_KEY_FILE to the path of one"):
        key_path(NONE, {"HOME": "nowhere"})


def test_the_users_own_key_is_made_on_first_use_and_then_kept(tmp_path: Path) -> None:
    made = Secret.find(settings=NONE, environ=home(tmp_path))
    path = tmp_path / ".config/covey/key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert len(text) == 65
    assert text == text.strip().lower() + "\n"
    assert Secret.find(settings=NONE, environ=home(tmp_path)) == made == Secret.read(path)


def test_the_order_of_sources(tmp_path: Path) -> None:
    named = Secret.make(tmp_path / "named")
    own = Secret.find(settings=NONE, environ=home(tmp_path))
    settings = Settings(key_file=str(tmp_path / "named"))
    assert Secret.find(settings=settings, environ=home(tmp_path)) == named != own
    assert Secret.find("correct horse", settings=settings) == Secret.from_authkey("correct horse")


def test_a_named_key_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "typo"
    with pytest.raises(KeyRefused) as caught:
        Secret.find(settings=Settings(key_file=str(path)))
    assert str(caught.value) == (f"the key file {path} is not there: make it with `covey keys new {path}`, or copy it "
                                 "from a machine that has it")
    assert not path.exists()


def test_who_comes_second_takes_the_first_ones_key(tmp_path: Path) -> None:
    """The other process makes its key after this one saw that there was none."""
    others: list[Secret] = []

    def slow(size: int) -> bytes:
        others.append(Secret.find(settings=NONE, environ=home(tmp_path)))
        return os.urandom(size)

    assert Secret.find(settings=NONE, environ=home(tmp_path), random=slow) == others[0]


@pytest.mark.slow
def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    code = ("import sys; from covey.keys.secret import Secret; print('ready', flush=True); sys.stdin.readline(); "
            "print(Secret.find().fingerprint)")
    environment = {**os.environ, **home(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in ("XDG_CONFIG_HOME", "COVEY_KEY_FILE"):
        environment.pop(name, None)
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = {process.communicate(timeout=20)[0] for process in started}
    assert found == {Secret.read(tmp_path / ".config/covey/key").fingerprint + "\n"}
    assert [path.name for path in (tmp_path / ".config/covey").iterdir()] == ["key"]


def test_a_new_key_never_replaces_another(tmp_path: Path) -> None:
    first = Secret.make(tmp_path / "k")
    with pytest.raises(KeyRefused, match=r"is there already, and others may depend on it: `covey keys rotate .*k`"):
        Secret.make(tmp_path / "k")
    assert Secret.read(tmp_path / "k") == first


@pytest.mark.parametrize("text", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"ab" * 31 + b"a", b"xy" * 32, b"\xff" * 64])
def test_a_torn_key_file_is_refused(tmp_path: Path, text: bytes) -> None:
    path = key_file(tmp_path, text)
    with pytest.raises(KeyRefused) as caught:
        Secret.read(path)
    assert str(caught.value) == (f"the key file {path} is torn or no key (a key is 64 hexadecimal characters): copy it "
                                 "anew, or remove it and make another with `covey keys new`")


def test_somebodys_other_file_is_no_key_file(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"root:x:0:0:root:/root:/bin/sh\n")
    path.chmod(0o644)
    with pytest.raises(KeyRefused) as caught:
        Secret.read(path)
    assert str(caught.value) == f"the key file {path} is none that covey wrote: name the right file"


def test_an_edited_key_file_is_read(tmp_path: Path) -> None:
    assert Secret.read(key_file(tmp_path, ROOT.hex().upper().encode() + b"\r\n")) == Secret(ROOT)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, ROOT.hex().encode())
    path.chmod(mode)
    with pytest.raises(KeyRefused, match=f"the key file {path} can be read or changed by others .* chmod 600 {path}"):
        Secret.read(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, ROOT.hex().encode())
    os.chown(path, 65534, 65534)
    with pytest.raises(KeyRefused, match="belongs to user 65534, and this process runs as user 0"):
        Secret.read(path)


def test_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / ".config").touch()
    with pytest.raises(KeyRefused, match=r"cannot be (written|read) \((Not a directory|File exists)\)"):
        Secret.find(settings=NONE, environ=home(tmp_path))


def test_fingerprints_are_equal_for_equal_secrets_only() -> None:
    assert Secret(ROOT).fingerprint == Secret(bytes(ROOT)).fingerprint != Secret(ROOT[::-1]).fingerprint
    assert len(Secret(ROOT).fingerprint) == 8
    assert {Secret(ROOT), Secret(bytes(ROOT))} == {Secret(ROOT)}


def test_a_secret_is_not_shown() -> None:
    secret = Secret(ROOT)
    text = f"{secret!r} {secret} {[secret]} {secret.file_bytes!r}"
    assert not shown(text, [ROOT])
    assert secret.fingerprint in text
    assert not hasattr(secret, "__dict__")


def test_a_secret_does_not_travel() -> None:
    for travel in (pickle.dumps, cloudpickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(NotPicklable, match="must not travel: copy the key file over ssh"):
            travel(Secret(ROOT))


def test_no_error_tells_the_secret(tmp_path: Path) -> None:
    """Not even to whoever prints the locals of each frame."""
    torn = key_file(tmp_path, ROOT.hex().encode() + b"00")
    shut = tmp_path / "file"
    shut.touch()
    for fail in (
        lambda: Secret.read(torn),
        lambda: Secret.make(torn, lambda size: ROOT),
        lambda: Secret.make(shut / "key", lambda size: ROOT),
        lambda: pickle.dumps(Secret(ROOT)),
    ):
        with pytest.raises((KeyRefused, NotPicklable)) as caught:
            fail()
        assert not shown(told(caught.value), [ROOT])


def test_that_look_would_see_one() -> None:
    careless = compile("def fail(secret):\n    raise ValueError('no')\n", "/src/covey/careless.py", "exec")
    names: dict[str, Callable[[bytes], None]] = {}
    exec(careless, names)
    with pytest.raises(ValueError) as caught:
        names["fail"](ROOT)
    assert shown(told(caught.value), [ROOT])
