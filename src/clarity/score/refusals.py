"""What MLflow's scoring server says to a bad request, brought down to one clear line.

The server answers most malformed requests with 400 and a message that repeats the whole input and
a stack trace; some it does not expect end in 500. This stands in front of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from clarity.score.requests import LARGEST, one_line
from clarity.score.signature import COLUMN

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

#: A body this many times too large is cut off unread.
PATIENCE = 8
#: Bytes of a body that is always taken. Larger ones are taken one at a time, from their first
#: further byte to their answer: as Python's numbers a body grows twentyfold.
SMALL = 2**20
#: Values in one body, counted by commas before it is parsed: 64 images of 64×64×3. Parsing
#: keeps the interpreter, and so everybody else, for as long as it takes.
VALUES = 64 * 64 * 64 * 3
#: Seconds in which a body has to arrive, and in which a large one has to come to its turn.
ARRIVAL, TURN = 30.0, 60.0


class _Late(Exception):
    """A body that is waited for no longer; the message is the answer's line."""

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(line)
        self.status = status


class Refusals:
    """ASGI middleware: refuses what is too large or of no stated type; shortens every refusal."""

    def __init__(self, app: App, arrival: float = ARRIVAL) -> None:
        self.app = app
        self.arrival = arrival
        self._large = asyncio.Semaphore(1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] != "/invocations" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if b"content-type" not in headers:
            line = "no Content-Type; send application/json"
            await _answer(send, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, line)
            return
        async with AsyncExitStack() as turn:
            try:
                body = await self._read(receive, turn)
            except _Late as late:
                await _answer(send, late.status, str(late), close=True)
                return
            if body is None:
                line = f"more than {LARGEST // 2**20} MiB in one request; send fewer images"
                await _answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)
                return
            if body.count(b",") > VALUES:
                line = f"more than {VALUES:,} values in one request; send pictures in base64"
                await _answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)
                return
            kind = headers[b"content-type"]
            if len(body) > SMALL:  # seconds of parsing, in which others are answered
                problem = await asyncio.to_thread(_shape_problem, kind, body)
            else:
                problem = _shape_problem(kind, body)
            if problem:
                await _answer(send, HTTPStatus.BAD_REQUEST, problem)
                return
            await self._pass_on(scope, body, receive, send)

    async def _read(self, receive: Receive, turn: AsyncExitStack) -> bytes | None:
        """The request's body; None if it is larger than allowed.

        What is beyond is read and thrown away, within reason: a client that is still sending would
        otherwise see a broken connection and not the answer. ``turn`` keeps the place of a large
        body until its request is answered.

        Raises:
            _Late: it did not arrive in time, or its turn did not come.
        """
        body = bytearray()
        beyond = 0
        waiting = True
        end = asyncio.get_running_loop().time() + self.arrival
        while True:
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                line = f"the body did not arrive within {self.arrival:g} s"
                raise _Late(HTTPStatus.REQUEST_TIMEOUT, line) from None
            part = message.get("body", b"")
            if len(body) + len(part) <= LARGEST and not beyond:
                body.extend(part)
            else:
                body.clear()
                beyond += len(part)
            if not message.get("more_body") or beyond > PATIENCE * LARGEST:
                return None if beyond else bytes(body)
            if waiting and len(body) > SMALL:
                waiting = False
                try:
                    async with asyncio.timeout(TURN):
                        await turn.enter_async_context(self._large)
                except TimeoutError:
                    line = "busy with other large requests; send fewer images, or try again"
                    raise _Late(HTTPStatus.SERVICE_UNAVAILABLE, line) from None
                end = asyncio.get_running_loop().time() + self.arrival

    async def _pass_on(self, scope: Message, body: bytes, receive: Receive, send: Send) -> None:
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        start: Message = {}
        refused = bytearray()

        async def tidy(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                if message["status"] < HTTPStatus.BAD_REQUEST:
                    await send(message)
            elif start["status"] < HTTPStatus.BAD_REQUEST:
                await send(message)
            else:
                refused.extend(message.get("body", b""))
                if not message.get("more_body"):
                    await _answer(send, HTTPStatus(start["status"]), one_line(bytes(refused)))

        await self.app(scope, replay, tidy)


def _shape_problem(content_type: bytes, body: bytes) -> str:
    """What would make MLflow's parser fall over instead of refusing; empty if nothing is."""
    if not content_type.startswith(b"application/json"):
        return ""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    if not isinstance(content, dict):
        return "the body is no JSON object"
    params = content.get("params")
    if params is not None and not isinstance(params, dict):
        return 'params: expected an object such as {"return_error_map": true}'
    return _frame_problem(content)


def _frame_problem(content: dict[str, Any]) -> str:
    """What is wrong with a data frame in JSON, in either of its two forms."""
    split, records = content.get("dataframe_split"), content.get("dataframe_records")
    if "dataframe_split" in content:
        columns, data = (
            (split.get("columns"), split.get("data")) if isinstance(split, dict) else (None, None)
        )
        if not (isinstance(columns, list) and isinstance(data, list)):
            return f'dataframe_split: expected {{"columns": ["{COLUMN}"], "data": [["BASE64"], …]}}'
        if COLUMN not in columns:
            return f"no column {COLUMN!r}; it holds base64 text, one picture a row"
        at = columns.index(COLUMN)
        values = [row[at] if isinstance(row, list) and at < len(row) else None for row in data]
    elif "dataframe_records" in content:
        if not isinstance(records, list):
            return f'dataframe_records: expected [{{"{COLUMN}": "BASE64"}}, …]'
        values = [row.get(COLUMN) if isinstance(row, dict) else None for row in records]
    else:
        return ""
    if not values:
        return "no images in the request"
    wrong = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
    return "" if wrong is None else f"{COLUMN}, row {wrong}: expected base64 text"


async def _answer(send: Send, status: HTTPStatus, line: str, *, close: bool = False) -> None:
    body = json.dumps({"error_code": status.phrase.upper().replace(" ", "_"), "message": line})
    content = body.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *([(b"connection", b"close")] if close else []),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": content})
