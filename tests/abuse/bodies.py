"""Bodies arrive byte by byte as they were sent, but for the model's name.

All on one connection, each as soon as the answer before it is there: none may be lost to that, either.
"""

import contextlib
import http.client
import os
import random

from fuzz import form_body, json_body

from service import DEPLOYMENT, WAIT_SECONDS, ask

# Another one for other bodies: FIRSTLIGHT_ABUSE_SEED.
SEED = 20262
JSON_BODIES, FORM_BODIES = 2000, 1000
# The first few differences say it all.
SHOWN = 5

# An operation, and what its body must hold to be one.
JSON_PATHS = {
    "/openai/v1/chat/completions": {},
    "/v1/chat/completions": {},
    "/openai/v1/embeddings": {"input": "hello"},
    "/openai/v1/responses": {"input": "hello"},
    "/openai/v1/completions": {"prompt": "hello"},
    "/openai/v1/images/generations": {"prompt": "hello"},
    "/openai/v1/audio/speech": {"input": "hello", "voice": "alloy"},
}
FORM_PATHS = [
    "/openai/v1/audio/transcriptions",
    "/openai/v1/audio/translations",
    "/v1/audio/transcriptions",
    "/openai/v1/images/edits",
]

# Set by abuse.py: the upstream.
recorder = None


def run(service, _directory, failures):
    seed = int(os.environ.get("FIRSTLIGHT_ABUSE_SEED", SEED))
    chance = random.Random(seed)
    host, port = service.host_port
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=WAIT_SECONDS)) as connection:
        for kind, cases in {"JSON": json_cases(chance), "multipart": form_cases(chance)}.items():
            different = sent = 0
            for path, body, expected, content_type in cases:
                sent += 1
                problem = compare(connection, path, body, expected, content_type)
                different += problem is not None
                if problem is not None and different <= SHOWN:
                    failures.check(False, f"bodies: {kind} {sent} of seed {seed}, {path}: {problem}")
            failures.check(not different, f"bodies: {different} of {sent} {kind} bodies did not arrive as sent")
            print(f"  {sent} {kind} bodies", flush=True)


def json_cases(chance):
    for _ in range(JSON_BODIES):
        path = chance.choice(list(JSON_PATHS))
        body, expected = json_body(chance, JSON_PATHS[path])
        yield path, body, expected, "application/json"


def form_cases(chance):
    for _ in range(FORM_BODIES):
        body, expected, content_type = form_body(chance)
        yield chance.choice(FORM_PATHS), body, expected, content_type


def compare(connection, path, body, expected, content_type):
    """What is wrong with what arrived, None if nothing is."""
    recorder.clear()
    try:
        status, answer = ask(connection, path, body, content_type)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return f"{error!r} for {body[:300]!r}"
    requests, odd = recorder.seen()
    if odd:
        return f"the upstream got {odd}"
    if status != 200 or len(requests) != 1:
        return f"status {status}, {len(requests)} requests upstream, for {body[:300]!r}: {answer[:200]!r}"
    arrived = requests[0]
    if arrived.values("content-type") != [content_type]:
        return f"the content type came as {arrived.values('content-type')}, not {content_type!r}"
    if arrived.body != expected:
        at = next(
            (at for at, pair in enumerate(zip(arrived.body, expected, strict=False)) if pair[0] != pair[1]),
            min(len(arrived.body), len(expected)),
        )
        near = slice(max(0, at - 20), at + 40)
        return f"differs at byte {at} ({DEPLOYMENT} expected): {arrived.body[near]!r}, not {expected[near]!r}"
    return None
