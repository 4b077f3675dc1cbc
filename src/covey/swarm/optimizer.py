# SPDX-License-Identifier: BSD-3-Clause
"""`Optimizer`: ask for points, tell their values. The whole of an optimisation, without any cluster.

Why: the loops that distribute an optimisation need one object that knows which points come next; so does a user who
evaluates in ways of their own. Here units, names, the sign and the wording of mistakes are dealt with; algorithms
see none of them.

May not know: functions, slots, futures. Guarantees: the same seed and the same values give the same points, bit for
bit, in whatever order the values of a batch are told; a state saved and restored goes on as if nothing had been.
"""
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import numpy as np

from covey.swarm.algorithm import Algorithm, Domain, Plan
from covey.swarm.draws import Draws, Indices, Vector
from covey.swarm.outside import WANTED, Outside
from covey.swarm.space import Space

# Where each algorithm lives: a module and its class, loaded when first wanted.
ALGORITHMS = {
    "pso": ("covey.swarm.pso", "Pso"),
    "cma": ("covey.swarm.cma", "Cma"),
    "auto": ("covey.swarm.auto", "Auto"),
    "de": ("covey.swarm.de", "De"),
    "ga": ("covey.swarm.ga", "Ga"),
}
# Of the layout of `state()`. A state of another number is refused, not guessed at.
FORMAT = 3


