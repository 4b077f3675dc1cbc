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
from typing import Any, Literal, Never, TypedDict, Unpack, overload

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
from covey.swarm.result import Result
from covey.swarm.run import Info

__all__ = ["maximize", "minimize", "optimize"]

Constraint = Callable[..., Any]
Found = Result | tuple[Result, dict[str, Any]]


class Options(TypedDict, total=False):
    """The keywords of `optimize`, `maximize` and `minimize`, but for `returninfo`, which decides what they return."""

    shared_data: Mapping[Any, Any] | None
    local_data: Mapping[str, Any] | None
    group_size: int | None
    group_count: int | None
    iterations: int | None
    optinfo: Mapping[str, Any] | None
    algorithm: object
    mode: str
    seed: int | None
    budget: int | None
    target: float | None
    ftol: float | None
    xtol: float | None
    timeout: float | None
    checkpoint: str | os.PathLike[str] | None
    constraints: Constraint | Sequence[Constraint] | None
    noise: int | None
    callback: Callable[[Info], object] | None
    progress: bool | None
    vectorized: bool
    on_error: str
    chunk: int | None
    in_flight: int | None
    islands: int | None
    leg: int | None
    inline: bool | None
    machines: Sequence[str]
    use_gpu: bool
    gpu_policy: str | None
    max_cpu: int | None
    max_gpu: int | None
    port: int | None
    named_pipe: bool | str | None
    executor: Executor | None


