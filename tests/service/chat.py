"""One request to the chat surface, whole or streamed, judged to the last byte."""

import json
import time
from dataclasses import dataclass

from http1 import Answer, Connection, Failure, request


@dataclass(frozen=True)
class Question:
    """What is asked for: so many tokens of content, as a stream or whole."""

    tokens: int
    stream: bool

    @property
    def form(self) -> str:
        return "stream" if self.stream else "whole"

    def body(self) -> bytes:
        message = {"role": "user", "content": "Why is the sky dark at night?"}
        fields = {"model": "gpt-4o", "messages": [message], "stream": self.stream, "max_tokens": self.tokens}
        return json.dumps(fields).encode()


@dataclass(frozen=True)
class Outcome:
    """How long a request that went well took, and whether its connection may be used again."""

    first_seconds: float
    total_seconds: float
    reusable: bool


async def ask(connection: Connection, key: str, question: Question) -> Outcome:
    """Sends a question; raises Failure unless the answer is whole and is what was asked for."""
    start = time.monotonic()
    answer = await connection.ask(request(key, question.body()))
    if answer.status != 200:
        body = b"".join([piece async for piece in connection.body(answer)])
        raise Failure(f"status_{answer.status}", body.decode(errors="replace")[:300])
    if question.stream:
        first = await _stream(connection, answer, question.tokens)
    else:
        first = await _whole(connection, answer, question.tokens)
    return Outcome(first - start, time.monotonic() - start, not answer.closes)


async def _whole(connection: Connection, answer: Answer, tokens: int) -> float:
    body = b"".join([piece async for piece in connection.body(answer)])
    content = json.loads(body)["choices"][0]["message"]["content"]
    _compare(content, tokens)
    return time.monotonic()


async def _stream(connection: Connection, answer: Answer, tokens: int) -> float:
    """Returns when the first content came."""
    first, words, events = None, [], bytearray()
    done = False
    try:
        async for piece in connection.body(answer):
            events += piece
            while (end := events.find(b"\n\n")) >= 0:
                event = bytes(events[:end])
                del events[: end + 2]
                if event == b"data: [DONE]":
                    done = True
                elif word := content_of(event):
                    first = first or time.monotonic()
                    words.append(word)
    except Failure as failure:
        raise Failure("cut_stream", f"after {len(words)} of {tokens} tokens: {failure}") from failure
    if not done:
        raise Failure("cut_stream", f"ended properly but without [DONE], after {len(words)} of {tokens} tokens")
    _compare("".join(words), tokens)
    assert first is not None
    return first


def content_of(event: bytes) -> str:
    """The text of a server-sent event; empty for the filter chunk, the usage chunk and comments."""
    if not event.startswith(b"data: "):
        return ""
    fields = json.loads(event.removeprefix(b"data: "))
    if "error" in fields:
        raise Failure("error_event", event.decode(errors="replace")[:300])
    return "".join(choice["delta"].get("content") or "" for choice in fields["choices"])


def _compare(content: str, tokens: int) -> None:
    """The fake Azure numbers its words: one that is lost, doubled or out of place shows."""
    expected = "".join(f"w{index} " for index in range(tokens))
    if content != expected:
        raise Failure("wrong_content", f"expected {tokens} numbered words, got {content[:200]!r}")
