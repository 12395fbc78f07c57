"""Connections as they come: one that sends no request in time is told so, one that is half closed gets its answer."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_SECONDS = 20.0  # until the head of a request has come whole


class Connection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with a limit on the time that the head of a request takes."""

    head_seconds = _HEAD_SECONDS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._unwatch()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Take that no more will come: answer what is whole, and refuse what is not."""
        if not self._is_answering():
            return False
        if self.cycle.more_body:
            self._refuse("400 Bad Request", "the connection ended before the request was whole")
            return False
        self.cycle.keep_alive = False
        return True

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_answering():
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self._is_answering():
            self._refuse("408 Request Timeout", f"no whole request came within {self.head_seconds:g} seconds")

    def _refuse(self, status: str, sentence: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and self._is_answering():
            is_silent = not self.cycle.response_started
            self.cycle.disconnected = True  # whoever answers it learns that nobody waits
            self.cycle.message_event.set()
        else:
            is_silent = True
        if is_silent:
            body = f'{{"detail":"{sentence}"}}'.encode()
            head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
