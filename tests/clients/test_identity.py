"""The fake Entra ID and the fake metadata service, asked by clients that were written for the real ones."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import jwt
import msal
import openai
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ManagedIdentityCredential, WorkloadIdentityCredential, get_bearer_token_provider
from conftest import API_VERSION, WAIT_SECONDS
from test_answers import ASK, WHOLE_ANSWER

ENTRA = os.environ["MOCK_ENTRA"]
TENANT = "8a1c0f3e-5d7b-4c29-9e64-2f1b7d3a6c05"
API = "c2d4e6f8-1a3b-4c5d-8e7f-9a0b1c2d3e4f"
CLIENT = {"client_id": "1f6e2d5c-9b8a-4746-b5c4-d3e2f1a0b9c8", "client_secret": "the-secret-of-the-mock-client"}
SYSTEM = "5e0c9a1b-7d3f-4826-a1b0-c9d8e7f60514"
ASSIGNED = "b7f8e9d0-1c2b-4a39-8847-56f5e4d3c2b1"
ASSIGNED_OBJECT = "93c4d5e6-f708-4192-a3b4-c5d6e7f80910"
ASSIGNED_RESOURCE = (
    "/subscriptions/0f0e0d0c-0b0a-4908-8706-050403020100/resourcegroups/mock"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/firstlight"
)
SCOPE = "https://cognitiveservices.azure.com/.default"


def fetch(url, form=None):
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, data=data, timeout=WAIT_SECONDS) as answer:
        return json.load(answer)


def discovery(version):
    return fetch(f"{ENTRA}/{TENANT}{version}/.well-known/openid-configuration")


def validated(token, version="/v2.0", audience=API):
    """As PyJWT's documentation says for OpenID Connect: discovery, keys, then every check that there is."""
    document = discovery(version)
    key = jwt.PyJWKClient(document["jwks_uri"], timeout=WAIT_SECONDS).get_signing_key_from_jwt(token)
    algorithms = document["id_token_signing_alg_values_supported"]
    options = {"require": ["exp", "nbf", "iat", "iss", "aud", "sub"], "strict_aud": True}
    return jwt.decode(token, key, algorithms, audience=audience, issuer=document["issuer"], options=options)


@pytest.fixture
def entra(mock):
    def issue(**claims):
        return mock.call("POST", "/entra/tokens", {"claims": claims})["access_token"]

    yield issue
    mock.call("DELETE", "/entra/fault")


@pytest.fixture
def imds(mock, monkeypatch):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", os.environ["MOCK_IMDS"])
    yield mock
    mock.call("DELETE", "/imds/fault")


