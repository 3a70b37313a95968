"""The state file: what setup made or changed, in that order, so that teardown undoes that and nothing else.

Run as `state.py FILE COMMAND ARGUMENT...`. An entry is a JSON object that says how to find the thing again; it is
written before the thing is made, and dropped if Azure refused it or when it is removed.
"""

import json
import os
import sys

VERSION = 1
# What people read of an entry.
TITLES = {
    "application": "the app registration {name}",
    "service_principal": "the service principal of the application {appId}",
    "identifier_uri": "the identifier URI {uri} of an app registration that is kept",
    "app_roles": "the app roles {ids} of an app registration that is kept",
    "token_version": "version 2 of the tokens of an app registration that is kept",
    "assignment_required": "that users of a service principal that is kept must be assigned",
    "app_role_assignment": "{for}",
    "role_assignment": "Firstlight's use of {scope}",
}


def refuse(why):
    print(why, file=sys.stderr)
    sys.exit(1)


class State:
    def __init__(self, path):
        self.path = path
        self.content = None
        try:
            with open(path, encoding="utf-8") as file:
                self.content = json.load(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            refuse(f"{path}: cannot be read as the state of a set-up ({error}). Mend it, or name another with --state.")
        if not isinstance(self.content, dict) or self.content.get("version") != VERSION:
            refuse(f"{path}: is no state file of this version ({VERSION}). Name another with --state.")

    def write(self):
        """All of it or nothing: whoever is interrupted here keeps the old one."""
        beside = f"{self.path}.new"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                json.dump(self.content, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except OSError as error:
            refuse(f"{self.path}: cannot be written ({error}). Nothing more is done: name a writable file with --state.")

    def belongs(self, cloud, tenant, app=None):
        """Refuses to touch one tenant by what was made in another."""
        asked = {"cloud": cloud, "tenant": tenant, **({} if app is None else {"app": app})}
        for key, value in asked.items():
            if self.content and self.content[key] != value:
                refuse(
                    f"{self.path}: is of {key} {self.content[key]!r}, and this is {value!r}. "
                    "Name another file with --state, or log in where it belongs."
                )

    def begin(self, cloud, tenant, app):
        self.belongs(cloud, tenant, app)
        if not self.content:
            from uuid import uuid4  # for a first run only

            setup = str(uuid4())
            self.content = {"version": VERSION, "cloud": cloud, "tenant": tenant, "app": app, "setup": setup, "made": []}
            self.write()

    def add(self, entry):
        entry = json.loads(entry)
        if entry not in self.content["made"]:
            self.content["made"].append(entry)
            self.write()

    def drop(self, entry):
        self.content["made"].remove(json.loads(entry))
        self.write()

    def end(self):
        """Nothing is left of the set-up."""
        os.remove(self.path)

    def set(self, key, value):
        if self.content.get(key) != value:
            self.content[key] = value
            self.write()

    def get(self, key):
        print((self.content or {}).get(key, ""))

    def newest_first(self):
        for entry in reversed((self.content or {}).get("made", [])):
            print(json.dumps(entry))

    def titles(self):
        for entry in reversed(self.content["made"]):
            print(TITLES.get(entry["kind"], str(entry)).format_map(entry))


def main():
    path, command, *arguments = sys.argv[1:]
    getattr(State(path), command.replace("-", "_"))(*arguments)


if __name__ == "__main__":
    main()
