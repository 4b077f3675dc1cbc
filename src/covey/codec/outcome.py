# SPDX-License-Identifier: BSD-3-Clause
"""Errors on their way home: an exception, its chain and its tracebacks as bytes.

Why: a user catches the type that the function raised, and reads where it was raised, as if it had
happened in the same process. Exceptions are the objects that pickle loses most easily (an `__init__`
with other arguments suffices), so each is rebuilt once in the slot, where its true type is known.

    exc ──► nodes, one for each exception of the chain or group:  pickle of it alone | frames | links
    nodes ──► exceptions ──► linked, with tracebacks that Python prints like its own

May not know: sockets, tasks. Guarantees: nothing here raises; what does not survive the journey
becomes a RemoteError that says what it was, and everything around it still arrives. The exception
that is sealed is not changed.
"""
from __future__ import annotations

import functools
import linecache
from _pickle import dumps, loads
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType, TracebackType

from covey.codec import parcel
from covey.codec.culprit import not_picklable_result as not_picklable_result
from covey.errors import RemoteError, ResultNotLoadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

_NODES_LIMIT = 100      # exceptions of one chain or group; what lies behind is cut off
_FRAMES_LIMIT = 60      # frames kept at either end: an endless recursion has thousands in between

_UNTOLD = ("builtins", "__main__")      # modules that Python's own tracebacks leave out, too

# How a node's exception was pickled.
_LOST, _WHOLE, _BARE, _GROUP = range(4)

_Frame = tuple[str, int, str, str, str]         # file, line, function, module, source


@dataclass(slots=True)
class _Node:
    """One exception of a chain; `cause`, `context` and `children` are places in the list of nodes."""

    how: int
    pickle: bytes
    type_name: str
    message: str
    reason: str                         # why it is _LOST
    frames: list[_Frame]
    notes: list[str]
    suppress: bool
    cause: int = -1
    context: int = -1
    children: tuple[int, ...] = ()


def seal_error(exc: BaseException, where: str = "", note: str = "") -> bytes:
    """An exception as bytes (form byte RAISED first). `where` is for people: "slot 2 (pid 31 on host)".

    >>> str(open_error(seal_error(KeyError("k"))))
    "'k'"
    """
    try:
        return _seal((where, note, _nodes(exc)))
    except BaseException as odd:
        lost = _Node(_LOST, b"", _type_name(exc), _message(exc), f"sealing it failed with {_told(odd)}", [], [], False)
        return _seal((where, note, [lost]))


def open_error(data: Buffer, task: str = "", attempt: int = 1) -> BaseException:
    """The exception that was sealed, or a RemoteError that stands for it; `task` is named in a note on it."""
    try:
        where, note, rows = loads(memoryview(data)[1:])
        nodes = [_Node(*row) for row in rows]
        exc = _Opened(nodes, where).exception(0)
        if isinstance(exc, (ImportError, AttributeError)):
            from covey.codec.versions import complete

            complete(exc, where)
        if task:
            note = f"covey: task {task}, attempt {attempt}, in {where}"
        if note:
            _annotate(exc, note)
        return exc
    except BaseException as odd:
        return RemoteError("an error", "that could not be read", "", _told(odd))


def not_loadable_result(error: BaseException, describe: str = "a function") -> ResultNotLoadable:
    """The error for a result whose bytes arrived but did not become an object; `error` is its cause."""
    failed = ResultNotLoadable(
        f"the result of {describe} arrived, but could not be rebuilt here ({_told(error)}); "
        f"return plain data, or give its class a __reduce__ that loads")
    failed.__cause__ = error
    return failed


def _seal(story: tuple[str, str, list[_Node]]) -> bytes:
    where, note, nodes = story
    rows = [tuple(getattr(node, name) for name in _Node.__slots__) for node in nodes]
    return bytes((parcel.RAISED,)) + dumps((where, note, rows), 5)


def _type_name(exc: BaseException) -> str:
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ in _UNTOLD else f"{kind.__module__}.{kind.__qualname__}"


def _message(exc: BaseException) -> str:
    try:
        # An exact str: the user's __str__ may return a subclass that does not pickle.
        return "".join(str(exc)).encode("utf-8", "backslashreplace").decode()
    except BaseException as odd:
        return f"(its __str__ raised {type(odd).__name__})"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {_message(error)}"


def _nodes(exc: BaseException) -> list[_Node]:
    found = [exc]
    places = {id(exc): 0}

    def place(other: BaseException | None) -> int:
        if other is None:
            return -1
        if id(other) not in places:
            if len(found) >= _NODES_LIMIT:
                return -1
            places[id(other)] = len(found)
            found.append(other)
        return places[id(other)]

    nodes = []
    for one in found:           # grows while we walk it
        node = _node(one)
        if isinstance(one, BaseExceptionGroup):
            node.children = tuple(at for at in map(place, one.exceptions) if at >= 0)
        node.cause = place(one.__cause__)
        node.context = place(one.__context__)
        nodes.append(node)
    return nodes


def _node(exc: BaseException) -> _Node:
    how, data, reason = _pickled(exc)
    notes = getattr(exc, "__notes__", ())
    texts = [note for note in notes if type(note) is str] if isinstance(notes, (list, tuple)) else []
    return _Node(how, data, _type_name(exc), _message(exc), reason, _frames(exc.__traceback__), texts,
                 exc.__suppress_context__)


