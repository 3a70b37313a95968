"""Decisions about what az answers: pure functions of JSON on standard input and of the arguments.

Run as `directory.py COMMAND ARGUMENT...`. Nothing here runs az or touches a file.
"""

import json
import sys

# What clients are granted. The ids were drawn once; they have to differ within one application only.
ROLES = {
    "LLM.Invoke": ("edd76125-7cdb-484b-99d4-621ef5ca23b9", "Use the models", "May send requests to the models."),
    "Probe.Execute": (
        "408c7197-d7be-4ae9-856c-79988ecfc5d4",
        "Choose the backend",
        "May name the backend that answers, as probes do.",
    ),
}
OPENAI_USER = "Cognitive Services OpenAI User"
OPENAI_USER_ID = "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"


class Several(Exception):
    """More than one object fits a name."""


def field(path, document):
    """The value at a path; a name with a dot in it wins over a path."""
    if isinstance(document, dict) and path in document:
        return document[path]
    for key in path.split("."):
        document = (document or {}).get(key)
    return document


def app_roles():
    return [
        {
            "allowedMemberTypes": ["User", "Application"],
            "description": description,
            "displayName": title,
            "id": identity,
            "isEnabled": True,
            "value": value,
        }
        for value, (identity, title, description) in ROLES.items()
    ]


def application(name, tag):
    """The body that makes the application. The tag says later that it is ours, even if its id was never learned."""
    return {
        "displayName": name,
        "signInAudience": "AzureADMyOrg",
        "tags": [tag],
        "api": {"requestedAccessTokenVersion": 2},
        "appRoles": app_roles(),
    }


def pick(tag, found):
    """The application that carries the tag, or else the only one."""
    found = found["value"]
    ours = [one for one in found if tag in one.get("tags", [])]
    return only(ours or found)


def only(found):
    if len(found) > 1:
        raise Several(", ".join(one.get("appId", one["id"]) for one in found))
    return found[0] if found else None


def missing_roles(application):
    there = {role["value"] for role in application.get("appRoles", [])}
    return [role for role in app_roles() if role["value"] not in there]


def role_id(value, application):
    """An application that defined the role before keeps its id."""
    for role in application.get("appRoles", []):
        if role["value"] == value:
            return role["id"]
    return ROLES[value][0]


def add_roles(application):
    missing = missing_roles(application)
    return missing and {"appRoles": application.get("appRoles", []) + missing}


def disable_roles(ids, application):
    """A role that is enabled cannot be removed. Nothing if none of them is there."""
    roles = application.get("appRoles", [])
    if not any(role["id"] in ids for role in roles):
        return None
    return {"appRoles": [{**role, "isEnabled": role["isEnabled"] and role["id"] not in ids} for role in roles]}


def remove_roles(ids, application):
    roles = application.get("appRoles", [])
    kept = [role for role in roles if role["id"] not in ids]
    return {"appRoles": kept} if kept != roles else None


def add_uri(uri, application):
    uris = application.get("identifierUris", [])
    return None if uri in uris else {"identifierUris": [*uris, uri]}


def remove_uri(uri, application):
    uris = application.get("identifierUris", [])
    return {"identifierUris": [one for one in uris if one != uri]} if uri in uris else None


def token_version(before, application):
    """Tokens of the version that was asked for before; none asked for is version 1."""
    version = json.loads(before or "null")
    there = field("api.requestedAccessTokenVersion", application)
    return None if there == version else {"api": {"requestedAccessTokenVersion": version}}


def assignment(principal, role, found):
    """The id of the principal's assignment to an app role; lists may hold what its groups have, too."""
    ids = (one["id"] for one in found["value"] if (one["principalId"], one["appRoleId"]) == (principal, role))
    return next(ids, None)


def may_use_openai(principal, found):
    """The role assignment that lets the principal use an account, its own or an inherited one."""
    for one in found:
        named = one.get("roleDefinitionName") == OPENAI_USER or one["roleDefinitionId"].endswith(OPENAI_USER_ID)
        # A condition may exclude what Firstlight does.
        if named and one["principalId"] == principal and not one.get("condition"):
            return one["id"]
    return None


# These two import where they are used: this file is started for every question, and most need neither.
def url_part(text):
    """Any text, as a part of an address."""
    from urllib.parse import quote

    return quote(text, safe="")


def guid(parts):
    """The same GUID for the same parts."""
    from uuid import NAMESPACE_URL, uuid5

    return str(uuid5(NAMESPACE_URL, "\n".join(parts)))


def url_filter(name, value):
    literal = value.replace("'", "''")
    return "$filter=" + url_part(f"{name} eq '{literal}'")


COMMANDS = {
    "field": lambda document, path: field(path, document),
    "pairs": lambda document: "\n".join(f"{key}\t{text(value)}" for key, value in document.items()),
    "application": lambda _, name, tag: application(name, tag),
    "with-ids": lambda document: {**document, "id": "<object id of the app>", "appId": "<application id>"},
    "pick": lambda document, tag: pick(tag, document),
    "is-tagged": lambda document, tag: tag in document.get("tags", []),
    "only": lambda document: only(document["value"]),
    "missing-role-ids": lambda document: [role["id"] for role in missing_roles(document)] or None,
    "role-id": lambda document, value: role_id(value, document),
    "add-roles": lambda document: add_roles(document) or None,
    "disable-roles": lambda document, ids: disable_roles(json.loads(ids), document),
    "remove-roles": lambda document, ids: remove_roles(json.loads(ids), document),
    "add-uri": lambda document, uri: add_uri(uri, document),
    "remove-uri": lambda document, uri: remove_uri(uri, document),
    "token-version": lambda document, before: token_version(before, document),
    "assignment": lambda document, principal, role: assignment(principal, role, document),
    "may-use-openai": lambda document, principal: may_use_openai(principal, document),
    "has-id": lambda document, identity: any(one["id"].lower() == identity.lower() for one in document) or None,
    "object": lambda _, *pairs: dict(zip(pairs[::2], map(json_or_text, pairs[1::2]), strict=True)),
    "filter": lambda _, name, value: url_filter(name, value),
    "path": lambda _, value: url_part(value),
    "guid": lambda _, *parts: guid(parts),
}


def json_or_text(text):
    """An argument of `object`: JSON where it begins with `=`, text otherwise."""
    return json.loads(text[1:]) if text.startswith("=") else text


def main():
    name, *arguments = sys.argv[1:]
    if name == "join":
        pages = [page["value"] for page in parse_all(sys.stdin.read())]
        print(json.dumps({"value": [one for page in pages for one in page]}))
        return
    # What takes no document is run without any input.
    given = "" if name in ("application", "object", "filter", "path", "guid") else sys.stdin.read()
    try:
        result = COMMANDS[name](json.loads(given) if given.strip() else {}, *arguments)
    except Several as several:
        print(several)
        sys.exit(4)
    if result is not None:
        print(text(result))


def text(value):
    """As bash takes it: what is no text is JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def parse_all(text):
    """JSON documents behind each other."""
    decoder, documents, text = json.JSONDecoder(), [], text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].strip()
    return documents


if __name__ == "__main__":
    main()
