"""The short way of a predict request that arrived whole, as nearly all do: from the parser to the line that waits for the model, and
from the model to the socket. It has no task and no future of its own, which together cost as much as everything else.

Whatever is not that plain (a body in pieces, packed bodies, a rollout, anything wrong) goes the long way, through ``App.__call__``.

Whoever asks again over the same connection nearly always sends the same header again, but for the length of the body. So the parser
need not read it again: what it made of these bytes is known.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any, NamedTuple

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tidegate.frames import Columns
from tidegate.serving.admission import OverloadedError
from tidegate.serving.app import Answer, App, Call
from tidegate.serving.connections import Connection
from tidegate.serving.handle import Handle
from tidegate.serving.protocols.request import Request

_PLAIN = re.compile(rb"[\x20-\x7e]*")
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]+)(?=\r\n)", re.IGNORECASE)
_DIGITS = 8


def _end_turn(serving: App) -> None:
    """What is read in one turn of the loop was there when the turn began: the last of it has waited for the rest to be read."""
    serving.turn = 0.0
    serving.read_before, serving.read = serving.read, 0


class _Nobody:
    """Nobody waits for the rest of a request that is there."""

    def set(self) -> None:
        pass


_NOBODY = _Nobody()


class Head(NamedTuple):
    """A header that the parser has read, cut at the length of its body, and what was made of it."""

    before: bytes
    behind: bytes
    """From the end of the length to the empty line."""
    call: Call

    def end_in(self, data: bytes) -> int:
        """Where the body begins, if these bytes are this header, with whatever length, and a body of just that length; else 0."""
        start = len(self.before)
        if not data.startswith(self.before) or (end := data.find(b"\r", start, start + _DIGITS + 1)) < 0:
            return 0
        digits, begin = data[start:end], end + len(self.behind)
        told = digits.isdigit() and data.startswith(self.behind, end) and len(data) - begin == int(digits)
        return begin if told else 0


def cut_head(data: bytes, call: Call) -> Head | None:
    """The header at the beginning of what was read, if one length is said in it in the usual way; ``call`` is what was made of it."""
    end = data.find(b"\r\n\r\n") + 2
    found = list(_LENGTH.finditer(data, 0, end))
    if len(found) != 1 or b"x-request-id" in call.headers:
        return None
    start, stop = found[0].span(1)
    headers = {name: value for name, value in call.headers.items() if name != b"content-length"}
    return Head(data[:start], data[stop : end + 2], Call(headers, 0.0, call.protocol, None, call.asked))


class Answering:
    """A request on the short way: what uvicorn asks of a request (its cycle), and what the line asks of who waits (its future)."""

    __slots__ = ("call", "connection", "disconnected", "keep_alive", "more_body", "request", "response_complete", "scope")

    body = b""
    response_started = False
    message_event = _NOBODY

    def __init__(self, connection: DirectConnection, call: Call, *, keep_alive: bool) -> None:
        self.connection = connection
        self.scope: Any = connection.scope
        self.call = call
        self.request: Request | None = None
        self.keep_alive = keep_alive
        self.more_body = False
        self.disconnected = False
        self.response_complete = False

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected

    def set_result(self, outputs: Columns) -> None:
        """Answers with what the model gave."""
        assert self.request is not None
        try:
            answer = self.connection.serving.told(self.call, self.request, outputs)
        except Exception as error:  # noqa: BLE001 - the last seam of this way: see ``App.__call__``
            self.set_exception(error)
        else:
            self.connection.answer(self, answer)

    def set_exception(self, error: Exception) -> None:
        """Answers with what went wrong."""
        self.connection.answer(self, self.connection.serving.refusal(error, self.call))


class DirectConnection(Connection):
    """A connection whose plain predict requests take the short way."""

    _begun = 0  # requests that began in the portion that is being read
    _call: Call | None = None  # a request whose header may take the short way, and whose body is not whole yet
    _body = b""
    _alone: Handle | None = None  # whose model may be asked at once
    _inside = False  # a request that the parser has begun is not whole yet
    _head: Head | None = None  # that of the last request
    _taken: Call | None = None  # a request that took the short way by way of the parser

    @property
    def serving(self) -> App:
        """The application."""
        return self.config.app  # pyright: ignore[reportReturnType]  (it is given as it is)

    def connection_made(self, transport: Any) -> None:
        """Called once. Unlike uvicorn's it does not ask for both addresses, which nobody reads: that takes longer than a request."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.scheme = "http"

    def data_received(self, data: bytes) -> None:
        """Called with every portion that arrives."""
        if not self._take_known_way(data):
            begins = not self._inside
            super().data_received(data)
            begun, self._begun = self._begun, 0
            if self._call is not None:
                self._take_long_way()
            taken, self._taken = self._taken, None
            if begins and begun == 1 and taken is not None and not self._inside:
                self._head = cut_head(data, taken)
        if self._alone is not None:
            alone, self._alone = self._alone, None
            self.serving.predictions.hurry(alone)

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        super().on_message_begin()
        self._begun += 1
        self._inside = True
        self.scope["began"] = self._read_one()  # pyright: ignore[reportGeneralTypeIssues]  (a key of ours)

    def on_headers_complete(self) -> None:
        """Called by the parser behind a header."""
        cycle: Any = self.cycle
        if (
            self._begun
            and (cycle is None or cycle.response_complete)
            and not (self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade())
            and self.parser.get_method() == b"POST"
        ):
            self._call = self.serving.plain(self.url, self.headers, self.scope["began"])  # pyright: ignore[reportGeneralTypeIssues]
            if self._call is not None:
                self._body = b""
                if self._keeps_alive():
                    self._turn_away(self._call, more_body=True)
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a piece of a body."""
        if self._call is None:
            super().on_body(body)
        elif self._body:
            self._take_long_way()
            super().on_body(body)
        else:
            self._body = body

    def on_message_complete(self) -> None:
        """Called by the parser at a request's end."""
        self._inside = False
        call = self._call
        if call is not None and self._take_short_way(call, self._body, keep_alive=self._keeps_alive()):
            self._taken = call
            return
        if call is not None:
            self._take_long_way()
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle.more_body = False  # uvicorn leaves it so where the answer came first

    def answer(self, answering: Answering, answer: Answer) -> None:
        """Writes an answer in one piece, if somebody is still there."""
        answering.call.asking = None  # it names who waits: a circle that only the garbage collector would find, in milliseconds
        if answering.disconnected or answering.response_complete or self.transport.is_closing():
            return
        status, headers, body = answer
        close = self.serving.draining or not answering.keep_alive  # asked once: a signal may come in between
        headers = self.serving.finished(headers, body, answering.call, close=close)
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        answering.response_complete = True
        if close:
            self.transport.close()
        self.on_response_complete()

    def _read_one(self) -> float:
        """Counts a request; when the loop began to read what it reads now."""
        serving = self.serving
        if not serving.turn:
            serving.turn = perf_counter()
            self.loop.call_soon(_end_turn, serving)
        serving.read += 1
        return serving.turn

    def _turn_away(self, call: Call, *, more_body: bool) -> bool:
        """Answers a request at its header if it would be answered too late. What comes of its body is read and dropped, as uvicorn does it."""
        if self.serving.draining or b"x-request-id" in call.headers or (told := self.serving.turned_away(call)) is None:
            return False
        answering = Answering(self, call, keep_alive=True)
        answering.more_body, answering.response_complete = more_body, True
        self._own(answering)
        date = b"".join([b"%s: %s\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(STATUS_LINE[503] + date + told)
        self.on_response_complete()
        return True

    def _keeps_alive(self) -> bool:
        return self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()

    def _take_known_way(self, data: bytes) -> bool:
        """Whether it was a whole request with the header of the last one, and took the short way; nothing has been done otherwise."""
        head, cycle = self._head, self.cycle
        if head is None or self._inside or self._left or not cycle.response_complete or cycle.more_body:
            return False
        begin = head.end_in(data)
        if not begin or self.pipeline or self.flow.write_paused or self.transport.is_closing():
            self._head = None  # whoever sends others now and then is looked at anew
            return False
        self._unset_keepalive_if_required()
        made = head.call
        call = Call(made.headers, self._read_one(), made.protocol, None, made.asked)
        if self._turn_away(call, more_body=False) or self._take_short_way(call, data[begin:], keep_alive=True):
            return True
        self.serving.read -= 1  # the parser will count it
        return False

    def _take_short_way(self, call: Call, body: bytes, *, keep_alive: bool) -> bool:
        """Whether it was taken; nothing has been done otherwise."""
        request_id = call.headers.get(b"x-request-id")
        if request_id is not None and not _PLAIN.fullmatch(request_id):
            return False
        answering = Answering(self, call, keep_alive=keep_alive)
        try:
            answering.request = self.serving.begin(call, body, answering)
        except OverloadedError as error:
            self._own(answering)
            answering.set_exception(error)
            return True
        except Exception:  # noqa: BLE001 - the long way tells whatever it is
            return False
        if answering.request is None:
            return False
        self._own(answering)
        serving = self.serving
        if serving.read == 1 >= serving.read_before:  # most likely nobody else is there
            self._alone = call.handle
        return True

    def _own(self, answering: Answering) -> None:
        self.cycle: Any = answering
        self._call, self._body = None, b""

    def _take_long_way(self) -> None:
        body, self._call, self._body = self._body, None, b""
        super().on_headers_complete()
        if body:
            super().on_body(body)
