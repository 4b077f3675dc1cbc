# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for a condition, as covey's users are given it: the only way in which these tests let time go by."""
from covey.testing.waiting import DEADLINE, wait_until

__all__ = ["DEADLINE", "wait_until"]
