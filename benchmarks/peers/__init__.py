# SPDX-License-Identifier: BSD-3-Clause
"""Who is asked: covey and its peers, by name, each imported only in the process that measures it.

Guarantees: `find_peer` raises `NotInstalled` with one clear sentence when the library is not there.
"""

import importlib

from benchmarks.peers.base import NotInstalled, Peer

__all__ = ["FLOORS", "PEERS", "NotInstalled", "Peer", "find_peer"]

# name: where its class is
PEERS = {
    "covey": "flock:Covey",
    "pool": "standard:Pool",
    "executor": "standard:ProcessPool",
    "loky": "pools:Loky",
    "joblib": "pools:Joblib",
    "mpire": "pools:Mpire",
    "pathos": "pools:Pathos",
    "dask": "clusters:Dask",
    "ray": "clusters:Ray",
    "ipyparallel": "clusters:Ipyparallel",
    "mpi4py": "clusters:Mpi",
    "pyzmq-thread": "bare:RouterThread",
    "pyzmq-process": "bare:RouterProcess",
}

# Not libraries but what the transport alone costs: they do no balancing, survive no death, handle no
# error. They count only where a check names them.
FLOORS = frozenset({"pyzmq-thread", "pyzmq-process"})


def find_peer(name: str) -> Peer:
    """A peer that is installed and not yet started."""
    file, _, kind = PEERS[name].partition(":")
    try:
        module = importlib.import_module(f"benchmarks.peers.{file}")
        peer: Peer = getattr(module, kind)()
    except ImportError as error:
        raise NotInstalled(f"{name} is not installed ({error})") from error
    return peer
