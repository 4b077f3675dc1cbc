# SPDX-License-Identifier: BSD-3-Clause
"""Futures, as Python sees them; ext/covey/client/futures.pyx says why they are compiled."""

from concurrent.futures import Future as StandardFuture
from typing import Any, TypeVar

T = TypeVar("T")

class Future(StandardFuture[T]):
    @property
    def run_seconds(self) -> float | None: ...
    @property
    def attempt(self) -> int: ...

class Partial:
    results: list[Any]
    error: BaseException
    def __init__(self, results: list[Any], error: BaseException) -> None: ...
