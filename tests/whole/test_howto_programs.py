# SPDX-License-Identifier: BSD-3-Clause
"""The how-to pages for one machine: each of their programs runs, and those of one page in one folder."""

from pathlib import Path

import pytest

from pageblocks import blocks_of, pages
from scripts import run

pytestmark = pytest.mark.slow

# Done on several machines, in test_howto_machines.
ELSEWHERE = {"cluster", "lab", "shared", "ssh"}


@pytest.mark.parametrize("page", sorted(set(pages()) - ELSEWHERE))
def test_the_programs_of_a_page_run(page: str, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    assert blocks
    for block in blocks:
        assert block.language == "python", f"{page}.md, line {block.line}: run me in test_howto_machines"
        assert not block.hosts, f"{page}.md, line {block.line}: run me in test_howto_machines"
        run(tmp_path, block.text)
