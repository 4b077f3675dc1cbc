# SPDX-License-Identifier: BSD-3-Clause
"""The call: `optimize()`, `maximize()`, `minimize()`.

Why: fitting a model should take the three lines that distributing it takes.

May not know: algorithms, sockets. It checks what it is given, and hands over to `campaign`. Guarantees: what makes no
sense is refused by one sentence before a slot is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal, Never, Unpack, cast, overload

from covey.codec.functions import callable_name
from covey.distributed import checked_keywords
from covey.swarm.arguments import (
    POLICIES,
    Arguments,
    checked_groups,
    checked_space,
    require_bool,
    require_known,
    require_path,
    require_word,
)
from covey.swarm.campaign import Campaign
from covey.swarm.fitness import Fitness
from covey.swarm.keywords import TEN, Constraint, Options
from covey.swarm.result import Result
from covey.swarm.run import Info

__all__ = ["maximize", "minimize", "optimize"]

Found = Result | tuple[Result, dict[str, Any]]


@overload
def optimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[False] = False, **options: Unpack[Options]
) -> Result: ...


@overload
def optimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[True], **options: Unpack[Options]
) -> tuple[Result, dict[str, Any]]: ...


def optimize(
    fun: Callable[..., Any],
    optparams: object,
    *,
    shared_data: Mapping[Any, Any] | None = None,
    local_data: Mapping[str, Any] | None = None,
    group_size: int | None = 100,
    group_count: int | None = None,
    iterations: int | None = TEN,
    optinfo: Mapping[str, Any] | None = None,
    returninfo: bool = False,
    algorithm: object = "pso",
    mode: str = "rounds",
    seed: int | None = None,
    budget: int | None = None,
    target: float | None = None,
    ftol: float | None = None,
    xtol: float | None = None,
    timeout: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    constraints: Constraint | Sequence[Constraint] | None = None,
    noise: int | None = None,
    callback: Callable[[Info], object] | None = None,
    progress: bool | None = None,
    vectorized: bool = True,
    on_error: str = "worst",
    chunk: int | None = None,
    in_flight: int | None = None,
    islands: int | None = None,
    leg: int | None = None,
    inline: bool | None = None,
    machines: Sequence[str] = (),
    use_gpu: bool = True,
    gpu_policy: str | None = None,
    max_cpu: int | None = None,
    max_gpu: int | None = None,
    port: int | None = None,
    named_pipe: bool | str | None = None,
    executor: Executor | None = None,
    **unknown: Never,
) -> Found:
    """Find the parameters for which `fun` is largest, over every core; returns a `Result`.

    `optparams` is `{name: [init_lo, init_hi]}` (no bounds), `{name: [lo, init_lo, init_hi, hi]}`, or a
    `covey.swarm.Real`, `Integer` or `Choice` for each name; or an array with a row [lo, hi] for each parameter.

    `fun` returns one value for each particle. It declares what it takes: `fun(args)` a dict name → vector, `fun(x, y)`
    vectors by name, `fun(X)` a matrix of parameters × particles where these have no names; and, as far as it wants
    them, `shared_data`, `local_data` and `use_gpu` after that. A class is constructed once in each slot.

    Parameters:
        shared_data: a dict for all calls; it travels once a slot. local_data: a dict of lists with an entry for each
            group; the function sees an entry for each particle.
        group_size: particles of a group. group_count: independent optimisations that share each call; None: as many
            as local_data has entries, else 1.
        iterations: how often all particles move. 10 is meant for a call that gives no other limit: with budget, target,
            ftol, xtol or timeout and no iterations, only those end it; with None, too. Ctrl-C always gives the best.
        budget: evaluations in all. target: a value that is good enough. ftol, xtol: end when ten iterations gained no
            more than this value, moved the best no further than this part of the initial intervals. timeout: seconds.
        algorithm, optinfo: a name, and its constants; or an object with ask and tell.
        mode: "rounds" all particles, then all moves; "stream" each moves as its value comes; "islands" whole
            sub-swarms live in slots, for fitnesses of microseconds.
        seed: the same gives the same result, bit for bit, on any number of slots. None: a new one, `result.seed`.
        checkpoint: a file; the same call with the same file goes on where it was broken off.
        constraints: functions like `fun`; particles are allowed where all are <= 0.
        noise: each new best is evaluated so many times more, and has their mean.
        callback: called with an `Info` after each iteration (each leg of islands); ends the call if it returns True.
        vectorized: False for a function of a single particle. chunk: particles in one call of a vectorised one.
        on_error: "worst" counts what raises as the worst there is, "raise" raises it.
        in_flight: tasks under way in a stream; None: by the number of slots, on which the result then depends.
        islands, leg: how many for each group, and how many generations between exchanges, fewer at the beginning.
        inline: True runs everything in this process, False nothing, None what is too cheap to be sent.
        returninfo: returns `(result, info)`, with `info` a dict of history, evaluations, seed and so on.
        machines, use_gpu, gpu_policy, max_cpu, max_gpu, port, named_pipe, executor, progress: as for `distribute`.

    >>> import covey
    >>> result = covey.optimize(lambda x, y: -((x - 1) ** 2) - y**2, {"x": [-5, 5], "y": [-5, 5]}, seed=1)
    >>> abs(result.best["x"] - 1) < 0.5, result.evaluations
    (True, 1000)
    """
    # Before anything else is a local: all keywords, and what is no keyword is not looked at.
    given = dict(locals())
    require_known("optimize", unknown, DEFAULTS)
    return _called("optimize", fun, optparams, False, given)


# All keywords there are.
DEFAULTS: dict[str, Any] = optimize.__kwdefaults__ or {}


@overload
def maximize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[False] = False, **options: Unpack[Options]
) -> Result: ...


@overload
def maximize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[True], **options: Unpack[Options]
) -> tuple[Result, dict[str, Any]]: ...


def maximize(fun: Callable[..., Any], optparams: object, **options: Any) -> Found:
    """`optimize`, under the name that says what it does; the same keywords.

    >>> import covey
    >>> covey.maximize(lambda x: -(x**2), {"x": [-5, 5]}, iterations=30, seed=1).best["fitness"] > -0.01
    True
    """
    require_known("maximize", options, DEFAULTS)
    return _called("maximize", fun, optparams, False, {**DEFAULTS, **options})


@overload
def minimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[False] = False, **options: Unpack[Options]
) -> Result: ...


@overload
def minimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[True], **options: Unpack[Options]
) -> tuple[Result, dict[str, Any]]: ...


def minimize(fun: Callable[..., Any], optparams: object, **options: Any) -> Found:
    """Find the parameters for which `fun` is smallest; keywords as for `optimize`. The fitness has its true sign.

    >>> import covey
    >>> covey.minimize(lambda x: x**2, {"x": [-5, 5]}, iterations=30, seed=1).best["fitness"] < 0.01
    True
    """
    require_known("minimize", options, DEFAULTS)
    return _called("minimize", fun, optparams, True, {**DEFAULTS, **options})


def _called(
    call: str, fun: Callable[..., Any], optparams: object, minimize: bool, given: dict[str, Any]
) -> Found:
    if not callable(fun):
        raise TypeError(f"{call}({fun!r}, …): a function, a class or another callable is needed")
    options, returninfo = cast("Options", given), given["returninfo"]
    shared_data, local_data = options["shared_data"], options["local_data"]
    wanted = checked_keywords(
        call,
        machines=options["machines"],
        use_gpu=options["use_gpu"],
        max_cpu=options["max_cpu"],
        max_gpu=options["max_gpu"],
        port=options["port"],
        named_pipe=options["named_pipe"],
        shared_data=shared_data,
        gpu_policy=options["gpu_policy"],
        executor=options["executor"],
        progress=options["progress"],
        inline=options["inline"] is True,
    )
    arguments = Arguments(
        call=call,
        group_size=options["group_size"],
        iterations=options["iterations"],
        budget=options["budget"],
        target=options["target"],
        ftol=options["ftol"],
        xtol=options["xtol"],
        timeout=options["timeout"],
        noise=options["noise"],
        chunk=options["chunk"],
        in_flight=options["in_flight"],
        islands=options["islands"],
        leg=options["leg"],
    )
    mode, on_error = options["mode"], options["on_error"]
    arguments.require_mode(mode)
    require_word(call, "on_error", on_error, POLICIES)
    space = checked_space(call, optparams)
    group_count = checked_groups(call, options["group_count"], local_data)
    vectorized = options["vectorized"]
    require_bool(call, "vectorized", vectorized)
    require_bool(call, "returninfo", returninfo)
    require_bool(call, "inline", options["inline"], or_none=True)
    require_bool(call, "progress", options["progress"], or_none=True)
    checkpoint = options["checkpoint"]
    label = f"{call}({callable_name(fun)})"

    def fitness_of(function: object, name: str | None = None) -> Fitness:
        if not callable(function):
            raise TypeError(f"{call}(constraints=…): functions are needed, and {function!r} is none")
        return Fitness(
            function, space, shared_data=shared_data, local_data=local_data, vectorized=bool(vectorized), label=name,
            call=label,
        )

    limits = options["constraints"] or ()
    if not callable(limits) and not isinstance(limits, Sequence):
        raise TypeError(f"{call}(constraints={limits!r}): a function is needed, or a list of them")
    callback = options["callback"]
    if callback is not None and not callable(callback):
        raise TypeError(f"{call}(callback={callback!r}): a function is needed, which is given an Info")
    campaign = Campaign(
        label=label,
        arguments=arguments,
        space=space,
        fitness=fitness_of(fun, f"{label}: the function"),
        constraints=[
            fitness_of(limit, f"{label}: the constraint") for limit in ((limits,) if callable(limits) else limits)
        ],
        wanted=wanted,
        inline=options["inline"],
        forgiving=on_error == "worst",
        algorithm=options["algorithm"],
        optinfo=options["optinfo"],
        group_count=group_count,
        minimize=minimize,
        mode=mode,
        seed=options["seed"],
        checkpoint=None if checkpoint is None else require_path(call, checkpoint),
        callback=callback,
    )
    result = campaign.run()
    return (result, result.info()) if returninfo else result
