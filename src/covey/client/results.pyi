# SPDX-License-Identifier: BSD-3-Clause
"""The iterator of a map, as Python sees it; ext/covey/client/results.pxd is its contents page."""

from collections.abc import Generator
from typing import Generic, TypeVar, final

T = TypeVar("T")

@final
class Results(Generic[T]):
    def __init__(self, lists: Generator[list[T]]) -> None: ...
    def __iter__(self) -> Results[T]: ...
    def __next__(self) -> T: ...
    def close(self) -> None: ...