class Optimizer:
    """An optimisation that is asked for points and told their values; it maximises, as `optimize` does.

    `bounds` is a D × 2 array or a dict of parameters. `algorithm` is a name or a foreign object with ask and
    tell. `group_size` is how many points a round has (None: what suits the algorithm), `budget` how many evaluations
    there will be in all, if that is known: algorithms plan with it, and nothing ends there.

    >>> import numpy as np
    >>> opt = Optimizer([[-5, 5]] * 3, seed=1, minimize=True)
    >>> while opt.evaluations < 2000:
    ...     ids, X = opt.ask()
    ...     opt.tell(ids, (X ** 2).sum(axis=1))
    >>> position, value = opt.best
    >>> value < 1e-3
    True
    """

    def __init__(
        self, bounds: object, *, algorithm: object = "pso", group_size: int | None = None, seed: int | None = None,
        minimize: bool = False, budget: int | None = None, optinfo: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = Space.of(bounds)
        self.seed = Draws(seed).seed
        if not isinstance(minimize, (bool, np.bool_)):
            raise TypeError(f"minimize is True or False, not {minimize!r}")
        self.minimize = bool(minimize)
        self._group_size, self._budget = _counted("group_size", group_size), _counted("budget", budget)
        if optinfo is not None and not isinstance(optinfo, Mapping):
            raise TypeError(f"optinfo is a dict of the algorithm's constants, not {optinfo!r}")
        self._optinfo = dict(optinfo or {})
        self._name = algorithm if isinstance(algorithm, str) else ""
        self._called = self._name or type(algorithm).__name__
        self._algorithm: Algorithm
        if isinstance(algorithm, str):
            plan = Plan(Domain.of(self.space), self.seed, self._group_size, self._budget)
            self._algorithm = _maker(algorithm)(plan, self._optinfo)
        elif self._optinfo:
            raise ValueError("optinfo is for covey's own algorithms; set up an object of another library yourself")
        else:
            # Another of ours has a sign of its own: told the wrong one, it would flee from the best.
            ours = isinstance(algorithm, Optimizer) and not algorithm.minimize
            self._algorithm = Outside(algorithm, self.space, -1.0 if ours else 1.0)

    def __repr__(self) -> str:
        what, size = "minimizes" if self.minimize else "maximizes", self.space.dimension
        return (
            f"<covey.swarm.Optimizer: {self._called!r} {what}, {size} parameter{'s' * (size != 1)}, seed {self.seed}, "
            f"{self.evaluations} evaluations, best {self.best[1]:.6g}>"
        )

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm at work, which minimises in the inner coordinates of `space`."""
        return self._algorithm

    @property
    def batch(self) -> int:
        """How many points `ask()` gives: from the problem and `group_size`; it may change as the search goes on."""
        return self._group_size or self._algorithm.batch

    @property
    def asynchronous(self) -> bool:
        """Whether points may be asked for while others are out."""
        return self._algorithm.asynchronous

    @property
    def evaluations(self) -> int:
        """How many values were told."""
        return self._algorithm.evaluations

    @property
    def generation(self) -> int:
        """How often the algorithm has learned from values."""
        return self._algorithm.generation

    @property
    def best(self) -> tuple[Vector | None, float]:
        """The best position so far, in the user's units, and its value; (None, nan) before there is a finite value."""
        inner, value = self._algorithm.best
        if inner is None:
            return None, float("nan")
        return self.space.decode(inner[None])[0], value if self.minimize else -value

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        """The next points: their ids, and their positions as rows. Without `n`, as many as suit the algorithm."""
        if n is not None and (isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1):
            raise ValueError(f"ask(n) wants a number of points, at least 1, or None, not {n!r}")
        ids, inner = self._algorithm.ask(self._group_size if n is None else int(n))
        return ids, self.space.decode(inner)

    def tell(self, ids: object, values: object) -> None:
        """The values of points that were asked for. NaN and infinite ones count as the worst there is."""
        numbers = np.asarray(ids)
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise TypeError(f"tell(ids, values) wants the ids that ask() gave, one for each value, not {ids!r}")
        told = _checked_values(values, len(numbers))
        self._algorithm.tell(numbers.astype(np.int64, copy=False), told if self.minimize else -told)

    def inject(self, positions: object, values: object) -> None:
        """Points that were evaluated elsewhere, with their values, such as the best of another swarm."""
        inner = self.space.encode(positions)
        told = _checked_values(values, len(inner))
        self._algorithm.inject(inner, told if self.minimize else -told)

    def state(self, *, space: bool = True) -> dict[str, Any]:
        """All there is to know, as nested dicts of numbers, strings, lists, arrays and what you gave to a Choice.

        Without its `space`, which is as it was given, that must be given to `from_state` again.
        """
        return {
            "format": FORMAT, "algorithm": self._name, "seed": self.seed, "minimize": self.minimize,
            "group_size": self._group_size, "budget": self._budget, "optinfo": dict(self._optinfo),
            "space": self.space.state() if space else None, "search": self._algorithm.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], space: Space | None = None) -> "Optimizer":
        """The optimisation whose `state()` this is; it goes on bit for bit as that one would have.

        `space` is its space, if the state is without.

        >>> one = Optimizer([[0, 1]], seed=5)
        >>> two = Optimizer.from_state(one.state())
        >>> bool((one.ask()[1] == two.ask()[1]).all())
        True
        """
        if state.get("format") != FORMAT:
            raise ValueError(f"this is no state of an Optimizer of this version of covey (format "
                             f"{state.get('format')!r}, wanted {FORMAT}); begin anew")
        if space is None:
            space = Space.from_state(state["space"])
        self = cls(
            space, algorithm=state["algorithm"], group_size=state["group_size"],
            seed=state["seed"], minimize=state["minimize"], budget=state["budget"], optinfo=state["optinfo"],
        )
        self._algorithm.restore(state["search"])
        return self


def _maker(name: str) -> Callable[[Plan, Mapping[str, Any]], Algorithm]:
    if name not in ALGORITHMS:
        near = get_close_matches(name.lower(), ALGORITHMS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ALGORITHMS)}"
        raise ValueError(f"no algorithm is called {name!r}; {hint} ({WANTED})")
    module, cls = ALGORITHMS[name]
    maker: Callable[[Plan, Mapping[str, Any]], Algorithm] = getattr(import_module(module), cls)
    return maker


def _counted(what: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{what} is a whole number, at least 1, or None, not {value!r}")
    return int(value)


def _checked_values(values: object, count: int) -> Vector:
    told = np.asarray(values)
    if told.dtype.kind not in "fiub":
        raise TypeError(f"values are real numbers, and these are {told.dtype}")
    if told.shape != (count,):
        raise ValueError(f"there must be one value for each of {count} points, and these have the shape {told.shape}")
    return told.astype(np.float64, copy=False)