def _pickled(exc: BaseException) -> tuple[int, bytes, str]:
    """How, the pickle, and why not. Proven by a round trip: same type, same message."""
    reason = ""
    ways = (_GROUP,) if isinstance(exc, BaseExceptionGroup) else (_WHOLE, _BARE)
    for how in ways:
        try:
            if how == _GROUP:
                data = parcel.seal_whole((type(exc), exc.message, exc.__dict__))  # type: ignore[attr-defined]
            elif how == _WHOLE:
                data = parcel.seal_whole(exc)
            else:
                data = parcel.seal_whole((type(exc), exc.args, exc.__dict__))
            twin = _rebuilt(how, data, getattr(exc, "exceptions", ()))
            if type(twin) is type(exc) and _message(twin) == _message(exc):
                return how, data, ""
            reason = reason or f"a round trip made it {_type_name(twin)}: {_message(twin)}"
        except BaseException as odd:
            reason = reason or _told(odd)
    return _LOST, b"", reason


def _rebuilt(how: int, data: bytes, children: Iterable[BaseException]) -> BaseException:
    loaded = parcel.unseal(data)
    if how == _WHOLE:
        if not isinstance(loaded, BaseException):
            raise TypeError(f"it was rebuilt as a {type(loaded).__qualname__}")
        return loaded
    kind, args, state = loaded
    exc: BaseException
    if how == _GROUP:
        exc = kind.__new__(kind, args, list(children))
    else:
        # Past the user's __init__, whose arguments are not known; Python's own fills in errno, code and the like.
        exc = kind.__new__(kind, *args)
        own = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        own.__init__(exc, *args)
        exc.args = args
    exc.__dict__.update(state)
    return exc


def _frames(traceback: TracebackType | None) -> list[_Frame]:
    frames: list[_Frame] = []
    while traceback is not None:
        frame = traceback.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        # The first frames are the slot's own; the user's story begins behind them.
        if frames or not module.startswith("covey."):
            file = frame.f_code.co_filename
            line = traceback.tb_lineno or 0
            source = linecache.getline(file, line, frame.f_globals).strip()
            frames.append((file, line, frame.f_code.co_name, module, source))
            if len(frames) > 3 * _FRAMES_LIMIT:
                del frames[_FRAMES_LIMIT:-_FRAMES_LIMIT]
        traceback = traceback.tb_next
    return frames


class _Opened:
    """Nodes on their way back to exceptions, each built once, so that chains may share and loop."""

    def __init__(self, nodes: list[_Node], where: str) -> None:
        self.nodes = nodes
        self.where = where
        self.built: dict[int, BaseException] = {}

    def exception(self, place: int) -> BaseException:
        if place in self.built:
            return self.built[place]
        node = self.nodes[place]
        children = [self.exception(child) for child in node.children]
        exc = self._alone(node, children)
        self.built[place] = exc
        # RemoteError keeps no traceback: it has the text of the one it stands for.
        if node.frames and type(exc) is not RemoteError:
            exc.__traceback__ = _traceback(node.frames)
        if node.cause >= 0:
            exc.__cause__ = self.exception(node.cause)
        if node.context >= 0:
            exc.__context__ = self.exception(node.context)
        exc.__suppress_context__ = node.suppress
        return exc

    def _alone(self, node: _Node, children: list[BaseException]) -> BaseException:
        reason = node.reason
        if node.how != _LOST:
            try:
                return _rebuilt(node.how, node.pickle, children)
            except BaseException as odd:
                reason = _told(odd)
        text = _text(node, self.where)
        stand_in = RemoteError(node.type_name, node.message, text, reason)
        for note in node.notes:
            stand_in.add_note(note)
        return stand_in


def _text(node: _Node, where: str) -> str:
    place = f" in {where}" if where else ""
    lines = [f"Traceback{place} (most recent call last):"]
    for file, line, name, _, source in node.frames:
        lines.append(f'  File "{file}", line {line}, in {name}')
        if source:
            lines.append(f"    {source}")
    lines.append(f"{node.type_name}: {node.message}")
    return "\n".join(lines)


@functools.cache
def _stub() -> CodeType:
    """Code that fails at once. It has lines but no columns: Python would draw ^^^^ under the wrong words."""
    import ast

    tree = ast.parse("_")
    for node in ast.walk(tree):
        if isinstance(node, (ast.expr, ast.stmt)):
            node.col_offset = node.end_col_offset = -1
    return compile(tree, "<covey>", "exec")


def _traceback(frames: list[_Frame]) -> TracebackType | None:
    """A traceback that Python prints like its own. (tblib's has columns, and they are those of its stub.)"""
    made: TracebackType | None = None
    for file, line, name, module, _ in reversed(frames):
        code = _stub().replace(co_filename=file, co_name=name, co_qualname=name, co_firstlineno=line)
        try:
            exec(code, {"__name__": module, "__file__": file})
        except NameError as error:
            raised = error.__traceback__.tb_next if error.__traceback__ else None
            if raised is not None:
                made = TracebackType(made, raised.tb_frame, raised.tb_lasti, line)
    return made


def _annotate(exc: BaseException, note: str) -> None:
    try:
        exc.add_note(note)
    except Exception:
        exc.__dict__["__notes__"] = [note]      # the user's own __notes__ is no list
