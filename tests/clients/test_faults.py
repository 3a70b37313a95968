"""What an application feels when regions fail: nothing where another region can answer, an error that it
understands where none can, and never a broken answer that looks whole."""

import itertools

import httpx2
import openai
import pytest
from test_answers import ASK, WHOLE_ANSWER, text_of

# Where the model of each test is deployed.
REGIONS = {"eastus2", "westus3"}


def ask_for(model):
    return {**ASK, "model": model}


def favourite(client, model):
    """The region that the next request goes to: the one that answered a stream quickly."""
    with client.chat.completions.with_streaming_response.create(**ask_for(model), stream=True) as raw:
        raw.read()
        return raw.headers["x-firstlight-backend"]


FAULTS = {
    "status_500": {"status_5xx": {"status": 500}},
    "status_503": {"status_5xx": {"status": 503}},
    "status_429": {"status_429": {}},
    **{
        fault: fault
        for fault in ["reset", "refuse", "garbage", "error_after_200", "wrong_key", "forbidden", "unknown_deployment"]
    },
}


def ask_past(fault, client, mock, model, stream=True):
    """Breaks the region that is asked first; the client must get the whole answer of the other."""
    bad = favourite(client, model)
    with mock.fault(fault, [bad]):
        raw = client.chat.completions.with_raw_response.create(**ask_for(model), stream=stream)
        answer = raw.parse()
        text = text_of(answer) if stream else answer.choices[0].message.content
    assert text == WHOLE_ANSWER
    assert raw.headers["x-firstlight-attempts"] == "2"
    assert {raw.headers["x-firstlight-backend"]} == REGIONS - {bad}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAULTS)
def test_another_region_answers(client, mock, model, fault, stream):
    ask_past(FAULTS[fault], client, mock, model, stream)


def test_another_region_answers_when_a_stream_ends_before_its_content(client, mock, model):
    ask_past("end_before_content", client, mock, model)


@pytest.mark.parametrize("fault", ["freeze_before_headers", "freeze_after_filter", "freeze_after_role"])
def test_another_region_answers_when_one_is_frozen(client, mock, fault):
    ask_past(fault, client, mock, "impatient")


# A region that was left is left by the next test, too: each has a model of its own.
HEDGED = itertools.count()


@pytest.mark.parametrize("fault", ["freeze_before_headers", "freeze_after_filter", "freeze_after_role"])
def test_a_request_that_is_stuck_is_rescued(client, mock, fault):
    # No time-out comes to help: the first token may take four minutes here. Where a request goes is chance: of a
    # hundred none goes to one of three regions once in 10^17 runs.
    ask, rescued = ask_for(f"hedged-{next(HEDGED)}"), False
    with mock.fault(fault, ["eastus2"]):
        for _ in range(100):
            raw = client.chat.completions.with_raw_response.create(**ask, stream=True)
            assert text_of(raw.parse()) == WHOLE_ANSWER
            rescued = raw.headers["x-firstlight-attempts"] == "2"
            if rescued:
                break
    assert rescued


def test_every_region_is_rate_limited(form, mock, model):
    limited = {"status_429": {"retry_after": {"seconds": 5}}}
    with form.client() as client, mock.fault(limited), pytest.raises(openai.RateLimitError) as error:
        client.chat.completions.create(**ask_for(model))
    # The backends' five seconds, and up to a quarter more, so that clients do not come back together.
    assert 1 <= int(error.value.response.headers["retry-after"]) <= 7
    assert error.value.code == "rate_limit_exceeded"


def test_the_sdk_comes_back_when_it_was_told_to(form, mock, model):
    statuses = []

    def note(response):
        statuses.append(response.status_code)
        # The regions have quota again as soon as the application was told to wait.
        mock.heal()

    http_client = httpx2.Client(event_hooks={"response": [note]})
    limited = {"status_429": {"retry_after": {"seconds": 1}}}
    with form.client(max_retries=1, http_client=http_client) as client, mock.fault(limited):
        answer = client.chat.completions.create(**ask_for(model))
    assert answer.choices[0].message.content == WHOLE_ANSWER
    assert statuses == [429, 200]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_truncated_answer_raises(client, mock, model, stream):
    text = ""
    with mock.fault({"truncate": {"after_tokens": 3}}):
        # Which of the two: an error event in the stream, or the transport's broken framing.
        with pytest.raises((openai.APIError, httpx2.TransportError)) as error:
            answer = client.chat.completions.create(**ask_for(model), stream=stream)
            for chunk in answer if stream else []:
                text += text_of([chunk])
    if stream:
        # What was sent before had been said, and nothing of another region's answer was put behind it.
        assert text == "w0 w1 w2 "
        assert isinstance(error.value, openai.APIError) and error.value.code == "upstream_abort"


def test_a_truncated_stream_cannot_look_complete(form, mock, model):
    # For clients that do not read error events: no [DONE], and no clean end of the body either.
    body = b""
    with form.client() as client, mock.fault({"truncate": {"after_tokens": 3}}):
        ask = client.chat.completions.with_streaming_response.create(**ask_for(model), stream=True)
        with ask as raw, pytest.raises(httpx2.RemoteProtocolError):
            for piece in raw.http_response.iter_bytes():
                body += piece
    assert b"w2 " in body and b"[DONE]" not in body


def test_an_error_event_of_every_region_raises(client, mock, model):
    with mock.fault("error_after_200"), pytest.raises(openai.APIError):
        list(client.chat.completions.create(**ask_for(model), stream=True))


def test_a_stream_that_is_closed_early_is_cancelled_upstream(client, mock, model):
    # 100,000 tokens of 10 ms are a quarter of an hour: it cannot end by itself while the test waits.
    for name in mock.backends():
        mock.call("PUT", f"/backends/{name}/behaviour", {"tokens": 100_000, "gap_ms": 10})
    try:
        stream = client.chat.completions.create(**ask_for(model), stream=True)
        while not text_of([next(stream)]):
            pass
        assert mock.count("in_flight") == 1
        stream.close()
        mock.wait_until("the cancellation", lambda: mock.count("cancelled_by_client") == 1)
    finally:
        for name in mock.backends():
            mock.call("PUT", f"/backends/{name}/behaviour", {"tokens": 12, "gap_ms": 2})
    assert mock.count("in_flight") == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_given_up_before_its_first_token_is_cancelled_upstream(form, mock, model, stream):
    with form.client(timeout=0.5) as client, mock.fault("freeze_after_filter"):
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(**ask_for(model), stream=stream)
        mock.wait_until("the cancellation", lambda: mock.count("cancelled_by_client") == 1)
    assert mock.count("in_flight") == 0
