# SPDX-License-Identifier: BSD-3-Clause
"""The slot's compiled half, as Python sees it: the link to the broker and the loop that runs tasks."""

# Asks the kernel to kill this process when the thread that started it ends; dies at once if `parent` is gone.
def die_with_parent(parent: int) -> None: ...

# Takes tasks from the broker at `address`, one at a time, until it is told to stop. `lifeline` is the reading
# end of a pipe that the node holds: when the other end closes, the process exits, whatever it is doing. `mark` is
# a file in which the node reads, should the process die, which task ran: its token in eight bytes, and the name of its
# function. `far`: what tasks write is sent with this machine's name. `kin` stands in the environment of all that tasks
# start. `max_rss`: bytes over which it leaves once a task is done; 0: no limit.
class Runner:
    def __init__(
        self,
        address: str,
        number: int,
        pid: int,
        kind: int = 0,
        device: int = -1,
        window: int = 1024,
        result_limit: int = ...,
        max_tasks: int = 0,
        native: bool = True,
        lifeline: int = -1,
        mark: int = -1,
        beat_every: float = 2.0,
        far: bool = False,
        kin: bytes = b"",
        max_rss: int = 0,
    ) -> None: ...
    # Starts the I/O thread and says HELLO; does not wait for the answer.
    def connect(self) -> None: ...
    # Runs tasks until STOP, `max_tasks` or `max_rss`, and returns 0. SystemExit of a task passes through; any other
    # exception means that this slot and its broker do not fit together (REFUSE).
    def run(self) -> int: ...
    # Which attempt at its task runs now, from 1; 0 while no task runs.
    @property
    def attempt(self) -> int: ...
    # What the task that runs takes of the slot's GPU, in 1/10,000; 0: all of it.
    @property
    def share(self) -> int: ...
    # Says BYE because the initializer raised; `error` is the sealed exception. Returns when it is sent.
    def fail_setup(self, error: bytes) -> None: ...
    # Lets what was sent leave, and ends the link.
    def close(self) -> None: ...
    # A note from the current task to whoever asked for it.
    def write(self, text: bytes) -> None: ...
    # The next note to the current task. None: there was none within `timeout` seconds, or nobody wants the task now.
    def hear(self, timeout: float | None = None) -> bytes | None: ...
    # Sends what the current task printed or logged (`enum Stream` of the protocol). From any thread; never raises.
    def output(self, stream: int, data: bytes) -> None: ...
    @property
    def closed(self) -> bool: ...
    # For the link on pyzmq: readable when there may be letters, one message in, all letters out and whether it ended.
    @property
    def wake_fd(self) -> int: ...
    def feed(self, frames: list[bytes]) -> None: ...
    def letters(self) -> tuple[list[list[bytes]], bool]: ...
