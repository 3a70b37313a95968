"""A tenant for the tests, what changed in it, and the scripts run against it with the fake az."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent.parent / "scripts" / "azure"
# The directory of the Python that runs the tests: what stands for it in PATH may be a slow script.
PYTHON = Path(sys.executable).resolve().parent
SUBSCRIPTION = "5ab5c0de-0000-4000-8000-000000000001"
TENANT = "7e4a4700-0000-4000-8000-000000000001"
VM_PRINCIPAL = "11111111-0000-4000-8000-000000000001"
IDENTITY_PRINCIPAL = "11111111-0000-4000-8000-000000000002"
PROBER = "11111111-0000-4000-8000-000000000003"
ALICE = "22222222-0000-4000-8000-000000000001"
CHATTERS = "33333333-0000-4000-8000-000000000001"
NIGHTLY = "44444444-0000-4000-8000-000000000001"
NIGHTLY_APP = "44444444-0000-4000-8000-000000000002"

# Which calls change something; all others read.
CHANGING = re.compile(r"rest --method (POST|PATCH|DELETE) |role assignment (create|delete) ")


def resource(type_, name, **more):
    identity = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/prod/providers/{type_}/{name}"
    return {"id": identity, "name": name, **more}


def account(name, location, kind="OpenAI", domain=True):
    properties = {
        "endpoint": f"https://{name}.openai.azure.com/",
        "customSubDomainName": name if domain else None,
    }
    return resource("Microsoft.CognitiveServices/accounts", name, location=location, kind=kind, properties=properties)


def tenant():
    """Two accounts, a VM and identities, people, and nothing of Firstlight."""
    return {
        "version": {"azure-cli": "2.91.0", "azure-cli-core": "2.91.0", "extensions": {}},
        "account": {"id": SUBSCRIPTION, "tenantId": TENANT, "environmentName": "AzureCloud"},
        "cloud": {
            "name": "AzureCloud",
            "endpoints": {
                "activeDirectory": "https://login.microsoftonline.com",
                "microsoftGraphResourceId": "https://graph.microsoft.com/",
            },
        },
        "resources": [
            account("aoai-eus2", "eastus2"),
            account("aoai-wus3", "westus3", kind="AIServices"),
            account("vision", "eastus2", kind="ComputerVision"),
            account("keys-only", "eastus2", domain=False),
            resource("Microsoft.Compute/virtualMachines", "gate", identity={"principalId": VM_PRINCIPAL}),
            resource("Microsoft.Compute/virtualMachines", "bare", identity=None),
            resource("Microsoft.Compute/virtualMachines", "prober", identity={"principalId": PROBER}),
            resource(
                "Microsoft.ManagedIdentity/userAssignedIdentities",
                "gate-id",
                principalId=IDENTITY_PRINCIPAL,
                clientId="c11e0000-0000-4000-8000-000000000001",
            ),
        ],
        "applications": [],
        "servicePrincipals": [
            {"id": VM_PRINCIPAL, "appId": "aaaaaaaa-0000-4000-8000-000000000001", "displayName": "gate"},
            {"id": IDENTITY_PRINCIPAL, "appId": "aaaaaaaa-0000-4000-8000-000000000002", "displayName": "gate-id"},
            {"id": PROBER, "appId": "aaaaaaaa-0000-4000-8000-000000000003", "displayName": "prober"},
            {"id": NIGHTLY, "appId": NIGHTLY_APP, "displayName": "Nightly \"batch\" of O'Brien"},
        ],
        "users": [{"id": ALICE, "userPrincipalName": "al'ice@contoso.example", "displayName": "Alice"}],
        "groups": [{"id": CHATTERS, "displayName": "Chat & 'search' users"}],
        "appRoleAssignments": [],
        "roleAssignments": [],
    }


class World:
    """The tenant in a file, where the fake az finds it, and a directory to run in."""

    def __init__(self, test, content=None):
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "tenant.json"
        self.state_file = self.folder / "firstlight-azure.json"
        self._write({"tenant": content or tenant(), "calls": [], "faults": []})

    def _read(self):
        return json.loads(self.file.read_text())

    def _write(self, content):
        self.file.write_text(json.dumps(content))

    @property
    def tenant(self):
        return self._read()["tenant"]

    @property
    def state(self):
        return json.loads(self.state_file.read_text())

    def change(self, change):
        content = self._read()
        change(content["tenant"])
        self._write(content)

    def order(self, says, *on, skip=0, done=False):
        """The next call with all these parts, after `skip` others, fails; with `done` it works and all is killed."""
        content = self._read()
        content["faults"].append({"on": on, "says": says, "skip": skip, "done": done})
        self._write(content)

    def run(self, script, *options, reply="", path=None):
        """Runs a script; its calls are those of this run alone."""
        self._write({**self._read(), "calls": []})
        environment = {
            **os.environ,
            "PATH": f"{HERE / 'fake'}:{PYTHON}:{os.environ['PATH']}" if path is None else path,
            "FAKE_AZ": str(self.file),
            "FIRSTLIGHT_AZURE_PAUSE_SECONDS": "0",
        }
        done = subprocess.run(
            [SCRIPTS / script, *options],
            cwd=self.folder,
            env=environment,
            input=reply,
            text=True,
            capture_output=True,
            timeout=120,
            start_new_session=True,
            check=False,
        )
        calls = self._read()["calls"]
        # 2 is how az refuses what it does not know: the script is wrong then, whatever the test expects.
        assert not any(call["code"] == 2 for call in calls), (calls, done.stderr)
        return Run(done, calls)


class Run:
    def __init__(self, done, calls):
        self.code, self.out, self.err, self.calls = done.returncode, done.stdout, done.stderr, calls

    @property
    def changes(self):
        """The arguments of the calls that change something, in order."""
        every = [call["arguments"] for call in self.calls]
        return [arguments for arguments in every if CHANGING.match(" ".join(arguments) + " ")]

    @property
    def printed(self):
        """The same, as they were printed."""
        lines = [line.removeprefix("  az ") for line in self.out.splitlines() if line.startswith("  az ")]
        return [shlex.split(line) for line in lines]


def fits(printed, issued):
    """Whether this was issued, with something where `<what it is>` was printed."""
    pattern = re.sub(r"<[^>]+>", "\0", " ".join(printed))
    return re.fullmatch(re.escape(pattern).replace("\0", ".+"), " ".join(issued)) is not None
