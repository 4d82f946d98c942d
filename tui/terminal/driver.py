"""The one place that writes to the terminal, and never waits for it.

Textual hands its output to a thread through a queue of thirty writes; when a terminal stops reading (XOFF,
a stuck ssh link) the queue fills, the next write blocks the event loop, and with it the engine and every
task. Textual (8.2) lets an application choose its driver but not the writer inside it. So this is its Linux
driver with another writer:

- what the kernel does not take at once waits here, and is sent when the terminal reads again;
- while about a frame waits, no other is added: it is dropped whole, before anything of it is written, so that
  nothing on the screen is ever torn. Once there is room the screen is painted in full, as it is by then;
- all that is not a frame (modes, cursor, bell, clipboard) is kept, in order;
- leaving waits a moment for the terminal, not for ever; one that has gone away is not written to any more.

An application derives from `TerminalApp` in place of `App`, and needs nothing else. It should handle
`TerminalLost` (`on_terminal_lost`): the terminal has gone, nobody can press a key any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from rich.console import RenderableType
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.screen import Screen

from tui.terminal.keystrokes import Keystrokes

FRAME: Final = 4096
"""Bytes unsent beyond which no frame is added: about a screen of 80x24. A slow link lags by as much more."""

HOARD: Final = 1 << 20
"""Bytes unsent beyond which bells, titles and clipboard texts are dropped: they could pile up without end."""

PATIENCE: Final = 1.0
"""Seconds that leaving waits for a terminal which takes nothing at all."""

FAREWELL: Final = 10.0
"""Seconds that leaving waits in all, however slowly the terminal reads."""

_PASSING = ("\x07", "\x1b]", "\x1bP")

ReturnType = TypeVar("ReturnType")


class TerminalLost(Message):
    """The terminal has gone away: nothing is read from it or written to it from now on."""


class TerminalWriter:
    """Bytes on their way to a terminal, sent as it takes them. Never blocks; to be used in the loop's thread.

    on_room: called when no more than a frame is left waiting, after there was more. on_lost: called once,
    when the terminal has gone.
    """

    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        on_room: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._fd = _open_again(fd)
        self._loop = loop
        self._on_room = on_room
        self._on_lost = on_lost
        self._unsent = bytearray()
        self._waiting = False
        self._open = True

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Add `data`; it is sent within this turn of the loop, or when the terminal reads."""
        if not self._open:
            return
        if not self._unsent:
            self._loop.call_soon(self.send)
        self._unsent += data

    def send(self) -> None:
        """Give the kernel what it takes now; see to it that the rest follows."""
        if not self._open:
            return
        before = len(self._unsent)
        if before:
            try:
                del self._unsent[: os.write(self._fd, self._unsent)]
            except BlockingIOError:
                pass
            except OSError:  # EIO: it has hung up
                self._abandon()
                self._on_lost()
                return
        if self._waiting != bool(self._unsent):
            self._waiting = not self._waiting
            if self._waiting:
                self._loop.add_writer(self._fd, self.send)
            else:
                self._loop.remove_writer(self._fd)
        if before > FRAME >= len(self._unsent):
            self._on_room()

    def close(self) -> None:
        """Send the rest, for as long as the terminal goes on taking it; then write no more."""
        if not self._open:
            return
        ready = select.poll()
        ready.register(self._fd, select.POLLOUT)
        last = time.monotonic() + FAREWELL
        self.send()
        while self._unsent and time.monotonic() < last and ready.poll(PATIENCE * 1000):
            self.send()
        self._abandon()

    def _abandon(self) -> None:
        if self._open:
            self._open = False
            if self._waiting:
                self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._unsent.clear()


