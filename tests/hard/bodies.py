"""Bodies in the forms of Azure OpenAI: whole responses, the events of streams, errors."""

import json
from typing import Any

WORDS = ["one ", "two ", "three ", "four ", "five ", "six "]
TEXT = "".join(WORDS)
USAGE = {"prompt_tokens": 20, "completion_tokens": len(WORDS), "total_tokens": 20 + len(WORDS)}
HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def event(value: Any, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def error(code: str, message: str) -> bytes:
    return dump({"error": {"code": code, "message": message}})


def chat(model: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop", "logprobs": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return dump({**head, "choices": [choice], "usage": USAGE})


def chat_events(model: str, words: list[str], reason: str = "stop") -> tuple[bytes, list[bytes], bytes]:
    """The opening of a stream of a chat, one event for each word, and its end."""

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return event({**head, "choices": [choice]})

    filters = event({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []})
    opening = filters + chunk({"role": "assistant", "content": "", "refusal": None})
    return opening, [chunk({"content": word}) for word in words], chunk({}, reason) + DONE


def completion(model: str) -> bytes:
    choice = {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model}
    return dump({**head, "choices": [choice], "usage": USAGE})


def embedding(model: str) -> bytes:
    data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3]}]
    return dump({"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": 20, "total_tokens": 20}})


def response(model: str, identity: str, previous: str | None, status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": TEXT, "annotations": []}]
    head = {"id": f"msg_{identity[5:]}", "type": "message", "role": "assistant"}
    message = {**head, "status": status, "content": content}
    usage = {"input_tokens": 20, "output_tokens": len(WORDS), "total_tokens": 20 + len(WORDS)}
    whole = status == "completed"
    return {
        "id": identity,
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": model,
        "previous_response_id": previous,
        "output": [message] if whole else [],
        "usage": usage if whole else None,
    }


def response_events(model: str, identity: str, previous: str | None) -> tuple[bytes, list[bytes], bytes]:
    """The opening of a stream of a response, one event for each word, and its end."""
    message = f"msg_{identity[5:]}"
    begun = response(model, identity, previous, "in_progress")
    whole = response(model, identity, previous)
    item = {"id": message, "type": "message", "role": "assistant", "status": "in_progress", "content": []}

    def told(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    opening = told("response.created", response=begun) + told("response.in_progress", response=begun)
    opening += told("response.output_item.added", output_index=0, item=item)
    place = {"item_id": message, "output_index": 0, "content_index": 0}
    deltas = [told("response.output_text.delta", **place, delta=word) for word in WORDS]
    end = told("response.output_text.done", **place, text=TEXT) + told("response.completed", response=whole)
    return opening, deltas, end


def file(identity: str) -> bytes:
    head = {"id": identity, "object": "file", "bytes": 12, "created_at": 1}
    return dump({**head, "filename": "notes.txt", "purpose": "assistants", "status": "processed"})
