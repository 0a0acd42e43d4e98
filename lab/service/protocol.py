"""Uvicorn's HTTP protocol with a limit on the size of a request's head, which uvicorn doesn't have."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lab.service.problems import PROBLEM, document

HEAD_MAX = 32 * 2**10


class Bounded(HttpToolsProtocol):
    """Counts what has come since a head began; one that doesn't end is refused, and the connection closed."""

    _head_bytes = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """Start counting the bytes of a head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse data; refuse the request and close the connection if its head is too long."""
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX and not self.transport.is_closing():
            body = document(431, f"a request's head has {HEAD_MAX} bytes at the most")
            head = f"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: {PROBLEM}\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
            self.transport.close()
