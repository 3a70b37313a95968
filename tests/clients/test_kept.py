"""Everything that one region keeps, as the SDK asks for it, in every form of URL.

The mock's regions do not know each other's ids: whatever goes to another than the one that made it fails.
"""

import json

import openai
import pytest
from surface import CHAINS, WHOLE_ANSWER, content, owners, until, ways

# What the SDK says of operations that Azure goes on offering.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

POLL = {"poll_interval_ms": 1}
TOOL = {"type": "function", "function": {"name": "note", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(params=ways(), ids=lambda way: way.name)
def way(request):
    return request.param


@pytest.fixture
def client(way):
    with way.client() as client:
        yield client


def uploaded(client, purpose="assistants", data=None):
    return client.files.create(file=("notes.jsonl", data or content()), purpose=purpose)


def test_files(client, mock):
    for _ in range(CHAINS):
        data = content()
        file = uploaded(client, data=data)
        assert (file.bytes, file.filename, file.purpose) == (len(data), "notes.jsonl", "assistants")
        assert client.files.content(file.id).content == data
        assert client.files.retrieve(file.id).id == file.id
        assert len(owners(mock, file.id)) == 1
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)


def test_files_are_listed(way, client):
    file = uploaded(client)
    found = [other.id for other in client.files.list(limit=100)]
    # A list is of one region, unless there is only one.
    assert not way.direct or file.id in found


def test_uploads(client):
    for _ in range(CHAINS):
        data = content()
        upload = client.uploads.create(filename="u", purpose="batch", bytes=len(data), mime_type="text/plain")
        parts = [client.uploads.parts.create(upload.id, data=piece) for piece in (data[5:], data[:5])]
        done = client.uploads.complete(upload.id, part_ids=[part.id for part in reversed(parts)])
        assert done.status == "completed"
        assert client.files.content(done.file.id).content == data
        other = client.uploads.create(filename="u", purpose="batch", bytes=4, mime_type="text/plain")
        assert client.uploads.cancel(other.id).status == "cancelled"


def test_a_batch_runs_where_its_file_is(client, mock):
    body = {"model": "gpt-4o", "messages": []}
    lines = [{"custom_id": str(n), "method": "POST", "url": "/chat/completions", "body": body} for n in range(3)]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    ask = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    for _ in range(CHAINS):
        file = uploaded(client, "batch", data)
        batch = client.batches.create(input_file_id=file.id, **ask)
        done = until("completed", lambda: client.batches.retrieve(batch.id))
        assert done.request_counts.completed == 3
        output = client.files.content(done.output_file_id).text
        assert [json.loads(line)["custom_id"] for line in output.splitlines()] == ["0", "1", "2"]
        assert len(owners(mock, batch.id)) == 1
        stopped = client.batches.create(input_file_id=file.id, **ask)
        assert client.batches.cancel(stopped.id).status in ("cancelling", "cancelled")
    assert client.batches.list(limit=1) is not None


def test_a_vector_store_and_its_files(client, mock):
    for _ in range(CHAINS):
        file = uploaded(client)
        store = client.vector_stores.create(name="notes", file_ids=[file.id])
        assert client.vector_stores.retrieve(store.id).file_counts.completed == 1
        assert client.vector_stores.update(store.id, name="more").name == "more"
        data = content()
        added = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("n.txt", data), **POLL)
        assert added.status == "completed"
        found = client.vector_stores.search(store.id, query="number").data
        assert sorted(hit.file_id for hit in found) == sorted([file.id, added.id])
        texts = client.vector_stores.files.content(added.id, vector_store_id=store.id)
        assert texts.data[0].text == data.decode()
        batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=[file.id], **POLL)
        assert batch.status == "completed" and batch.file_counts.completed == 1
        listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id)
        assert [entry.id for entry in listed] == [file.id]
        assert client.vector_stores.files.delete(file.id, vector_store_id=store.id).deleted
        tools = [{"type": "file_search", "vector_store_ids": [store.id]}]
        answer = client.responses.create(model="gpt-4o", input="Look it up.", tools=tools)
        assert answer.output_text == WHOLE_ANSWER
        assert len(owners(mock, store.id)) == 1
        assert client.vector_stores.delete(store.id).deleted


def test_stored_chats(client, mock):
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}], "store": True}
    for _ in range(CHAINS):
        answer = client.chat.completions.create(**ask)
        assert client.chat.completions.retrieve(answer.id).choices[0].message.content == WHOLE_ANSWER
        assert client.chat.completions.messages.list(answer.id).data[0].content == "Hello."
        assert client.chat.completions.update(answer.id, metadata={"a": "b"}).metadata == {"a": "b"}
        assert len(owners(mock, answer.id)) == 1
        assert client.chat.completions.delete(answer.id).deleted


def test_assistants(client):
    made = client.beta.assistants.create(model="gpt-4o", name="Anna", instructions="Be brief.")
    assert client.beta.assistants.update(made.id, name="Bert").name == "Bert"
    found = client.beta.assistants.retrieve(made.id)
    assert (found.name, found.instructions, found.model) == ("Bert", "Be brief.", "gpt-4o")
    assert client.beta.assistants.list(limit=1) is not None
    assert client.beta.assistants.delete(made.id).deleted


