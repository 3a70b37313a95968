"""Every operation that a model answers, as the SDK asks for it, in every form of URL."""

import base64
import io

import openai
import pytest
from surface import CHAINS, TOKENS, WHOLE_ANSWER, models_asked, owners, until, ways

# What the SDK says of operations that Azure goes on offering.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# One region has it, under the name `mini-prod`.
MAPPED = "gpt-4o-mini"


@pytest.fixture(params=ways(), ids=lambda way: way.name)
def way(request):
    return request.param


@pytest.fixture
def client(way):
    with way.client() as client:
        yield client


@pytest.fixture
def deployment(way):
    """What the backend has to be asked for when the client asks for `MAPPED`."""
    return MAPPED if way.direct else "mini-prod"


def sound():
    return ("speech.wav", io.BytesIO(b"RIFF\0\xff\r\n--sound"), "audio/wav")


def test_chat_completions_embeddings_and_models(client, mock, deployment):
    ask = {"model": MAPPED, "messages": [{"role": "user", "content": "Say something."}]}
    assert client.chat.completions.create(**ask).choices[0].message.content == WHOLE_ANSWER
    chunks = client.chat.completions.create(**ask, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == WHOLE_ANSWER
    assert client.completions.create(model=MAPPED, prompt="Say").choices[0].text == WHOLE_ANSWER
    assert len(client.embeddings.create(model=MAPPED, input=["a", "b"]).data) == 2
    assert models_asked(mock) == {deployment}
    assert "gpt-4o" in [model.id for model in client.models.list()]


def test_a_response_and_its_stream(client, mock, deployment):
    response = client.responses.create(model=MAPPED, input="Say something.")
    assert response.output_text == WHOLE_ANSWER
    assert response.usage.output_tokens == TOKENS
    assert response.usage.total_tokens == response.usage.input_tokens + TOKENS
    events = list(client.responses.create(model=MAPPED, input="Say something.", stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WHOLE_ANSWER
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert events[-1].response.usage.output_tokens == TOKENS
    with client.responses.stream(model=MAPPED, input="Say something.") as stream:
        stream.until_done()
        assert stream.get_final_response().output_text == WHOLE_ANSWER
    assert models_asked(mock) == {deployment}


def test_a_chain_of_responses_stays_where_it_began(client, mock):
    for _ in range(CHAINS):
        first = client.responses.create(model="gpt-4o", input="One.")
        second = client.responses.create(model="gpt-4o", input="Two.", previous_response_id=first.id)
        third = list(
            client.responses.create(model="gpt-4o", input="Three.", previous_response_id=second.id, stream=True)
        )
        last = third[-1].response
        assert last.previous_response_id == second.id
        assert client.responses.retrieve(last.id).output_text == WHOLE_ANSWER
        again = list(client.responses.retrieve(last.id, stream=True, starting_after=3))
        assert again[0].sequence_number == 4 and again[-1].type == "response.completed"
        items = client.responses.input_items.list(first.id)
        assert items.data[0].content[0].text == "One."
        client.responses.delete(last.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(last.id)
        assert len(owners(mock, first.id)) == 1


def test_a_response_in_the_background(client, mock):
    for _ in range(CHAINS):
        begun = client.responses.create(model="gpt-4o", input="Think.", background=True)
        assert (begun.status, begun.output) == ("queued", [])
        done = until("completed", lambda: client.responses.retrieve(begun.id))
        assert done.output_text == WHOLE_ANSWER
        stopped = client.responses.create(model="gpt-4o", input="Think.", background=True)
        assert client.responses.cancel(stopped.id).status == "cancelled"
        assert client.responses.retrieve(stopped.id).status == "cancelled"
        assert len(owners(mock, begun.id)) == 1


def test_a_tool_of_a_response(client):
    tool = {"type": "function", "name": "note", "parameters": {"type": "object", "properties": {}}, "strict": False}
    ask = {"model": "gpt-4o", "tools": [tool], "tool_choice": "required"}
    call = client.responses.create(**ask, input="Note it.").output[0]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "noted"}
    told = [{"role": "user", "content": "Note it."}, call.model_dump(exclude_none=True), output]
    assert client.responses.create(**ask, input=told).output_text == WHOLE_ANSWER


def test_reasoning_that_only_its_region_can_read(client):
    ask = {"model": "gpt-4o", "store": False, "include": ["reasoning.encrypted_content"]}
    first = client.responses.create(**ask, input="Think.")
    assert first.output[0].encrypted_content


def test_counts_and_compactions(client, mock, deployment):
    assert client.responses.input_tokens.count(model=MAPPED, input="How many?").input_tokens > 0
    compacted = client.responses.compact(model=MAPPED, input="Say it shorter.")
    assert compacted.output[-1].type == "compaction"
    assert models_asked(mock) == {deployment}


def test_pictures(client, mock, deployment):
    made = client.images.generate(model=MAPPED, prompt="A dot.", n=2)
    assert len(made.data) == 2 and base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG")
    assert made.usage.output_tokens == TOKENS
    picture = ("dot.png", io.BytesIO(b"\x89PNG\r\n\x1a\n\0\0"), "image/png")
    assert client.images.edit(model=MAPPED, image=picture, prompt="Red.").data[0].b64_json
    events = list(client.images.generate(model=MAPPED, prompt="A dot.", stream=True, partial_images=2))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert models_asked(mock) == {deployment}


def test_speech_to_text(client, mock, deployment):
    made = client.audio.transcriptions.create(model=MAPPED, file=sound())
    assert made.text == WHOLE_ANSWER and made.usage.output_tokens == TOKENS
    plain = client.audio.transcriptions.create(model=MAPPED, file=sound(), response_format="text")
    assert plain.strip() == WHOLE_ANSWER.strip()
    events = list(client.audio.transcriptions.create(model=MAPPED, file=sound(), stream=True))
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == WHOLE_ANSWER
    assert events[-1].type == "transcript.text.done" and events[-1].usage.output_tokens == TOKENS
    assert client.audio.translations.create(model=MAPPED, file=sound()).text == WHOLE_ANSWER
    assert models_asked(mock) == {deployment}


def test_text_to_speech(client, mock, deployment):
    ask = {"model": MAPPED, "voice": "alloy", "input": "Say something."}
    heard = client.audio.speech.create(**ask)
    assert heard.response.headers["content-type"] == "audio/mpeg"
    # Every chunk of the mock says its number.
    assert [heard.content[index * 1024] for index in range(TOKENS)] == list(range(TOKENS))
    with client.audio.speech.with_streaming_response.create(**ask) as response:
        assert b"".join(response.iter_bytes()) == heard.content
    assert models_asked(mock) == {deployment}


def test_realtime(client, mock, deployment):
    with client.realtime.connect(model=MAPPED) as session:
        assert session.recv().type == "session.created"
        session.session.update(session={"type": "realtime", "instructions": "Be brief."})
        assert session.recv().type == "session.updated"
        for _ in range(2):
            session.response.create()
            text = ""
            while (event := session.recv()).type != "response.done":
                text += event.delta if event.type == "response.output_text.delta" else ""
            assert text == WHOLE_ANSWER
            assert event.response.usage.output_tokens == TOKENS
    mock.wait_until("the end of the session upstream", lambda: mock.count("completed") == 1)
    assert models_asked(mock) == {deployment}


def test_a_secret_for_realtime(client, mock, deployment):
    made = client.realtime.client_secrets.create(session={"type": "realtime", "model": MAPPED})
    assert made.value.startswith("ek_")
    assert models_asked(mock) == {deployment}
