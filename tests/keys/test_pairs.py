# SPDX-License-Identifier: BSD-3-Clause
"""Key pairs of the roles: the same everywhere, apart from each other, accepted by libzmq, and never shown."""
import copy
import dataclasses
import pickle

import pytest
import zmq
from zmq.utils import z85

from covey.errors import NotPicklable
from covey.keys.pairs import KeyPair, RoleKeys
from forms import ROOT, shown

KEYS = RoleKeys.derive(ROOT)
ALL = (KEYS.broker, KEYS.client, KEYS.node)


def test_equal_secrets_give_equal_keys() -> None:
    assert RoleKeys.derive(bytes(ROOT)) == KEYS
    # Machines with another version of covey must come to the same: this number may never change.
    assert KEYS.broker.public.hex() == "7b1b6ce8108c6037476b0004ffb3f615275807e90598fda84298747a1245b66e"


def test_each_role_has_its_own() -> None:
    assert len({pair.secret for pair in ALL} | {pair.public for pair in ALL} | {ROOT}) == 7
    assert {len(half) for pair in ALL for half in (pair.public, pair.secret)} == {32}


def test_halves_fit_as_libzmq_says() -> None:
    public, secret = zmq.curve_keypair()
    assert KeyPair.of(z85.decode(secret)).public == z85.decode(public)


def test_the_keys_role_tells_who_speaks() -> None:
    assert KEYS.admitted == {KEYS.client.public: "client", KEYS.node.public: "node"}
    assert KEYS.broker.public not in KEYS.admitted


def test_a_peer_has_the_brokers_public_half_and_its_own_pair_only() -> None:
    peer = KEYS.peer("node")
    assert (peer.broker, peer.role, peer.own) == (KEYS.broker.public, "node", KEYS.node)
    assert KEYS.peer("client").own == KEYS.client
    assert KEYS.broker.secret not in dataclasses.astuple(peer)


def test_secret_halves_are_not_shown() -> None:
    text = f"{KEYS!r} {KEYS} {KEYS.peer('node')!r} {KEYS.admitted!r} {KEYS.broker!r}"
    assert not shown(text, [ROOT, *(pair.secret for pair in ALL)])


def test_secret_halves_do_not_travel() -> None:
    for holder in (KEYS, KEYS.broker, KEYS.peer("client")):
        for travel in (pickle.dumps, copy.deepcopy):
            with pytest.raises(NotPicklable, match="a KeyPair cannot be pickled, because its secret must not travel"):
                travel(holder)
