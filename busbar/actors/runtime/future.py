"""The reply to an ask: there at once when the receiver was idle, awaitable when it was not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pykka

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykka._types import OptExcInfo

_PENDING: Final = object()


class LoopFuture(pykka.Future[Any]):
    """A reply on the event loop. Not thread-safe: it belongs to the loop's thread.

    It creates an `asyncio.Future` only when somebody awaits before the reply is there. The first answer counts;
    a later one is ignored (pykka's own futures raise), because an actor that died has already answered for itself.
    Futures derived with pykka's `map`, `filter`, `reduce` and `join` are computed on `get()`, from replies that
    are there.
    """

    _get_hook: Callable[[float | None], Any] | None = None
    _value: Any = _PENDING
    _error: BaseException | None = None
    _waiters: list[asyncio.Future[None]] | None = None
    _abandoned = False

    if not TYPE_CHECKING:
        # All fields have class-level defaults: a future that is answered at once costs one small object, and no call.
        __init__ = object.__init__

    def __repr__(self) -> str:
        if not self.done():
            return "<LoopFuture pending>"
        return f"<LoopFuture {self._value!r}>" if self._error is None else f"<LoopFuture {self._error!r}>"

    def done(self) -> bool:
        """Whether the reply (a value or an exception) is there."""
        return self._value is not _PENDING

    @property
    def abandoned(self) -> bool:
        """Whether the coroutine that awaited this reply was cancelled, so that nobody will read it, unless another
        one awaits it."""
        return self._abandoned

    def get(self, *, timeout: float | None = None) -> Any:
        """The reply, at once. It never blocks the loop, so `timeout` is only handed to pykka's get hooks.

        Raises:
            pykka.Timeout: the reply is not there yet; await the future instead.
            Exception: whatever the receiver answered with.
        """
        if self._error is not None:
            raise self._error
        if self._value is not _PENDING:
            return self._value
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        msg = "the reply is not there yet; await the future"
        raise pykka.Timeout(msg)

    def set(self, value: Any = None) -> None:
        """Answer with a value. Ignored when there is an answer already."""
        if self._value is not _PENDING:
            return
        self._value = value
        if self._waiters is not None:
            self._wake()

    def set_exception(self, exc_info: OptExcInfo | BaseException | None = None) -> None:
        """Answer with an exception, or pykka's `exc_info` triple, or the exception being handled right now."""
        if self._value is not _PENDING:
            return
        if exc_info is None:
            exc_info = sys.exc_info()
        self._error = exc_info if isinstance(exc_info, BaseException) else exc_info[1]
        assert self._error is not None, "set_exception() without an exception"
        self._value = None
        if self._waiters is not None:
            self._wake()

    def when_done(self, callback: Callable[[LoopFuture], object]) -> None:
        """Call `callback` with this future soon after its reply has come, if one comes. Unlike `await` this does not
        count as waiting for it: an actor that took the reply over may see that nobody does, and drop it."""
        if self._value is not _PENDING:
            callback(self)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(lambda _waiter: callback(self))
        self._waiters = [*(self._waiters or ()), waiter]

    def set_get_hook(self, func: Callable[[float | None], Any]) -> None:
        """Compute the value with `func` on the first `get()` (pykka's `map` and its kind are made of this)."""
        super().__init__()
        super().set_get_hook(func)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._value is _PENDING and self._get_hook is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            self._abandoned = False
            try:
                yield from waiter
            except BaseException:
                self._leave(waiter)
                raise
        return self.get()

    __iter__ = __await__

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        """Forget a coroutine that was cancelled while it waited."""
        if self._waiters is not None:
            self._waiters.remove(waiter)
            self._abandoned = not self._waiters

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class _Taken(LoopFuture):
    """Stands where the reply was after `defer()` took it over: the handler's own return value goes nowhere."""

    def set(self, value: Any = None) -> None:
        pass

    def set_exception(self, exc_info: OptExcInfo | BaseException | None = None) -> None:
        pass


TAKEN: Final = _Taken()
