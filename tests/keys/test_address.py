# SPDX-License-Identifier: BSD-3-Clause
"""An address in a connection file is one that a peer can dial."""
import pytest

from covey.errors import KeyRefused
from covey.keys.address import checked_address, host_of


@pytest.mark.parametrize("address", ["tcp://login:2718", "tcp://10.0.0.1:1", "tcp://[fe80::1%eth0]:65535",
                                     "tcp://a-b_c.example:80", "ipc:///tmp/x", "ipc://@name"])
def test_one_host_and_one_port_or_a_local_socket(address: str) -> None:
    assert checked_address(address) == address


@pytest.mark.parametrize("address", ["login", "login:2718", "tcp://login", "tcp://login:", "tcp://login:0", "tcp://:2718",
                                     "tcp://login:65536", "tcp://login:x", "tcp://a b:1", "http://login:80", "ipc://",
                                     "tcp://login:2718/x", "tcp://login:2718\n", "inproc://x", "tcp://login:*", ""])
def test_anything_else_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        checked_address(address)
    assert str(caught.value) == f"the address {address!r} cannot be dialled: write tcp://HOST:PORT or ipc://PATH"


@pytest.mark.parametrize("address", ["tcp://*:2718", "tcp://0.0.0.0:2718", "tcp://[::]:2718"])
def test_every_interface_is_no_address(address: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        checked_address(address)
    assert str(caught.value) == (f"the address {address} means every interface of this machine, and other machines "
                                 "cannot dial that: name the host as they know it")


def test_the_host_is_that_of_the_first_tcp_address() -> None:
    assert host_of(("ipc:///x", "tcp://[::1]:5", "tcp://b:5")) == "[::1]"
    assert host_of(("ipc:///x",)) == ""
