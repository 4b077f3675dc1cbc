# SPDX-License-Identifier: BSD-3-Clause
"""See libzmq.pxd, the contents page.

`ETERM`-like waits never happen here: every socket is closed by the thread that owns it before its
context ends. One context serves the whole process, because `inproc://` links need to share it.
"""
import os
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

cdef extern from "<dlfcn.h>" nogil:
    void* dlopen(const char* path, int mode)
    void* dlsym(void* handle, const char* symbol)
    char* dlerror()
    int RTLD_NOW
    int RTLD_LOCAL

cdef bint _loaded = False
cdef str _path = None


def find_library():
    """The file of pyzmq's compiled module, found without importing pyzmq (which costs 50 ms)."""
    spec = PathFinder.find_spec("zmq")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("covey needs pyzmq, and no package named zmq is on sys.path: pip install 'pyzmq>=27.3'")
    for folder in spec.submodule_search_locations:
        for suffix in EXTENSION_SUFFIXES:
            path = os.path.join(folder, "backend", "cython", "_zmq" + suffix)
            if os.path.exists(path):
                return path
    raise ImportError(f"pyzmq in {spec.submodule_search_locations[0]} has no compiled module backend/cython/_zmq")


cdef int libzmq_load(object path) except -1:
    global _loaded, _path
    cdef void* library
    cdef void* found
    cdef void** slot
    cdef int i
    cdef int major = 0
    cdef int minor = 0
    cdef int patch = 0
    if _loaded:
        return 0
    # In the order of the struct Zmq: a name here is the pointer there.
    names = (
        b"zmq_ctx_new", b"zmq_ctx_set", b"zmq_ctx_term", b"zmq_socket", b"zmq_close", b"zmq_bind", b"zmq_connect",
        b"zmq_setsockopt", b"zmq_getsockopt", b"zmq_msg_init", b"zmq_msg_init_size", b"zmq_msg_init_data",
        b"zmq_msg_send", b"zmq_msg_recv", b"zmq_msg_close", b"zmq_msg_move", b"zmq_msg_data", b"zmq_msg_size",
        b"zmq_msg_more", b"zmq_msg_gets", b"zmq_socket_monitor", b"zmq_poll", b"zmq_errno", b"zmq_strerror", b"zmq_version",
    )
    assert len(names) * sizeof(void*) == sizeof(Zmq)
    path = path or find_library()
    library = dlopen(os.fsencode(path), RTLD_NOW | RTLD_LOCAL)
    if library == NULL:
        raise ImportError(f"pyzmq's module {path} cannot be loaded: {os.fsdecode(dlerror())}")
    slot = <void**> &zmq
    for i, name in enumerate(names):
        found = dlsym(library, name)
        if found == NULL:
            raise ImportError(f"{name.decode()} cannot be reached in {path}: covey uses its Python loop instead")
        slot[i] = found
    zmq.version(&major, &minor, &patch)
    if (major, minor) < (4, 2):
        raise ImportError(f"pyzmq brings libzmq {major}.{minor}.{patch}; covey needs 4.2 or newer")
    _loaded = True
    _path = path
    return 0


def load(path=None):
    """Finds libzmq's functions and returns the file they were found in; ImportError where they cannot be had."""
    libzmq_load(path)
    return _path


cdef object libzmq_raise(str doing):
    cdef int number = zmq.last_error()
    raise OSError(number, f"{doing}: {zmq.strerror(number).decode()}")


cdef class Context:
    """The process's libzmq context: shared by all who take it, ended by the last who gives it back.

    A forked child must not touch its parent's context, so the pid is part of the bargain.
    """

    cdef void* take(self) except NULL:
        libzmq_load(None)
        if self.pid != os.getpid():
            self.handle = NULL
            self.users = 0
            self.pid = os.getpid()
        if self.handle == NULL:
            self.handle = zmq.ctx_new()
            if self.handle == NULL:
                libzmq_raise("making a libzmq context")
        self.users += 1
        return self.handle

    cdef void give_back(self):
        cdef void* handle
        if self.pid != os.getpid() or self.handle == NULL:
            return
        self.users -= 1
        if self.users == 0:
            handle = self.handle
            self.handle = NULL
            with nogil:
                zmq.ctx_term(handle)


the_context = Context()
