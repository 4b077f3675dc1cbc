# SPDX-License-Identifier: BSD-3-Clause
"""Every error is covey's, is of Python's type as well, and comes back whole from a pickle."""
import pickle
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest

from covey import errors

SAMPLES: list[errors.CoveyError] = [
    errors.CoveyError("a"),
    errors.NotPicklable("a"),
    errors.ResultNotPicklable("a"),
    errors.ResultNotLoadable("a"),
    errors.RemoteError("pkg.Odd", "no luck", "Traceback:\n  somewhere\n", "why"),
    errors.RemoteError("pkg.Odd", ""),
    errors.ResultTooLarge("the result of f()", 3 << 30, 1 << 30),
    errors.ParcelTooLarge("the call of f()", 1001, 1000),
    errors.PoisonTask("f()", ("first", "second")),
    errors.WorkerDied("f()", ("first", "second"), True, 3 << 30),
    errors.TaskLost("f()", ("first",)),
    errors.BundleBroken(("first",)),
    errors.TaskTimeout("f() ran longer than 3 s"),
    errors.InitializerFailed("a"),
    errors.SlotsWillNotStart("a"),
    errors.ModuleMissing("a", name="mod", path="p"),
    errors.ModuleTooLarge("the module 'lab'", 3, 2),
    errors.ClientClosed(),
    errors.ForkedClient(),
    errors.LinkRefused("a"),
    errors.MaybeRan("f#1", ("slot 1 died",)),
    errors.BadBlocks("a"),
    errors.BadCheckpoint("a"),
    errors.BadFitness("a"),
    errors.BadSetting("a"),
    errors.JournalFull("a"),
    errors.JournalRefused("a"),
    errors.KeyRefused("a"),
    errors.NoSuchJob("a"),
    errors.NobodyThere({"lab7": "nobody listens there"}),
    errors.NobodyThere({"the broker of lab.json": "nobody listens there"}, "lab.json"),
    errors.PlaceTaken("a"),
]


def test_every_error_is_here() -> None:
    public = {kind for name, kind in vars(errors).items() if isinstance(kind, type) and not name.startswith("_")}
    assert {kind for kind in public if issubclass(kind, errors.CoveyError)} == {type(sample) for sample in SAMPLES}


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_it_comes_back_whole(error: errors.CoveyError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert "\n" not in str(error).partition("\n  1. ")[0].partition("\n\n")[0]


@pytest.mark.parametrize(
    ("kind", "also"),
    [(errors.NotPicklable, TypeError), (errors.NotPicklable, pickle.PicklingError), (errors.TaskTimeout, TimeoutError),
     (errors.InitializerFailed, BrokenExecutor), (errors.SlotsWillNotStart, BrokenExecutor),
     (errors.ModuleMissing, ImportError), (errors.ClientClosed, RuntimeError), (errors.ForkedClient, RuntimeError),
     (errors.LinkRefused, ConnectionError), (errors.BadBlocks, ValueError),
     (errors.ResultNotPicklable, errors.NotPicklable)],
)
def test_it_is_also_what_python_calls_it(kind: type[Any], also: type[Any]) -> None:
    assert issubclass(kind, also)


def test_attempts_are_told() -> None:
    error = errors.PoisonTask("f()", ("slot 1 died", "slot 2 died", "slot 1 died"))
    assert error.attempts == ("slot 1 died", "slot 2 died", "slot 1 died")
    assert "tried 3 times:\n  1. slot 1 died\n  2. slot 2 died" in str(error)


def test_sizes_are_told() -> None:
    assert "takes 3,072.0 MiB, over the limit of 1,024.0 MiB; return less" in str(SAMPLES[6])
    assert "takes 1,001 bytes, over the limit of 1,000 bytes; pass less" in str(SAMPLES[7])
