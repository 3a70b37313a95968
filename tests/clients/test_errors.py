"""What an application gets when it asks for something that it cannot have: the exception it would get from Azure."""

import os

import openai
import pytest
from conftest import RESTRICTED_KEY
from test_answers import ASK, WHOLE_ANSWER


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_unknown_model(client, mock, stream):
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(**{**ASK, "model": "gpt-99"}, stream=stream)
    assert error.value.code == "DeploymentNotFound" and "gpt-99" in error.value.message
    assert error.value.request_id
    assert mock.count("requests") == 0


def test_bad_key(form, mock):
    with form.client(key="not-the-key") as client, pytest.raises(openai.AuthenticationError) as error:
        client.chat.completions.create(**ASK)
    assert error.value.status_code == 401
    assert "not-the-key" not in str(error.value)
    assert mock.count("requests") == 0


def test_forbidden_model(form, mock):
    with form.client(key=RESTRICTED_KEY) as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content == WHOLE_ANSWER
        with pytest.raises(openai.PermissionDeniedError) as error:
            client.chat.completions.create(**{**ASK, "model": "gpt-4o-mini"})
        assert error.value.status_code == 403
    assert mock.count("requests") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_content_filters_refusal_passes_unchanged(form, mock, stream):
    ask = {**ASK, "messages": [{"role": "user", "content": "trigger content filter"}], "stream": stream}
    with form.client() as client, pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**ask)
    assert error.value.code == "content_filter" and error.value.param == "prompt"
    assert error.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    # It is about the prompt, the same everywhere: asking a second region would be of no use.
    assert mock.count("requests") == 1

    direct = openai.AzureOpenAI(
        azure_endpoint=f"http://{mock.backends()['eastus2']['address']}",
        api_version="1",
        api_key=os.environ["MOCK_KEY"],
    )
    with direct, pytest.raises(openai.BadRequestError) as from_azure:
        direct.chat.completions.create(**ask)
    assert error.value.body == from_azure.value.body


def test_a_parameter_that_azure_refuses(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(model="text-embedding-3-small", input=["x"] * 2049)
    assert error.value.param == "input"


def test_an_operation_that_is_not_served(client, mock):
    with pytest.raises(openai.NotFoundError) as error:
        client.moderations.create(model="omni-moderation-latest", input="Say something.")
    # It says what is served instead.
    assert error.value.code == "unknown_path" and "/openai/v1" in error.value.message
    assert mock.count("requests") == 0
