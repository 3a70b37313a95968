"""What an application gets when all is well: every answer whole, in the types of the SDK."""

import asyncio
import json
import os

import pytest
from conftest import KEY, Form
from openai import AzureOpenAI

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something."}]}

# Every token of the mock says its number: a lost, doubled or misplaced one is seen.
WHOLE_ANSWER = "".join(f"w{index} " for index in range(12))

TOOL = {
    "type": "function",
    "function": {"name": "note", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}},
}


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_chat(client):
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == WHOLE_ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 12
    assert answer._request_id


def test_streamed_chat(client):
    chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert text_of(chunks) == WHOLE_ANSWER
    # The chunk with the verdict on the prompt arrives too, and first.
    assert chunks[0].choices == [] and chunks[0].model_extra["prompt_filter_results"]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_streamed_chat_with_usage(client):
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == WHOLE_ANSWER
    usage = chunks[-1].usage
    assert chunks[-1].choices == [] and usage.completion_tokens == 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_sdks_own_reader_of_streams(client):
    with client.chat.completions.stream(**ASK) as stream:
        assert "".join(event.delta for event in stream if event.type == "content.delta") == WHOLE_ANSWER
        assert stream.get_final_completion().choices[0].message.content == WHOLE_ANSWER


def test_streamed_tool_call(client):
    chunks = list(client.chat.completions.create(**ASK, tools=[TOOL], tool_choice="required", stream=True))
    calls = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].id and calls[0].function.name == "note"
    arguments = json.loads("".join(call.function.arguments or "" for call in calls))
    assert arguments["text"].startswith("w1 ")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_completions(client):
    ask = {"model": "gpt-35-turbo-instruct", "prompt": "Say something."}
    assert client.completions.create(**ask).choices[0].text == WHOLE_ANSWER
    chunks = client.completions.create(**ask, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == WHOLE_ANSWER


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings(client, encoding):
    # Unless told otherwise the SDK asks for base64 and decodes it.
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two", "three"], **encoding)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert all(item.embedding[:3] == [0.125, -0.25, 0.5] for item in answer.data)


def test_models(client):
    # Which ones is the mock's business; that the list arrives and is read is ours.
    assert list(client.models.list())


def test_the_deployment_may_have_another_name_than_the_model(client, mock):
    answer = client.chat.completions.create(**{**ASK, "model": "gpt-4o-mini"})
    assert answer.choices[0].message.content == WHOLE_ANSWER
    # The mock calls the model like the deployment that was asked for, so the name was replaced on the way.
    assert answer.model == "mini-prod"


def test_a_long_prompt_arrives_whole(client, mock):
    # Beyond 64 KiB, what Pingora itself would keep for another attempt.
    prompt = "All work and no play. " * 20_000
    answer = client.chat.completions.create(**{**ASK, "messages": [{"role": "user", "content": prompt}]})
    assert answer.choices[0].message.content == WHOLE_ANSWER
    [request] = mock.requests()
    assert request["body_bytes"] > len(prompt)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_clients_key_never_reaches_a_backend(client, mock, stream):
    answer = client.chat.completions.create(**ASK, stream=stream)
    if stream:
        list(answer)
    [request] = mock.requests()
    headers = dict(request["headers"])
    assert KEY not in json.dumps(request)
    assert headers["api-key"] == os.environ["MOCK_KEY"] and "authorization" not in headers
    # Azure refuses more than ten custom headers, and the SDK sends nearly as many about itself.
    assert not [name for name in headers if name.startswith("x-stainless")]


def test_the_answer_tells_who_gave_it(client, mock):
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["x-firstlight-backend"] in mock.backends()
    assert raw.headers["x-firstlight-attempts"] == "1"
    assert raw.headers["x-request-id"] == raw.parse()._request_id


def test_many_streams_at_once(form, mock):
    async def one(client, number):
        text = ""
        stream = await client.chat.completions.create(**ASK, stream=True, user=f"user-{number}")
        async for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        return text

    async def all_of_them():
        async with form.async_client() as client:
            return await asyncio.gather(*(one(client, number) for number in range(20)))

    assert asyncio.run(all_of_them()) == [WHOLE_ANSWER] * 20
    assert mock.count("requests") == mock.count("completed") == 20


def test_one_connection_serves_request_after_request(mock):
    # An LLM request after a list of models, and back: two kinds of upstream connection behind one client's.
    with Form("v1").client() as client:
        for _ in range(5):
            assert list(client.models.list())
            assert client.chat.completions.create(**ASK).choices[0].message.content == WHOLE_ANSWER
            assert text_of(client.chat.completions.create(**ASK, stream=True)) == WHOLE_ANSWER


def test_it_is_the_same_answer_as_without_firstlight(mock):
    # But for what each answer has of its own, a stream through Firstlight is the stream of Azure.
    address = mock.backends()["eastus2"]["address"]
    direct = AzureOpenAI(azure_endpoint=f"http://{address}", api_version="1", api_key=os.environ["MOCK_KEY"])
    ask = {**ASK, "stream": True, "stream_options": {"include_usage": True}}

    def told(client):
        own = {"id", "latency_checkpoint"}
        return [chunk.model_dump(exclude=own) for chunk in client.chat.completions.create(**ask)]

    with direct, Form("azure").client() as through:
        assert told(through) == told(direct)