KEYWORDS = (*Options.__annotations__, "returninfo")


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
    iterations: int | None = None,
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
        iterations: None: 10, or as many as budget and timeout allow. budget: evaluations in all. target: a value that
            is good enough. ftol, xtol: end when ten iterations gained no more than this value, moved the best no
            further than this part of the initial intervals. timeout: seconds.
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
        islands, leg: how many for each group, and how many generations between exchanges, from fewer at the beginning.
        inline: True runs everything in this process, False nothing, None what is too cheap to be sent.
        returninfo: returns `(result, info)`, with `info` a dict of history, evaluations, seed and so on.
        machines, use_gpu, gpu_policy, max_cpu, max_gpu, port, named_pipe, executor, progress: as for `distribute`.

    >>> import covey
    >>> result = covey.optimize(lambda x, y: -((x - 1) ** 2) - y**2, {"x": [-5, 5], "y": [-5, 5]}, seed=1)
    >>> abs(result.best["x"] - 1) < 0.5, result.evaluations
    (True, 1000)
    """
    require_known("optimize", unknown, KEYWORDS)
    options = Options(
        shared_data=shared_data,
        local_data=local_data,
        group_size=group_size,
        group_count=group_count,
        iterations=iterations,
        optinfo=optinfo,
        algorithm=algorithm,
        mode=mode,
        seed=seed,
        budget=budget,
        target=target,
        ftol=ftol,
        xtol=xtol,
        timeout=timeout,
        checkpoint=checkpoint,
        constraints=constraints,
        noise=noise,
        callback=callback,
        progress=progress,
        vectorized=vectorized,
        on_error=on_error,
        chunk=chunk,
        in_flight=in_flight,
        islands=islands,
        leg=leg,
        inline=inline,
        machines=machines,
        use_gpu=use_gpu,
        gpu_policy=gpu_policy,
        max_cpu=max_cpu,
        max_gpu=max_gpu,
        port=port,
        named_pipe=named_pipe,
        executor=executor,
    )
    return _called("optimize", fun, optparams, False, returninfo, options)


@overload
def maximize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[False] = False, **options: Unpack[Options]
) -> Result: ...


@overload
def maximize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[True], **options: Unpack[Options]
) -> tuple[Result, dict[str, Any]]: ...


def maximize(
    fun: Callable[..., Any], optparams: object, *, returninfo: bool = False, **options: Unpack[Options]
) -> Found:
    """`optimize`, under the name that says what it does; the same keywords.

    >>> import covey
    >>> covey.maximize(lambda x: -(x**2), {"x": [-5, 5]}, iterations=30, seed=1).best["fitness"] > -0.01
    True
    """
    require_known("maximize", options, KEYWORDS)
    return _called("maximize", fun, optparams, False, returninfo, options)


@overload
def minimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[False] = False, **options: Unpack[Options]
) -> Result: ...


@overload
def minimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: Literal[True], **options: Unpack[Options]
) -> tuple[Result, dict[str, Any]]: ...


def minimize(
    fun: Callable[..., Any], optparams: object, *, returninfo: bool = False, **options: Unpack[Options]
) -> Found:
    """Find the parameters for which `fun` is smallest; keywords as for `optimize`. The fitness has its true sign.

    >>> import covey
    >>> covey.minimize(lambda x: x**2, {"x": [-5, 5]}, iterations=30, seed=1).best["fitness"] < 0.01
    True
    """
    require_known("minimize", options, KEYWORDS)
    return _called("minimize", fun, optparams, True, returninfo, options)


def _called(
    call: str, fun: Callable[..., Any], optparams: object, minimize: bool, returninfo: bool, options: Options
) -> Found:
    if not callable(fun):
        raise TypeError(f"{call}({fun!r}, …): a function, a class or another callable is needed")
    shared_data, local_data = options.get("shared_data"), options.get("local_data")
    wanted = checked_keywords(
        call,
        machines=options.get("machines", ()),
        use_gpu=options.get("use_gpu", True),
        max_cpu=options.get("max_cpu"),
        max_gpu=options.get("max_gpu"),
        port=options.get("port"),
        named_pipe=options.get("named_pipe"),
        shared_data=shared_data,
        gpu_policy=options.get("gpu_policy"),
        executor=options.get("executor"),
        progress=options.get("progress"),
        inline=options.get("inline") is True,
    )
    arguments = Arguments(
        call=call,
        group_size=options.get("group_size", 100),
        iterations=options.get("iterations"),
        budget=options.get("budget"),
        target=options.get("target"),
        ftol=options.get("ftol"),
        xtol=options.get("xtol"),
        timeout=options.get("timeout"),
        noise=options.get("noise"),
        chunk=options.get("chunk"),
        in_flight=options.get("in_flight"),
        islands=options.get("islands"),
        leg=options.get("leg"),
    )
    mode, on_error = options.get("mode", "rounds"), options.get("on_error", "worst")
    arguments.require_mode(mode)
    require_word(call, "on_error", on_error, POLICIES)
    space = checked_space(call, optparams)
    group_count = checked_groups(call, options.get("group_count"), local_data)
    vectorized = options.get("vectorized", True)
    require_bool(call, "vectorized", vectorized)
    require_bool(call, "returninfo", returninfo)
    require_bool(call, "inline", options.get("inline"), or_none=True)
    require_bool(call, "progress", options.get("progress"), or_none=True)
    checkpoint = options.get("checkpoint")
    label = f"{call}({callable_name(fun)})"

    def fitness_of(function: object, name: str | None = None) -> Fitness:
        if not callable(function):
            raise TypeError(f"{call}(constraints=…): functions are needed, and {function!r} is none")
        return Fitness(
            function, space, shared_data=shared_data, local_data=local_data, vectorized=bool(vectorized), label=name,
            call=label,
        )

    limits = options.get("constraints") or ()
    if not callable(limits) and not isinstance(limits, Sequence):
        raise TypeError(f"{call}(constraints={limits!r}): a function is needed, or a list of them")
    callback = options.get("callback")
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
        inline=options.get("inline"),
        forgiving=on_error == "worst",
        algorithm=options.get("algorithm", "pso"),
        optinfo=options.get("optinfo"),
        group_count=group_count,
        minimize=minimize,
        mode=mode,
        seed=options.get("seed"),
        checkpoint=None if checkpoint is None else require_path(call, checkpoint),
        callback=callback,
    )
    result = campaign.run()
    return (result, result.info()) if returninfo else result