def talk(client, **more):
    """An assistant and a thread that are in one region: the run that makes the thread names the assistant."""
    assistant = client.beta.assistants.create(model="gpt-4o")
    thread = {"messages": [{"role": "user", "content": "Hello."}]}
    run = client.beta.threads.create_and_run(assistant_id=assistant.id, thread=thread, **more)
    until("requires_action" if "tools" in more else "completed", lambda: look(client, run))
    return assistant, run


def look(client, run):
    return client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)


def test_runs_in_a_thread(client, mock):
    for _ in range(CHAINS):
        assistant, first = talk(client)
        thread = first.thread_id
        message = client.beta.threads.messages.create(thread, role="user", content="And now?")
        assert client.beta.threads.messages.retrieve(message.id, thread_id=thread).role == "user"
        run = client.beta.threads.runs.create_and_poll(thread_id=thread, assistant_id=assistant.id, **POLL)
        assert run.status == "completed" and run.usage.total_tokens > 0
        messages = list(client.beta.threads.messages.list(thread))
        assert messages[0].content[0].text.value == WHOLE_ANSWER
        assert [message.role for message in messages] == ["assistant", "user", "assistant", "user"]
        steps = client.beta.threads.runs.steps.list(run.id, thread_id=thread)
        assert steps.data[0].step_details.message_creation.message_id == messages[0].id
        with client.beta.threads.runs.stream(thread_id=thread, assistant_id=assistant.id) as stream:
            assert "".join(stream.text_deltas) == WHOLE_ANSWER
            assert stream.get_final_run().status == "completed"
        stopped = client.beta.threads.runs.create(thread, assistant_id=assistant.id)
        assert client.beta.threads.runs.cancel(stopped.id, thread_id=thread).status in ("cancelling", "cancelled")
        assert len(owners(mock, thread)) == 1
        assert client.beta.threads.update(thread, metadata={"a": "b"}).metadata == {"a": "b"}
        assert client.beta.threads.delete(thread).deleted


def test_a_run_waits_for_its_tools(client):
    _, run = talk(client, tools=[TOOL], tool_choice="required")
    call = look(client, run).required_action.submit_tool_outputs.tool_calls[0]
    outputs = [{"tool_call_id": call.id, "output": "noted"}]
    thread = run.thread_id
    client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=thread, tool_outputs=outputs)
    assert until("completed", lambda: look(client, run)).completed_at


def test_fine_tuning(client, mock):
    for _ in range(CHAINS):
        file = uploaded(client, "fine-tune")
        job = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=file.id)
        assert client.fine_tuning.jobs.list_events(job.id).data
        assert client.fine_tuning.jobs.checkpoints.list(job.id).data
        done = until("succeeded", lambda: client.fine_tuning.jobs.retrieve(job.id))
        assert done.fine_tuned_model
        stopped = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=file.id)
        assert client.fine_tuning.jobs.cancel(stopped.id).status == "cancelled"
        assert len(owners(mock, job.id)) == 1
    assert client.fine_tuning.jobs.list(limit=1) is not None


def test_conversations(client, mock):
    for _ in range(CHAINS):
        hello = {"type": "message", "role": "user", "content": "Hello."}
        conversation = client.conversations.create(items=[hello], metadata={"a": "b"})
        added = client.conversations.items.create(conversation.id, items=[hello])
        assert client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id).role == "user"
        answer = client.responses.create(model="gpt-4o", input="And now?", conversation=conversation.id)
        assert answer.output_text == WHOLE_ANSWER
        items = list(client.conversations.items.list(conversation.id))
        assert [item.role for item in items] == ["assistant", "user", "user", "user"]
        client.conversations.items.delete(added.data[0].id, conversation_id=conversation.id)
        assert client.conversations.update(conversation.id, metadata={"c": "d"}).metadata == {"c": "d"}
        assert len(owners(mock, conversation.id)) == 1
        assert client.conversations.delete(conversation.id).deleted


def test_containers(client, mock):
    for _ in range(CHAINS):
        container = client.containers.create(name="box")
        data = content()
        file = client.containers.files.create(container.id, file=("n.txt", data))
        assert client.containers.files.content.retrieve(file.id, container_id=container.id).content == data
        assert [entry.id for entry in client.containers.files.list(container.id)] == [file.id]
        client.containers.files.delete(file.id, container_id=container.id)
        assert client.containers.retrieve(container.id).name == "box"
        assert len(owners(mock, container.id)) == 1
        client.containers.delete(container.id)


def test_evals(client, mock):
    source = {"type": "custom", "item_schema": {"type": "object", "properties": {}}}
    for _ in range(CHAINS):
        made = client.evals.create(name="e", data_source_config=source, testing_criteria=[])
        rows = {"type": "file_content", "content": [{"item": {}}]}
        run = client.evals.runs.create(made.id, data_source={"type": "jsonl", "source": rows})
        done = until("completed", lambda: client.evals.runs.retrieve(run.id, eval_id=made.id))
        assert done.result_counts.passed == 1
        assert client.evals.runs.output_items.list(run.id, eval_id=made.id).data == []
        assert client.evals.update(made.id, name="f").name == "f"
        assert len(owners(mock, made.id)) == 1
        assert client.evals.delete(made.id).deleted


def test_videos(client, mock):
    for _ in range(CHAINS):
        video = client.videos.create(model="gpt-4o", prompt="A dot that moves.")
        assert until("completed", lambda: client.videos.retrieve(video.id)).progress == 100
        assert b"ftyp" in client.videos.download_content(video.id).content
        assert len(owners(mock, video.id)) == 1
        assert client.videos.delete(video.id).deleted
