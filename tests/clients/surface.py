"""The ways to reach every operation: the URL forms through Firstlight, and what has them straight from the mock.

What passes direct must pass through Firstlight: each test of `test_surface.py` and `test_kept.py` runs both ways.
"""

import itertools
import os
from dataclasses import dataclass

import openai
from conftest import KEY, URL, WAIT_SECONDS

API_VERSION = "2025-04-01-preview"
TOKENS = 12
WHOLE_ANSWER = "".join(f"w{index} " for index in range(TOKENS))

# How often a chain is begun: the regions answer in turn, so each of them owns one.
CHAINS = 3


@dataclass(frozen=True)
class Way:
    """One way to reach the service: whom, and in which form of URL."""

    name: str
    url: str
    key: str
    form: str

    @property
    def direct(self):
        return self.name.startswith("direct")

    def client(self):
        host = self.url.removeprefix("http://")
        # The SDK's own retries would hide what one request comes to.
        options = {"api_key": self.key, "max_retries": 0, "timeout": WAIT_SECONDS}
        if self.form == "azure":
            # Azure's WebSockets are always wss, unless told otherwise.
            options["websocket_base_url"] = f"ws://{host}/openai"
            return openai.AzureOpenAI(azure_endpoint=self.url, api_version=API_VERSION, **options)
        return openai.OpenAI(base_url=f"{self.url}/{self.form}", **options)


def ways():
    mock, key = os.environ["MOCK_BACKEND"], os.environ["MOCK_KEY"]
    return [
        Way("direct-azure", mock, key, "azure"),
        Way("direct-v1", mock, key, "openai/v1"),
        Way("azure", URL, KEY, "azure"),
        Way("v1", URL, KEY, "openai/v1"),
        Way("plain", URL, KEY, "v1"),
    ]


def until(status, look):
    """Looks until a resource is in this state, which a few looks bring about."""
    for _ in range(10):
        found = look()
        if found.status == status:
            return found
    raise AssertionError(f"{status} was not reached: {found}")


def owners(mock, resource):
    """The regions that were asked for a resource by its id."""
    names = {name for name in mock.backends() for request in asked(mock, name) if resource in request["path"]}
    return sorted(names)


def asked(mock, region):
    return mock.call("GET", f"/backends/{region}/requests")


def models_asked(mock):
    """The deployments that were asked for since the mock was reset."""
    return {request["model"] for request in mock.requests() if request["model"]}


NUMBER = itertools.count()


def content():
    """The bytes of a file that no other test has."""
    return f'{{"number": {next(NUMBER)}, "text": "caf\u00e9\\u00e9"}}\n'.encode()
