# SPDX-License-Identifier: BSD-3-Clause
"""`distribute()` behind its door: what turns `fun` into a function over every core.

It composes what a client offers; it may not know sockets, parcels' insides or how slots are started.
"""

from covey.distributed.function import DistributedFunction, Wanted
from covey.distributed.keywords import checked_keywords

__all__ = ["DistributedFunction", "Wanted", "checked_keywords"]
