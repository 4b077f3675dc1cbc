# SPDX-License-Identifier: BSD-3-Clause
"""The how-to pages about several machines: what they say is done, on several machines."""

import pytest

from hosts import Lab
from reader import Reader

pytestmark = pytest.mark.slow


def test_my_labs_desktops(lab: Lab) -> None:
    # Nobody knows lab9.
    reader = Reader(lab, {"desk": lab.alpha, "lab7": lab.beta, "lab8": lab.gamma})
    reader.read("lab")
    # The page has ended all that it began.
    assert [program.wait_end() for program in reader.programs] == [0] * len(reader.programs)


def test_a_cluster_with_a_login_node(lab: Lab) -> None:
    reader = Reader(lab, {"login": lab.alpha, "node1": lab.beta, "node2": lab.gamma}, one_home=True)
    reader.read("cluster")


def test_a_job_left_overnight(lab: Lab) -> None:
    Reader(lab, {"login": lab.alpha, "node1": lab.beta}, one_home=True).read("overnight")


def test_through_ssh(lab: Lab) -> None:
    # The desk cannot so much as look up the machine behind the gateway.
    hosts = {"desk": lab.alpha, "gate": lab.beta, "lab7": lab.gamma}
    Reader(lab, hosts, knows={"desk": ["desk", "gate"]}).read("ssh")


def test_several_users_on_one_machine(lab: Lab) -> None:
    Reader(lab, {"big": lab.alpha}).read("shared")
