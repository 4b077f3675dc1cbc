# SPDX-License-Identifier: BSD-3-Clause
"""Key pairs, one for each role, made of one secret.

Why: whoever has the secret has every key, without asking anybody; whoever was given the key of one role has only that.
So a broker tells by the key alone whether a client or a node speaks, and a node cannot pose as a client or as a broker.

May not know: files, sockets. Guarantees: equal secrets give equal pairs, on every machine and with every version, since
peers that differ would refuse each other; no secret half is in a repr, and none can be pickled.
"""
from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal, NoReturn, SupportsIndex

from covey.errors import NotPicklable

__all__ = ["ROLES", "KeyPair", "PeerKeys", "Role", "RoleKeys", "fingerprint_of"]

Role = Literal["client", "node"]
ROLES: tuple[Role, ...] = ("client", "node")


def fingerprint_of(public: bytes) -> str:
    """Eight characters that people compare. Enough to see that two keys differ, by no means to prove that they do not.

    >>> fingerprint_of(bytes(32))
    '66687aad'
    """
    return hashlib.sha256(public).hexdigest()[:8]


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """A pair for CURVE25519, 32 bytes each.

    >>> KeyPair.of(bytes(32))
    <KeyPair 233ced77, its secret not shown>
    """

    public: bytes
    secret: bytes

    @classmethod
    def of(cls, secret: bytes) -> KeyPair:
        """The pair of this secret half."""
        # Forty milliseconds, and only whoever is about to open a socket needs them.
        import zmq
        from zmq.utils import z85

        return cls(z85.decode(zmq.curve_public(z85.encode(secret))), secret)

    def __repr__(self) -> str:
        return f"<KeyPair {fingerprint_of(self.public)}, its secret not shown>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise NotPicklable("a KeyPair cannot be pickled, because its secret must not travel: send a connection file "
                           "over ssh instead")


@dataclass(frozen=True, slots=True)
class PeerKeys:
    """What one that dials needs: the key by which it knows the broker, and the pair by which the broker knows it.

    >>> RoleKeys.derive(bytes(32)).peer("node").role
    'node'
    """

    broker: bytes
    role: Role
    own: KeyPair


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """The whole set, for whoever is dialled.

    >>> sorted(RoleKeys.derive(bytes(32)).admitted.values())
    ['client', 'node']
    """

    broker: KeyPair
    client: KeyPair
    node: KeyPair

    @classmethod
    def derive(cls, root: bytes) -> RoleKeys:
        """The set of a secret's 32 bytes."""
        # The label keeps these keys apart from whatever else may once be made of the same secret.
        broker, client, node = (
            KeyPair.of(hmac.digest(root, b"covey key pair 1: " + role, "sha256"))
            for role in (b"broker", b"client", b"node")
        )
        return cls(broker, client, node)

    @property
    def admitted(self) -> dict[bytes, Role]:
        """The role of each public key that may come in; any other is a stranger's."""
        return {self.client.public: "client", self.node.public: "node"}

    def peer(self, role: Role) -> PeerKeys:
        """What one of this role needs to dial."""
        return PeerKeys(self.broker.public, role, self.client if role == "client" else self.node)
