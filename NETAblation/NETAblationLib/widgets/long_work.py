"""Work that takes more than a moment, with its progress and a button to stop it, while Slicer stays usable.

The work runs in a thread of Python and touches neither the scene nor Qt. The main thread looks at it by a timer and
waits for it a little each time: inside Slicer that wait is what gives Python's lock to the other thread. What has to be
done in the main thread, such as rendering, is done there in short steps instead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..core.errors import Cancelled, InputError, NETAblationError
from ..core.progress import ProgressCallback

#: How often the main thread looks, and how long it then waits for the work, in ms. User-set.
_PERIOD_MS, _WAIT_MS = 30, 20

_LOGGER = logging.getLogger(__name__)

#: Work in steps: each tells how far it has come (0..1) and with what; the end returns the result.
Steps = Generator[tuple[float, str], None, Any]


class LongWork:
    """A bar for one piece of work at a time; `widget` goes into a panel and shows while work is under way."""

    #: The work that is under way in any panel: two at once would only slow each other down.
    _running: LongWork | None = None

    def __init__(self) -> None:
        """Build the bar, hidden."""
        self.title = ""
        self._thread: threading.Thread | None = None
        self._steps: Steps | None = None
        self._isStopping = threading.Event()
        self._said: tuple[float, str] = (0.0, "")
        self._result: Any = None
        self._error: BaseException | None = None
        self._onDone: Callable[[Any], object] | None = None
        self._onEnd: Callable[[], None] | None = None
        self._onFail: Callable[[BaseException], None] | None = None
        self.widget = qt.QFrame()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self._bar = qt.QProgressBar()
        self._bar.maximum = 1000
        self._bar.toolTip = _("How far the work has come")
        self.cancelButton = qt.QPushButton(_("Stop"))
        self.cancelButton.toolTip = _("Stop this work; what there was before is kept")
        self.cancelButton.connect("clicked()", self.cancel)
        layout.addWidget(self._bar)
        layout.addWidget(self.cancelButton)
        self.widget.visible = False
        self._timer = qt.QTimer()
        self._timer.interval = _PERIOD_MS
        self._timer.connect("timeout()", self._look)

    @property
    def isRunning(self) -> bool:
        """Whether work of this bar is under way."""
        return self._thread is not None or self._steps is not None

    @classmethod
    def busyWith(cls) -> str:
        """The title of the work that is under way in any panel; empty where none is."""
        return cls._running.title if cls._running is not None else ""

    def start(
        self,
        title: str,
        work: Callable[[ProgressCallback], Any],
        onDone: Callable[[Any], object],
        onEnd: Callable[[], None] | None = None,
        onFail: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run `work(progress)` beside the application, then `onDone(result)` in the main thread.

        `onFail(error)` is called there where the work failed or was stopped (:class:`.Cancelled`), `onEnd` at last
        however it ended. A failure is shown to the user; when the work
        is stopped it may still return what it has, else nothing changes. Raises InputError while other work is
        under way.
        """
        self._begin(title, onDone, onEnd, onFail)
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"NETAblation {title}", daemon=True)
        self._thread.start()

    def startSteps(
        self,
        title: str,
        steps: Steps,
        onDone: Callable[[Any], object],
        onEnd: Callable[[], None] | None = None,
        onFail: Callable[[BaseException], None] | None = None,
    ) -> None:
        """As `start`, for what has to be done in the main thread: step by step, with time for the user between."""
        self._begin(title, onDone, onEnd, onFail)
        self._steps = steps

    def _begin(
        self,
        title: str,
        onDone: Callable[[Any], object],
        onEnd: Callable[[], None] | None,
        onFail: Callable[[BaseException], None] | None,
    ) -> None:
        if LongWork._running is not None:
            raise InputError(_("{work} is under way: wait for it or stop it first").format(work=self.busyWith()))
        self.title, self._onDone, self._onEnd, self._onFail = title, onDone, onEnd, onFail
        self._result = self._error = None
        self._said = (0.0, "")
        self._isStopping.clear()
        self.cancelButton.enabled = True
        LongWork._running = self
        self._show()
        self.widget.visible = True
        self._timer.start()

    def cancel(self) -> None:
        """Ask the work to stop; it does so the next time it reports progress."""
        self._isStopping.set()
        self.cancelButton.enabled = False
        self._show()

    def wait(self) -> None:
        """Block until the work has ended and its result was taken; for tests and for closing."""
        while self.isRunning:
            self._look()

    def abandon(self) -> None:
        """Stop the work and forget it: what it would have given belongs to a scene that is being closed."""
        self._onDone = self._onEnd = self._onFail = None
        if self._steps is not None:
            self._steps.close()
        if self._thread is not None:
            self.cancel()
            self._thread.join()
        if self.isRunning:
            self._thread = self._steps = self._error = None
            self._finish()

    def _run(self, work: Callable[[ProgressCallback], Any]) -> None:
        try:
            self._result = work(self._report)
        except BaseException as error:  # shown in the main thread
            self._error = error

    def _report(self, fraction: float, message: str) -> None:
        """The progress callback, called in the work's thread."""
        self._said = (fraction, message)
        if self._isStopping.is_set():
            raise Cancelled(message)

    def _show(self) -> None:
        fraction, message = self._said
        if self._isStopping.is_set():
            message = _("stopping")
        self._bar.value = round(1000 * min(max(fraction, 0.0), 1.0))
        self._bar.format = f"{self.title}: {message}" if message else self.title

    def _look(self) -> None:
        if not self.isRunning:
            return
        if self._thread is not None:
            self._thread.join(_WAIT_MS / 1000.0)
            isDone = not self._thread.is_alive()
        else:
            isDone = self._step()
        self._show()
        if isDone:
            self._thread = self._steps = None
            self._finish()

    def _step(self) -> bool:
        """Do the next step; whether it was the last."""
        assert self._steps is not None
        try:
            self._report(*next(self._steps))
        except StopIteration as end:
            self._result = end.value
        except Exception as error:  # shown when the work is finished
            self._error = error
        else:
            return False
        return True

    def _finish(self) -> None:
        self._timer.stop()
        LongWork._running = None
        self.widget.visible = False
        error, result = self._error, self._result
        onDone, onEnd, onFail = self._onDone, self._onEnd, self._onFail
        self._error = self._result = self._onDone = self._onEnd = self._onFail = None
        try:
            if error is None and onDone is not None:
                with slicer.util.tryWithErrorDisplay(_("{work} failed.").format(work=self.title)):
                    onDone(result)
            if error is not None and onFail is not None:
                onFail(error)
            if error is not None and not isinstance(error, Cancelled):
                showError(error, self.title)
        finally:
            if onEnd is not None:
                onEnd()


def showError(error: BaseException, title: str) -> None:
    """Show an error in a dialog: what went wrong and what to do, with the trace where it is not ours."""
    _LOGGER.error("%s failed", title, exc_info=error)
    isOurs = isinstance(error, NETAblationError)
    text = str(error) if isOurs else _("{work} failed: {error}").format(work=title, error=error)
    detailed = "" if isOurs else repr(error)
    slicer.util.errorDisplay(text, windowTitle=title, detailedText=detailed or None)
