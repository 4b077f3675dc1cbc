# SPDX-License-Identifier: BSD-3-Clause
"""covey runs a Python function over every core that its user has.

    >>> import covey
    >>> covey.distribute(abs)([-1, -2, 3])
    [1, 2, 3]

Why: this file is the front door, and holds public names and nothing else. Behind it the floors go down: api,
client, node, broker and slot, codec and link, wire, settings, errors; ARCHITECTURE.md is the ten-minute tour.

Guarantees: `import covey` loads nothing but this file; a name brings its module when it is first asked for. Every
slot starts with this import, so what stands here is paid again with each process.
"""

__version__ = "0.1.0"

# mypy and editors read the imports; at run time they would cost what the guarantee above forbids. typing's own
# TYPE_CHECKING would cost an import of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from covey import gpu, swarm
    from covey.api import distribute, finished, shutdown
    from covey.client.client import Client
    from covey.client.resume import resume
    from covey.errors import (
        BadBlocks,
        BadCheckpoint,
        BadFitness,
        BadSetting,
        ClientClosed,
        CoveyError,
        ForkedClient,
        InitializerFailed,
        JournalFull,
        JournalRefused,
        KeyRefused,
        LinkRefused,
        MaybeRan,
        ModuleMissing,
        ModuleTooLarge,
        NobodyThere,
        NoSuchJob,
        NotPicklable,
        ParcelTooLarge,
        PlaceTaken,
        PoisonTask,
        RemoteError,
        ResultNotLoadable,
        ResultNotPicklable,
        ResultTooLarge,
        SlotsWillNotStart,
        TaskLost,
        TaskTimeout,
        WorkerDied,
    )
    from covey.slot.current import current
    from covey.swarm.call import maximize, minimize, optimize
    from covey.swarm.result import print_results
    from covey.workers import funworker, optworker

__all__ = [
    "BadBlocks",
    "BadCheckpoint",
    "BadFitness",
    "BadSetting",
    "Client",
    "ClientClosed",
    "CoveyError",
    "ForkedClient",
    "InitializerFailed",
    "JournalFull",
    "JournalRefused",
    "KeyRefused",
    "LinkRefused",
    "MaybeRan",
    "ModuleMissing",
    "ModuleTooLarge",
    "NoSuchJob",
    "NobodyThere",
    "NotPicklable",
    "ParcelTooLarge",
    "PlaceTaken",
    "PoisonTask",
    "RemoteError",
    "ResultNotLoadable",
    "ResultNotPicklable",
    "ResultTooLarge",
    "SlotsWillNotStart",
    "TaskLost",
    "TaskTimeout",
    "WorkerDied",
    "__version__",
    "current",
    "distribute",
    "finished",
    "funworker",
    "gpu",
    "maximize",
    "minimize",
    "optimize",
    "optworker",
    "print_results",
    "resume",
    "shutdown",
    "swarm",
]

_HOMES = {
    "distribute": "covey.api",
    "finished": "covey.api",
    "shutdown": "covey.api",
    "Client": "covey.client.client",
    "resume": "covey.client.resume",
    "funworker": "covey.workers",
    "optworker": "covey.workers",
    "current": "covey.slot.current",
    "optimize": "covey.swarm.call",
    "maximize": "covey.swarm.call",
    "minimize": "covey.swarm.call",
    "print_results": "covey.swarm.result",
}

# Modules, with names of their own inside: `covey.gpu.context()`, `covey.swarm.Optimizer`.
_MODULES = ("gpu", "swarm")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"covey has no name {name!r}; dir(covey) lists the public ones")
    from importlib import import_module

    if name in _MODULES:
        value: object = import_module(f"covey.{name}")
    else:
        value = getattr(import_module(_HOMES.get(name, "covey.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
