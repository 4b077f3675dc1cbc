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

    call        optimize, maximize, minimize            keywords, arguments     what they are given: typed, checked
    campaign    one call: here the parts meet           problem     what decides its result
    fitness     the user's function                     manner      how it wants to be called
    evaluation  what a slot does with it
    chunks      how particles are cut into calls        evaluator   particles in, values out, here or there
    places      where calls go                          pace        what an evaluation takes
    feasible    constraints, as one number
    rounds, stream, islands     the loops               run         the books they keep: best, history, stops, faults
    result      what was found                          table, picture
    checkpoint  the file from which a call goes on     imprint     what tells a function from another

Why: this is the one room that knows what a swarm is. It sees submit and futures, never a socket; the files above
see not even those, and can be used without any cluster.

    >>> from covey.swarm import Optimizer
    >>> Optimizer([[0, 1], [0, 1]], seed=1).ask(4)[1].shape
    (4, 2)

Guarantees: importing the room does not import numpy; a name brings its module when it is first asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from covey.swarm.faults import Faults
    from covey.swarm.history import History
    from covey.swarm.optimizer import Optimizer
    from covey.swarm.result import Result
    from covey.swarm.run import Info
    from covey.swarm.space import Choice, Integer, Real, Space

__all__ = ["Choice", "Faults", "History", "Info", "Integer", "Optimizer", "Real", "Result", "Space"]

_HOMES = {
    "Faults": "covey.swarm.faults",
    "History": "covey.swarm.history",
    "Info": "covey.swarm.run",
    "Optimizer": "covey.swarm.optimizer",
    "Result": "covey.swarm.result",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"covey.swarm has no name {name!r}; dir(covey.swarm) lists the public ones")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES.get(name, "covey.swarm.space")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