def _open_again(fd: int) -> int:
    """The terminal behind `fd`, opened for writes that do not block.

    The flag belongs to what was opened, and that is shared with the shell and all else on this terminal: set
    on `fd` itself it would make *their* writes fail. After `su` the terminal belongs to somebody else and
    cannot be opened by its name, but as `/dev/tty` it can. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(fd), flags)
    return os.open("/dev/tty", flags)


class TerminalDriver(LinuxDriver):
    """Textual's driver for Linux and macOS, with a `TerminalWriter` in it."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._thread = threading.get_ident()
        self._writer: TerminalWriter | None = None
        self._lost = False
        self.frame_owed = True
        """What is on the screen is not known, or is old: the next frame must be a full one."""
        self.on_continue: Callable[[], None] | None = None
        """Called when the process is continued after a stop, while the terminal is given away."""

    @property
    def has_room(self) -> bool:
        """Whether a frame written now has a chance to be seen soon."""
        return self._writer is not None and not self._lost and self._writer.unsent <= FRAME

    def write(self, data: str) -> None:
        if threading.get_ident() != self._thread:  # the input thread answers some of what it reads
            self._loop.call_soon_threadsafe(self.write, data)
        elif self._writer is not None and not (self._writer.unsent > HOARD and data.startswith(_PASSING)):
            self._writer.write(data.encode(errors="replace"))

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.send()

    def start_application_mode(self) -> None:
        if self._lost:
            return
        if self._writer is None:
            # Not always stderr, as in Textual: `2>errors.log` must not send the console into the log.
            output = next((fd for fd in (1, 2) if os.isatty(fd)), self.fileno)
            try:
                self._writer = TerminalWriter(output, self._loop, self._repaint, self._lose)
            except OSError:
                self._lose()
                return
        self.frame_owed = True
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._writer_thread is not None:  # has nothing to do
            self._writer_thread.stop()
            self._writer_thread = None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _repaint(self) -> None:
        if self.frame_owed:
            self._app.call_later(self._app.refresh)

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._app.post_message(TerminalLost())

    # A signal comes between any two instructions, perhaps amid a write: the loop does what it asks for.

    def _sigtstp_application(self, *_: object) -> None:
        if self._writer is None:
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self._loop.call_soon_threadsafe(super()._sigtstp_application)

    def _sigcont_application(self, *_: object) -> None:
        if self._writer is not None or self._must_signal_resume:
            self._loop.call_soon_threadsafe(self._continue)
        elif self.on_continue is not None:
            self._loop.call_soon_threadsafe(self.on_continue)

    def _continue(self) -> None:
        """Take the terminal again after a stop; after SIGSTOP, which gives no notice, leave it first."""
        if self._auto_restart and not self._lost:
            if self._writer is not None:
                self.suspend_application_mode()
            self.resume_application_mode()

    def run_input_thread(self) -> None:
        """Read keys until told to end, or until nothing is left to read from (where Textual's own spins)."""
        app = self._app
        heeds_alt = isinstance(app, TerminalApp) and app.heeds_alt
        keystrokes = Keystrokes(debug=self._debug, heeds_alt=heeds_alt)
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""
                if not data:
                    if self.input_tty:
                        self._loop.call_soon_threadsafe(self._lose)
                    break
                for event in keystrokes.read(data):
                    self.process_message(event)
            else:
                for event in keystrokes.rest():
                    self.process_message(event)


class TerminalApp(App[ReturnType]):
    """An app that drops frames while the terminal does not read, and then paints the present."""

    heeds_alt = False
    """Whether anything is done by a key pressed with Alt."""

    def get_driver_class(self) -> type[Driver]:
        return TerminalDriver

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        driver = self._driver
        if (
            isinstance(driver, TerminalDriver)
            and renderable is not None
            and self._running
            and not self._batch_count
        ):
            if not driver.has_room:
                driver.frame_owed = True
                self.post_display_hook()
                return
            if driver.frame_owed:
                driver.frame_owed = False
                behind = self._background_screens
                renderable = screen._compositor.render_update(full=True, screen_stack=behind)
                self.forget_frames()
        super()._display(screen, self.prepare_frame(renderable))

    def forget_frames(self) -> None:
        """What the terminal shows is not known."""

    def prepare_frame(self, renderable: Any) -> Any:
        """What is to be drawn, in another form if an application knows a better one."""
        return renderable
