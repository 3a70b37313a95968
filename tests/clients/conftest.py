"""What the Python tests share: the clients, in both forms of URL, and a hand on the mock's faults."""

import contextlib
import itertools
import json
import os
import time
import urllib.request
from dataclasses import dataclass

import openai
import pytest

URL = os.environ["FIRSTLIGHT_URL"]
KEY = os.environ["FIRSTLIGHT_KEY"]
RESTRICTED_KEY = os.environ["FIRSTLIGHT_RESTRICTED_KEY"]
API_VERSION = "2024-10-21"

# How long anything is waited for. Far above what it takes, since only a failure waits so long.
WAIT_SECONDS = 20


@dataclass(frozen=True)
class Form:
    """One of the two ways to reach Azure OpenAI: the deployment in the path, or the model in the body."""

    name: str

    def client(self, key=KEY, **options):
        return self._make(openai.AzureOpenAI, openai.OpenAI, key, options)

    def async_client(self, key=KEY, **options):
        return self._make(openai.AsyncAzureOpenAI, openai.AsyncOpenAI, key, options)

    def _make(self, azure, v1, key, options):
        # The SDK's own retries would hide what one request comes to.
        options = {"max_retries": 0, "timeout": WAIT_SECONDS, **options}
        if self.name == "azure":
            return azure(azure_endpoint=URL, api_version=API_VERSION, api_key=key, **options)
        return v1(base_url=f"{URL}/openai/v1", api_key=key, **options)


@pytest.fixture(params=["azure", "v1"])
def form(request):
    return Form(request.param)


@pytest.fixture
def client(form):
    with form.client() as client:
        yield client


FRESH = itertools.count()


@pytest.fixture
def model():
    """A model in two regions that no other test has taught Firstlight anything about."""
    return f"fresh-{next(FRESH)}"


class Mock:
    """The mock's control endpoint."""

    def __init__(self, address):
        self.address = address

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            return json.load(answer)

    def backends(self):
        return {backend["name"]: backend for backend in self.call("GET", "/backends")}

    def count(self, counter):
        return sum(backend["counters"][counter] for backend in self.backends().values())

    def requests(self):
        """The requests since the last reset, of all regions."""
        return [request for name in self.backends() for request in self.call("GET", f"/backends/{name}/requests")]

    def heal(self):
        for name in self.backends():
            self.call("DELETE", f"/backends/{name}/fault")

    @contextlib.contextmanager
    def fault(self, fault, regions=None):
        """Something is wrong with these regions, or with all, inside of `with`."""
        try:
            for name in regions or self.backends():
                self.call("PUT", f"/backends/{name}/fault", {"fault": fault})
            yield
        finally:
            self.heal()

    def wait_until(self, what, reached):
        """Waits for a state, not for a time: `reached` looks at the counters."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            assert time.monotonic() < deadline, f"{what} did not happen within {WAIT_SECONDS} s: {self.backends()}"
            time.sleep(0.01)


@pytest.fixture
def mock():
    mock = Mock(os.environ["MOCK_CONTROL"])
    mock.call("POST", "/reset")
    yield mock
    # Nothing is left running upstream: it would be paid for, and be counted by the next test.
    mock.wait_until("the end of all upstream requests", lambda: mock.count("in_flight") == 0)
