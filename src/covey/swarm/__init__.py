# SPDX-License-Identifier: BSD-3-Clause
"""Optimisation: algorithms that are asked for points and told their values.

    optimizer   Optimizer, the object that is asked and told
    space       Space, Real, Integer, Choice: parameters and the inner coordinates of the search
    bounds      what users say about parameters, read and checked
    draws       random numbers that depend on their place only     counter (C)
    flight      the points that are out
    algorithm   what every algorithm is
    pso …       the algorithms, one file each                      update (C)
    outside     optimisers of other libraries

Why: this is the one room that knows what a swarm is. It sees submit and futures, never a socket; the files above
see not even those, and can be used without any cluster.

Guarantees: importing the room does not import numpy; a name brings its module when it is first asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from covey.swarm.optimizer import Optimizer
    from covey.swarm.space import Choice, Integer, Real, Space

__all__ = ["Choice", "Integer", "Optimizer", "Real", "Space"]

_HOMES = {"Optimizer": "covey.swarm.optimizer"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"covey.swarm has no name {name!r}; dir(covey.swarm) lists the public ones")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES.get(name, "covey.swarm.space")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
