"""Writes the OpenAPI document that steady mocks: document.py OFFICIAL PREFIX OUTPUT

OFFICIAL is OpenAI's own document, the newest that a package registry has. It is some months older than the SDK. So
what steady checks of requests is the official document's word; what it answers is made from the SDK's own response
models, and operations that the document does not know are added from the SDK's sources, with any body allowed. All
paths are put below PREFIX, `/openai/v1` for a mock that stands where Azure would.
"""

import ast
import importlib
import json
import pkgutil
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

import openai.resources

# How the SDK's resources call its transport, and the HTTP method that each stands for.
CALLS = {
    "_get": "get",
    "_post": "post",
    "_put": "put",
    "_patch": "patch",
    "_delete": "delete",
    "_get_api_list": "get",
}


@dataclass(frozen=True)
class Operation:
    """One call that the SDK makes. `answer` is what its body is read as, None where that is not JSON."""

    method: str
    path: str
    answer: Any

    def key(self):
        return self.method, shape(self.path)


def shape(path):
    """A path without the names of its parameters, which differ between the document and the SDK."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def operations():
    found = {}
    for module in pkgutil.walk_packages(openai.resources.__path__, "openai.resources."):
        module = importlib.import_module(module.name)
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            operation = read(node, vars(module))
            if operation and not found.get(operation.key(), operation).answer:
                found[operation.key()] = operation
            elif operation:
                found.setdefault(operation.key(), operation)
    return found


def read(node, names):
    """The operation that a piece of the SDK's source calls, if it is such a call and says all of it."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS):
        return None
    constants = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
    if not constants or not str(constants[0]).startswith("/"):
        return None
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    method = CALLS[node.func.attr]
    if "method" in keywords:
        method = ast.literal_eval(keywords["method"])
    # The query that a few of them carry in the path is no part of it.
    return Operation(method, constants[0].partition("?")[0], answer_of(keywords, names))


def answer_of(keywords, names):
    said = keywords.get("page") or keywords.get("cast_to")
    try:
        answer = eval(compile(ast.Expression(said), "<resource>", "eval"), dict(names))
    except (NameError, TypeError):
        # It depends on the arguments: the official document knows.
        return None
    return answer if is_json(answer) else None


def is_json(answer):
    origin = get_origin(answer) or answer
    if isinstance(origin, type):
        return issubclass(origin, BaseModel) or origin in (list, dict)
    return answer is not None and origin is not Any


class Schemas(GenerateJsonSchema):
    """Optional means left out, never null: the SDK's tests take a null only where a model says so without default."""

    def default_schema(self, schema):
        inner = self.generate_inner(schema["schema"])
        choices = [choice for choice in inner.get("anyOf", []) if choice != {"type": "null"}]
        if schema.get("default", 0) is None and choices:
            return choices[0] if len(choices) == 1 else {"anyOf": choices}
        return inner


def answers(found):
    """The schema of each operation's answer, and the schemas that they share."""
    adapters = [
        (operation.key(), "validation", TypeAdapter(operation.answer))
        for operation in found.values()
        if operation.answer
    ]
    made, rest = TypeAdapter.json_schemas(
        adapters, ref_template="#/components/schemas/{model}", schema_generator=Schemas
    )
    return {key: schema for (key, _), schema in made.items()}, rest.get("$defs", {})


def written(document, found):
    """The document with the SDK's operations and answers in it."""
    schemas, shared = answers(found)
    clashing = document["components"]["schemas"].keys() & shared.keys()
    renamed = {name: f"Sdk-{name}" if name in clashing else name for name in shared}
    schemas, shared = (follow(part, renamed) for part in (schemas, shared))
    document["components"]["schemas"].update({renamed[name]: schema for name, schema in shared.items()})
    known = {shape(path): path for path in document["paths"]}
    for operation in found.values():
        path = known.setdefault(shape(operation.path), operation.path)
        item = document["paths"].setdefault(path, {})
        there = item.setdefault(operation.method, added(operation))
        if operation.key() in schemas:
            put_answer(there, schemas[operation.key()])
    return document


def follow(part, renamed):
    """The same schema with its references renamed."""
    if isinstance(part, list):
        return [follow(one, renamed) for one in part]
    if not isinstance(part, dict):
        return part
    part = {name: follow(one, renamed) for name, one in part.items()}
    if isinstance(part.get("$ref"), str):
        name = part["$ref"].rpartition("/")[2]
        part["$ref"] = f"#/components/schemas/{renamed[name]}"
    if isinstance(part.get("discriminator"), dict):
        # It refers to models as well, and a mock needs no hint.
        del part["discriminator"]
    return part


def added(operation):
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{([^}]*)\}", operation.path)
    ]
    made = {"parameters": parameters, "responses": {"200": {"description": "OK"}}}
    if operation.method in ("post", "put", "patch"):
        anything = {"schema": {"type": "object"}}
        made["requestBody"] = {"content": {"application/json": anything, "multipart/form-data": anything}}
    return made


def open_ended(part):
    """The same, but no object is closed to properties that a newer SDK sends."""
    if isinstance(part, list):
        return [open_ended(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {name: open_ended(one) for name, one in part.items() if (name, one) != ("additionalProperties", False)}


def put_answer(operation, schema):
    """The SDK's schema in place of the document's, for the answer that means success."""
    success = min(status for status in operation["responses"] if str(status).startswith("2"))
    content = operation["responses"][success].setdefault("content", {})
    content["application/json"] = {"schema": schema}


def main(official, prefix, output):
    document = yaml.load(Path(official).read_text(), Loader=yaml.CSafeLoader)
    document = open_ended(written(document, operations()))
    document["paths"] = {prefix + path: item for path, item in document["paths"].items()}
    document["servers"] = [{"url": "http://127.0.0.1"}]
    # Some of its examples are dates.
    Path(output).write_text(json.dumps(document, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
