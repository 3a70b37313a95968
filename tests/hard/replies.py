"""Responses that are none: errors in the words of Azure, and successes without anything in them."""

import asyncio

import bodies
import faults
import http1
from faults import Fault
from received import Request


def ok_head(headers: dict[str, str]) -> bytes:
    return http1.head_bytes("HTTP/1.1 200 OK", headers)


async def whole(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> bool:
    common = {"content-type": "application/json", "content-length": str(len(body))}
    writer.write(http1.head_bytes(f"HTTP/1.1 {status} Said", {**common, **headers}) + body)
    await writer.drain()
    return True


LIMIT_HINTS = {
    "requests": "have exceeded call rate limit of your current OpenAI S0 pricing tier.",
    "tokens": "have exceeded token rate limit of your current OpenAI S0 pricing tier.",
}


def limit_body(what: str, seconds: int | None) -> bytes:
    """The body of a 429, as Azure words it."""
    again = f" Please retry after {seconds} seconds." if seconds is not None else ""
    start = "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 "
    return bodies.error("429", start + LIMIT_HINTS[what] + again)


def failure(fault: Fault) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a response with an error's status."""
    if fault.status == 429:
        named = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
        what = "tokens" if "tokens" in fault.name else "requests"
        return limit_body(what, fault.retry_after), {f"x-ratelimit-remaining-{what}": "0", **named}
    texts = {400: ("BadRequest", "The request is not valid."), 404: ("404", "Resource not found")}
    code, message = texts.get(fault.status, (str(fault.status), "The server had an error."))
    return bodies.error(code, message), {}


PROBLEM = {"error": {"code": "server_error", "message": "The server had an error."}}


async def error_first(request: Request, writer: asyncio.StreamWriter) -> bool:
    """A status of success, and then nothing but an error."""
    if not request.streamed:
        return await whole(writer, 500, bodies.dump(PROBLEM), {})
    writer.write(ok_head({"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
    writer.write(http1.chunk(bodies.event(PROBLEM)) + http1.LAST_CHUNK)
    await writer.drain()
    return True


async def looks_good(request: Request, fault: Fault, writer: asyncio.StreamWriter) -> bool:
    """A status of success with nothing in it that helps."""
    if fault is faults.NO_CONTENT:
        writer.write(http1.head_bytes("HTTP/1.1 204 No Content", {}))
        await writer.drain()
        return True
    if fault is faults.HTML:
        return await whole(writer, 200, bodies.HTML, {"content-type": "text/html"})
    if fault is faults.EMPTY or not request.streamed:
        form = "text/event-stream" if request.streamed else "application/json"
        return await whole(writer, 200, b"", {"content-type": form})
    _, _, end = bodies.chat_events(request.model, [], "content_filter")
    body = end if fault is faults.FILTERED else bodies.DONE
    writer.write(ok_head({"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
    writer.write(http1.chunk(body) + http1.LAST_CHUNK)
    await writer.drain()
    return True
