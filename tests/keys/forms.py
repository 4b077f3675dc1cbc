# SPDX-License-Identifier: BSD-3-Clause
"""Every form in which a secret might be seen, and a look into everything that a traceback could show."""
import base64
import traceback
from collections.abc import Iterable

from zmq.utils import z85

ROOT = bytes(range(100, 132))


def forms(secret: bytes) -> list[str]:
    """How the bytes look when somebody prints them."""
    return [secret.hex(), secret.hex().upper(), repr(secret)[2:-1], z85.encode(secret).decode(),
            base64.b64encode(secret).decode(), str(list(secret))[1:-1]]


def shown(text: str, secrets: Iterable[bytes]) -> list[str]:
    """The forms of the secrets that are in the text."""
    return [form for secret in secrets for form in forms(secret) if form in text]


def told(error: BaseException) -> str:
    """What the most talkative of debuggers prints: the error, those behind it, and the locals of covey's frames."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True, compact=False)
    texts: list[str] = []
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is not None:
            ours = (frame for frame in part.stack if "/src/covey/" in frame.filename)
            texts.append(str(part))
            texts += [text for frame in ours for text in (frame.locals or {}).values()]
            pending += [part.__cause__, part.__context__]
    return "\n".join(texts)
