# SPDX-License-Identifier: BSD-3-Clause
"""The generated pages are up to date, and the protocol's is what the compiled parser holds."""
import importlib.util
import struct
import sys
from types import ModuleType

import pytest

from covey.wire.protocol import FAULTS, KINDS, message, split
from house import ROOT


def load(tool: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(tool, ROOT / "tools" / f"{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[tool] = module      # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def generator() -> ModuleType:
    return load("protocol_page")


@pytest.mark.parametrize("tool", ["protocol_page", "settings_page", "commands_page"])
def test_page_is_up_to_date(tool: str) -> None:
    generator = load(tool)
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), f"run: python tools/{tool}.py"


def test_numbers_are_the_compiled_ones(generator: ModuleType) -> None:
    blocks = {block.name: block for block in generator.read_blocks(generator.SOURCE.read_text(encoding="utf-8"))}
    assert {line.name: int(line.value) for line in blocks["Kind"].lines} == KINDS
    assert {int(line.value) for line in blocks["Fault"].lines} == set(FAULTS)


def test_record_sizes_are_the_compiled_ones(generator: ModuleType) -> None:
    """A record of the page's size is split into itself; the page leaves no padding out."""
    blocks = {block.name: block for block in generator.read_blocks(generator.SOURCE.read_text(encoding="utf-8"))}
    assert blocks["Header"].size == len(message(KINDS["BEAT"], []))
    for kind, record in generator.record_of_kinds().items():
        size = blocks[record].size
        fixed = bytearray(size)
        at = 0
        for line in blocks[record].lines:
            # The least that the parser takes: ones for what may not be 0, no variable part.
            if line.name in ("role", "function", "number", "status", "stream", "needs") or (
                    (kind, line.name) == ("TASKS", "ticket")):
                fixed[at:at + 1] = struct.pack("B", 1)
            at += line.size
        _, records = split(message(KINDS[kind], [bytes(fixed)] * 2))
        assert records == [(bytes(fixed), b"")] * 2, kind
