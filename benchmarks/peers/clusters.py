# SPDX-License-Identifier: BSD-3-Clause
"""Libraries that can span machines, here with two local workers: dask, ray, ipyparallel, mpi4py."""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.peers.base import ExecutorPeer, NotInstalled, Peer

__all__ = ["Dask", "Ipyparallel", "Mpi", "Ray"]

# It refuses root, and more processes than cores, unless told otherwise: the third process is the client.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


class Dask(Peer):
    """`pure=False` everywhere: otherwise a second call with an equal argument is answered from memory."""

    first_result = """\
from distributed import Client
if __name__ == "__main__":
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        print(client.gather(client.map(abs, [-1])), flush=True)
"""
    client: Any = None

    def __init__(self) -> None:
        self.distributed = importlib.import_module("distributed")

    def start(self, slots: int) -> None:
        self.client = self.distributed.Client(
            n_workers=slots, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        )

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client.cluster.close()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        results: list[Any] = self.client.gather(self.client.map(function, items, pure=False))
        return results

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        return self.client.submit(function, item, pure=False)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        submit = self.client.submit
        return [submit(function, a, b, c, pure=False) for a, b, c in rows]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        # one gather is kinder to dask than a result() for each
        results: list[Any] = self.client.gather(list(handles))
        return results


class Ray(Peer):
    """Tasks for submit, `ray.util.multiprocessing.Pool` for map: its actors would take the tasks' processors."""

    chunks = True
    first_result = """\
import ray
from ray.util.multiprocessing import Pool
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print(Pool(2).map(abs, [-1]), flush=True)
"""
    pool: Any = None

    def __init__(self) -> None:
        self.ray = importlib.import_module("ray")
        self.remotes: dict[Callable[..., Any], Any] = {}

    def start(self, slots: int) -> None:
        self.slots = slots
        self.ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    def close(self) -> None:
        if self.pool is not None:
            self.pool.terminate()
        self.ray.shutdown()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        if self.pool is None:
            self.pool = importlib.import_module("ray.util.multiprocessing").Pool(self.slots)
        results: list[Any] = self.pool.map(function, items)
        return results

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        return self._remote(function)(item)

    def result(self, handle: Any) -> Any:
        return self.ray.get(handle)

    def submit_all(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        remote = self._remote(function)
        return [remote(item) for item in items]

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        remote = self._remote(function)
        return [remote(a, b, c) for a, b, c in rows]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        # one get is kinder to ray than one for each
        results: list[Any] = self.ray.get(list(handles))
        return results

    def _remote(self, function: Callable[..., Any]) -> Any:
        if function not in self.remotes:
            self.remotes[function] = self.ray.remote(function).remote
        return self.remotes[function]


class Ipyparallel(ExecutorPeer):
    first_result = """\
import ipyparallel
if __name__ == "__main__":
    with ipyparallel.Cluster(n=2) as client:
        print(list(client.load_balanced_view().map_sync(abs, [-1])), flush=True)
"""
    cluster: Any = None

    def __init__(self) -> None:
        self.ipyparallel = importlib.import_module("ipyparallel")

    def start(self, slots: int) -> None:
        self.cluster = self.ipyparallel.Cluster(n=slots, log_level=logging.ERROR)
        self.client = self.cluster.start_and_connect_sync()
        self.view = self.client.load_balanced_view()
        self.pool = self.client.executor()

    def close(self) -> None:
        if self.cluster is not None:
            self.client.close()
            self.cluster.stop_cluster_sync()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.view.map_sync(function, items))


class Mpi(ExecutorPeer):
    """MPIPoolExecutor, which spawns its workers; wants an MPI that may do so."""

    closures = False
    first_result = """\
from mpi4py.futures import MPIPoolExecutor
if __name__ == "__main__":
    with MPIPoolExecutor(2) as pool:
        print(list(pool.map(abs, [-1])), flush=True)
"""

    def __init__(self) -> None:
        for name, value in OPEN_MPI.items():
            os.environ.setdefault(name, value)
        # an Open MPI from PyPI has its launcher beside the interpreter
        os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        try:
            importlib.import_module("mpi4py.MPI")
        except RuntimeError as error:
            raise NotInstalled(f"mpi4py finds no MPI ({error})") from error
        self.futures_module = importlib.import_module("mpi4py.futures")

    def start(self, slots: int) -> None:
        self.pool = self.futures_module.MPIPoolExecutor(slots)
