# SPDX-License-Identifier: BSD-3-Clause
"""What tests of covey, and of what is built on it, run against instead of luck.

Flock       a broker, nodes and slots on this machine, to be killed, frozen and started again under a program
Proxy       a TCP link that is cut, slowed and broken off
Clock, Link a clock turned by hand, and a link in memory that loses, doubles and reorders
shelf       objects that cannot be pickled, cannot be loaded, or come back changed
wait_until  waiting for a condition, with a deadline
simulator   a flock of thousands of slots under a Clock; tree: loops over loops

    >>> from covey.testing import Clock, Link
    >>> link = Link(Clock(), loss=1.0)
    >>> link.near.send("hello"); link.clock.advance(1.0); link.far.receive()

Guarantees: a name brings its module when it is first asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from covey.testing import shelf
    from covey.testing.clock import Clock
    from covey.testing.flock import Flock
    from covey.testing.link import End, Link
    from covey.testing.proxy import Proxy
    from covey.testing.waiting import wait_until

__all__ = ["Clock", "End", "Flock", "Link", "Proxy", "shelf", "wait_until"]

_HOMES = {"End": "link", "wait_until": "waiting"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"covey.testing has no name {name!r}; dir(covey.testing) lists the public ones")
    from importlib import import_module

    module = import_module("covey.testing." + _HOMES.get(name, name.lower()))
    value: object = module if name == "shelf" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