def test_tokens_of_both_versions_are_valid(entra):
    second = validated(entra())
    assert (second["ver"], second["tid"], second["azp"]) == ("2.0", TENANT, CLIENT["client_id"])
    first = validated(entra(ver="1.0"), "", f"api://{API}")
    assert (first["ver"], first["tid"], first["appid"]) == ("1.0", TENANT, CLIENT["client_id"])
    assert first["iss"] != second["iss"]


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({"exp": 1}, jwt.ExpiredSignatureError),
        ({"nbf": 99_999_999_999}, jwt.ImmatureSignatureError),
        ({"aud": "somebody-else"}, jwt.InvalidAudienceError),
        ({"iss": "https://example.com/"}, jwt.InvalidIssuerError),
        ({"sub": None}, jwt.MissingRequiredClaimError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_wrong_with_a_token_is_noticed(entra, claims, refusal):
    with pytest.raises(refusal):
        validated(entra(**claims))


def test_keys_rotate(entra, mock):
    old = entra()
    mock.call("POST", "/entra/rotate")
    new = entra()
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert validated(old)["aud"] == validated(new)["aud"] == API

    mock.call("POST", "/entra/retire")
    assert validated(new)
    with pytest.raises(jwt.PyJWKClientError, match="Unable to find a signing key"):
        validated(old)

    mock.call("POST", "/entra/rotate", {"publish": False})
    early = entra()
    with pytest.raises(jwt.PyJWKClientError, match="Unable to find a signing key"):
        validated(early)
    mock.call("POST", "/entra/publish")
    assert validated(early)
    mock.call("POST", "/entra/retire")


@pytest.mark.parametrize("fault", ["down", "garbage", {"status": 503}, "empty_keys"], ids=str)
def test_without_keys_nothing_is_valid(entra, mock, fault):
    token = entra()
    mock.call("PUT", "/entra/fault", {"endpoint": "keys", "fault": fault})
    with pytest.raises((jwt.PyJWKClientError, jwt.PyJWKSetError, ConnectionResetError, ValueError)):
        validated(token)


def test_client_credentials(entra):
    form = {"grant_type": "client_credentials", "scope": f"api://{API}/.default", **CLIENT}
    url = discovery("/v2.0")["token_endpoint"]
    answer = fetch(url, form)
    assert answer["token_type"] == "Bearer" and answer["expires_in"] == 3599
    assert validated(answer["access_token"])["azpacr"] == "1"

    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(url, {**form, "client_secret": "wrong"})
    assert error.value.code == 401
    assert json.load(error.value)["error_codes"] == [7000215]


def plain(url):
    """Microsoft's clients insist on https, which the fake does not speak; what they send goes there without."""
    return url.replace("https://127.0.0.1", "http://127.0.0.1", 1)


AUTHORITY = ENTRA.replace("http:", "https:", 1)


@dataclass
class Answer:
    """As much of an answer as MSAL looks at."""

    status_code: int
    headers: dict
    text: str


class PlainClient:
    """What MSAL sends its requests with: its option `http_client`. It must not see that there is no https."""

    def get(self, url, **options):
        return self._ask(requests.get, url, options)

    def post(self, url, **options):
        return self._ask(requests.post, url, options)

    def _ask(self, method, url, options):
        answer = method(plain(url), timeout=WAIT_SECONDS, **options)
        return Answer(answer.status_code, answer.headers, answer.text.replace(ENTRA, AUTHORITY))

    def close(self):
        """Nothing is kept open."""


class PlainTransport(RequestsTransport):
    """What azure-identity sends its requests with: its option `transport`."""

    def send(self, request, **options):
        request.url = plain(request.url)
        return super().send(request, **options)


def test_msal_gets_a_token(entra):
    def ask(secret):
        app = msal.ConfidentialClientApplication(
            CLIENT["client_id"], secret, authority=f"{AUTHORITY}/{TENANT}",
            instance_discovery=False, http_client=PlainClient(),
        )
        return app.acquire_token_for_client([f"api://{API}/.default"])

    assert validated(ask(CLIENT["client_secret"])["access_token"])["azpacr"] == "1"
    refused = ask("wrong")
    assert (refused["error"], refused["error_codes"]) == ("invalid_client", [7000215])


def test_a_pods_assertion_gets_a_token(entra, tmp_path):
    (tmp_path / "token").write_text("the assertion of a pod")
    who = {"tenant_id": TENANT, "client_id": CLIENT["client_id"], "token_file_path": str(tmp_path / "token")}
    how = {"authority": AUTHORITY, "disable_instance_discovery": True, "transport": PlainTransport()}
    with WorkloadIdentityCredential(**who, **how) as credential:
        claims = validated(credential.get_token(SCOPE).token, "", "https://cognitiveservices.azure.com")
    assert claims["appidacr"] == "2"


@pytest.mark.parametrize(
    ("options", "client_id"),
    [
        ({}, SYSTEM),
        ({"client_id": ASSIGNED}, ASSIGNED),
        ({"identity_config": {"object_id": ASSIGNED_OBJECT}}, ASSIGNED),
        ({"identity_config": {"resource_id": ASSIGNED_RESOURCE}}, ASSIGNED),
    ],
    ids=["system", "client_id", "object_id", "resource_id"],
)
def test_a_managed_identity_gets_a_token(imds, options, client_id):
    with ManagedIdentityCredential(**options) as credential:
        token = credential.get_token(SCOPE).token
    claims = validated(token, "", "https://cognitiveservices.azure.com")
    assert (claims["appid"], claims["appidacr"], claims["ver"]) == (client_id, "2", "1.0")
    assert imds.call("GET", "/imds")["counters"]["rejected"] == 0


def test_an_identity_that_the_machine_does_not_have(imds):
    with ManagedIdentityCredential(client_id="nobody") as credential:
        with pytest.raises(ClientAuthenticationError, match="Identity not found"):
            credential.get_token(SCOPE)
    assert imds.call("GET", "/imds")["counters"]["rejected"] >= 1


def test_a_token_opens_a_region_until_its_key_is_gone(imds):
    address = imds.backends()["eastus2"]["address"]

    def say(**who):
        options = {"azure_endpoint": f"http://{address}", "api_version": API_VERSION, "max_retries": 0, **who}
        with openai.AzureOpenAI(**options) as region:
            return region.chat.completions.create(**ASK).choices[0].message.content

    with ManagedIdentityCredential() as credential:
        provider = get_bearer_token_provider(credential, SCOPE)
        assert say(azure_ad_token_provider=provider) == WHOLE_ANSWER
        imds.call("POST", "/entra/rotate")
        imds.call("POST", "/entra/retire")
        # The client keeps its token for a day.
        with pytest.raises(openai.AuthenticationError, match="Access token is missing, invalid"):
            say(azure_ad_token_provider=provider)
    with ManagedIdentityCredential() as credential:
        assert say(azure_ad_token_provider=get_bearer_token_provider(credential, SCOPE)) == WHOLE_ANSWER
