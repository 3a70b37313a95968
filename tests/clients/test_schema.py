"""conf/schema.json, as an editor uses it: it accepts every configuration here and marks what is wrong."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

CONF = Path(__file__).parents[2] / "conf"
SCHEMA = json.loads((CONF / "schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


class Loader(yaml.SafeLoader):
    """YAML 1.2, as Firstlight and editors read it: `off` is text, and so is a date."""

    yaml_implicit_resolvers = {}


TAG = "tag:yaml.org,2002:"
Loader.add_implicit_resolver(TAG + "bool", re.compile("^(true|false)$"), list("tf"))
Loader.add_implicit_resolver(TAG + "null", re.compile("^(~|null|)$"), ["~", "n", ""])
Loader.add_implicit_resolver(TAG + "int", re.compile("^-?[0-9]+$"), list("-0123456789"))
Loader.add_implicit_resolver(TAG + "float", re.compile(r"^-?[0-9]+\.[0-9]*$"), list("-0123456789"))


def errors(text):
    return [error.message for error in VALIDATOR.iter_errors(yaml.load(text, Loader))]


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["firstlight.yaml", "minimal.yaml", "demo.yaml"])
def test_configurations_are_accepted(name):
    assert errors((CONF / name).read_text()) == []


MINIMAL = (CONF / "minimal.yaml").read_text()


@pytest.mark.parametrize(
    "more",
    [
        "models: { gpt-4o: , mini: { backends: { eastus2: 4 }, probe: off, routing: { policy: ema } } }",
        "listen: [{ address: 0.0.0.0:1, apps: [chat-ui], tls: [{ certificate: /a, key: { credential: a } }] }]",
        "apps: { dev: { anonymous: true } }",
        "backends: { a: { endpoint: http://127.0.0.1:9, auth: none } }",
        "backends: { a: { endpoint: https://a.example } }",
        "backends: { a: { endpoint: https://a.example, auth: managed_identity } }",
        "backends: { a: { endpoint: https://a.example, auth: { managed_identity: { client_id: c, scope: s } } } }",
        "backends: { a: { endpoint: https://a.example, auth: { workload_identity: { tenant: t, client_id: c, token_file: /t } } } }",
        "backends: { a: { endpoint: https://a.example, auth: { client_secret: { tenant: t, client_id: c, secret: { env: S } } } } }",
        "apps: { dev: { entra: { tenant: t, audiences: [a], clients: [c] }, limits: { concurrent: 5 } } }",
        "caller: { headers: true, id: oid }",
        "admin: { address: none, socket: none }\nstate_directory: none\nlog:\n",
    ],
)
def test_other_forms_are_accepted(more):
    assert errors(f"{MINIMAL}\n{more}\n") == []


@pytest.mark.parametrize(
    "more",
    [
        "listne: []",
        "listen: []",
        "listen: [{ tls: { certificate: /a, key: /b } }]",
        "listen: [{ address: 0.0.0.0:1, tls: [] }]",
        "listen: [{ address: 0.0.0.0:1, tls: { certificate: { env: A }, key: /b } }]",
        "drain_seconds: -5",
        'threads: "4"',
        "threads: 2.5",
        "log: { access: yes }",
        "routing: { ema_alpha: 1.5 }",
        "routing: { polic: ema }",
        "models: { gpt-4o: { routing: { policy: emma } } }",
        "models: [gpt-4o]",
        "models: { 'a b': {} }",
        "models:",
        "apps: { dev: {} }",
        "apps: { dev: { anonymous: false } }",
        "apps: { dev: { api_keys: [{ sha256: abc, name: a }] } }",
        "backends: { a: { auth: none } }",
        "backends: { a: { endpoint: https://a.example, auth: identity } }",
        "backends: { a: { endpoint: https://a.example, auth: {} } }",
        "backends: { a: { endpoint: https://a.example, auth: { managed_identity: { client: x } } } }",
        "backends: { a: { endpoint: https://a.example, auth: { client_secret: { tenant: t, client_id: c } } } }",
        "backends: { a: { endpoint: https://a.example, auth: { managed_identity: {}, api_key: { env: A } } } }",
        "apps: { dev: { entra: { tenant: t } } }",
        "apps: { dev: { entra: { tenant: t, audiences: a } } }",
        "caller: { id: name }",
        "backends: { a: { endpoint: https://a.example, auth: { api_key: hunter2 } } }",
        "backends: { a: { endpoint: https://a.example, auth: { api_key: { env: A, file: /b } } } }",
    ],
)
def test_mistakes_are_marked(more):
    assert errors(f"{MINIMAL}\n{more}\n")


@pytest.mark.parametrize("key", ["listen", "backends", "models", "apps"])
def test_what_every_file_needs_is_asked_for(key):
    file = yaml.load(MINIMAL, Loader)
    del file[key]
    assert [error.message for error in VALIDATOR.iter_errors(file)] == [f"'{key}' is a required property"]
