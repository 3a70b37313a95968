"""What scripts/azure/setup makes, says and leaves alone, and what its errors tell."""

import re
import unittest

import tenant as azure
from tenant import World, fits

BACKENDS = ["--vm", "prod/gate", "--account", "prod/aoai-eus2", "--account", "prod/aoai-wus3"]
CLIENTS = [
    "--invoke", "user:al'ice@contoso.example",
    "--invoke", "group:Chat & 'search' users",
    "--invoke", f"app:{azure.NIGHTLY_APP}",
    "--probe", "vm:prod/prober",
]  # fmt: skip
ROLES = {"LLM.Invoke": "edd76125-7cdb-484b-99d4-621ef5ca23b9", "Probe.Execute": "408c7197-d7be-4ae9-856c-79988ecfc5d4"}


def holders(tenant):
    """Who has which app role."""
    names = {identity: value for value, identity in ROLES.items()}
    return {(one["principalId"], names[one["appRoleId"]]) for one in tenant["appRoleAssignments"]}


class FirstAndSecondRun(unittest.TestCase):
    def test_a_dry_run_prints_what_the_run_issues_and_a_second_run_changes_nothing(self):
        world = World(self)
        dry = world.run("setup", *BACKENDS, *CLIENTS, "--dry-run")
        offline = world.run("setup", *BACKENDS, *CLIENTS, "--dry-run", "--offline")
        self.assertEqual((dry.code, dry.changes, offline.code, offline.calls), (0, [], 0, []), dry.err + offline.err)
        self.assertEqual(world.tenant, azure.tenant())
        self.assertFalse(world.state_file.exists())

        first = world.run("setup", *BACKENDS, *CLIENTS)
        self.assertEqual(first.code, 0, first.err)
        self.assertEqual(first.printed, first.changes)
        # An application, its URI, its service principal, four app roles and two accounts.
        self.assertEqual([len(first.changes), len(dry.printed), len(offline.printed)], [9, 9, 9])
        for foretold in (dry, offline):
            for printed, issued in zip(foretold.printed, first.changes, strict=True):
                self.assertTrue(fits(printed, issued), (printed, issued))
        self.check_tenant(world.tenant)
        self.check_lines(first.out, world.tenant["applications"][0]["appId"])

        made, state = world.tenant, world.state_file.read_bytes()
        second = world.run("setup", *BACKENDS, *CLIENTS)
        self.assertEqual((second.code, second.changes, second.printed), (0, [], []), second.err)
        self.assertIn("Nothing to change", second.out)
        self.assertEqual((world.tenant, world.state_file.read_bytes()), (made, state))

    def check_tenant(self, tenant):
        [application] = tenant["applications"]
        self.assertEqual(application["identifierUris"], [f"api://{application['appId']}"])
        self.assertEqual(application["api"], {"requestedAccessTokenVersion": 2})
        self.assertEqual(application["signInAudience"], "AzureADMyOrg")
        self.assertEqual({role["value"]: role["id"] for role in application["appRoles"]}, ROLES)
        for role in application["appRoles"]:
            self.assertEqual(role["allowedMemberTypes"], ["User", "Application"])
        [principal] = [one for one in tenant["servicePrincipals"] if one["appId"] == application["appId"]]
        self.assertIs(principal["appRoleAssignmentRequired"], True)
        expected = {(who, "LLM.Invoke") for who in (azure.ALICE, azure.CHATTERS, azure.NIGHTLY)}
        self.assertEqual(holders(tenant), expected | {(azure.PROBER, "Probe.Execute")})
        access = {(one["principalId"], one["scope"].rsplit("/", 1)[1]) for one in tenant["roleAssignments"]}
        self.assertEqual(access, {(azure.VM_PRINCIPAL, "aoai-eus2"), (azure.VM_PRINCIPAL, "aoai-wus3")})

    def check_lines(self, out, app_id):
        self.assertNotIn("\nentra:", out)
        self.assertIn('  eastus2: { endpoint: "https://aoai-eus2.openai.azure.com" }\n', out)
        self.assertIn('  westus3: { endpoint: "https://aoai-wus3.openai.azure.com" }\n', out)
        entra = f'tenant: "{azure.TENANT}", audiences: ["{app_id}", "api://{app_id}"], roles: [LLM.Invoke]'
        self.assertIn(f"    entra: {{ {entra} }}\n", out)


class Names(unittest.TestCase):
    def test_quotes_and_spaces_are_kept(self):
        world = World(self)
        name, batch = "O'Brien's \"LLM\" gate $HOME & co", "Nightly \"batch\" of O'Brien"
        options = ["--app", name, "--invoke", f"app:{batch}"]
        first = world.run("setup", *options)
        self.assertEqual((first.code, first.printed), (0, first.changes), first.err)
        self.assertEqual(world.tenant["applications"][0]["displayName"], name)
        self.assertEqual(holders(world.tenant), {(azure.NIGHTLY, "LLM.Invoke")})
        # Without the state file it is found by its name.
        world.state_file.unlink()
        self.assertEqual(world.run("setup", *options).changes, [])

    def test_accounts_and_identities_may_be_named_by_id(self):
        world = World(self)
        ids = {one["name"]: one["id"] for one in azure.tenant()["resources"]}
        found = world.run("setup", "--identity", ids["gate-id"], "--account", ids["aoai-eus2"], "--probe", "identity:prod/gate-id")
        self.assertEqual(found.code, 0, found.err)
        self.assertEqual(holders(world.tenant), {(azure.IDENTITY_PRINCIPAL, "Probe.Execute")})
        self.assertEqual([one["principalId"] for one in world.tenant["roleAssignments"]], [azure.IDENTITY_PRINCIPAL])
        identity = 'client_id: "c11e0000-0000-4000-8000-000000000001"'
        self.assertIn(f"auth: {{ managed_identity: {{ {identity} }} }}", found.out)

    def test_an_application_may_be_named_by_id_and_must_be_there_then(self):
        world = World(self)
        world.run("setup")
        there = world.tenant["applications"][0]["appId"]
        world.state_file.unlink()
        self.assertEqual(world.run("setup", "--app", there).changes, [])
        world.state_file.unlink()
        lost = world.run("setup", "--app", azure.NIGHTLY)
        self.assertEqual((lost.code, lost.changes), (1, []))
        self.assertIn("no app registration has this application id", lost.err)

    def test_another_cloud_has_other_addresses(self):
        world = World(self)
        endpoints = {"activeDirectory": "https://login.example.us", "microsoftGraphResourceId": "https://graph.example.us/"}
        world.change(lambda tenant: tenant["cloud"].update(name="AzureUSGovernment", endpoints=endpoints))
        done = world.run("setup", *BACKENDS, *CLIENTS)
        self.assertEqual(done.code, 0, done.err)
        addresses = [word for call in done.calls for word in call["arguments"] if word.startswith("https:")]
        self.assertEqual({re.match("https://[^/]+", address)[0] for address in addresses}, {"https://graph.example.us"})
        self.assertIn(f"https://login.example.us/{azure.TENANT}/v2.0", done.out)
        self.assertIn('\nentra: { authority: "https://login.example.us" }\n', done.out)
        self.assertEqual(world.run("teardown", "--yes").code, 0)


class Errors(unittest.TestCase):
    def check(self, world, options, *said):
        """It fails, says all of this, and has made nothing."""
        before = world.tenant
        done = world.run("setup", *options)
        self.assertEqual((done.code, done.changes, world.tenant), (1, [], before), done.out)
        for part in said:
            self.assertIn(part, done.err)

    def test_what_is_named_must_be_there_and_fit(self):
        world = World(self)
        access = ["--vm", "prod/gate", "--account"]
        self.check(world, [*access, "prod/aoai-eus2", "--account", "prod/lost"], "account prod/lost: not found", "az account set")
        self.check(world, [*access, "prod/vision"], "prod/vision", "ComputerVision")
        self.check(world, [*access, "prod/keys-only"], "--custom-domain keys-only")
        self.check(world, [*access, "aoai-eus2"], "--account aoai-eus2: neither GROUP/NAME nor /subscriptions/")
        self.check(world, ["--vm", "prod/bare", "--account", "prod/aoai-eus2"], "az vm identity assign --resource-group prod --name bare")
        self.check(world, ["--invoke", "group:Nobody"], "group:Nobody: not found in the tenant")
        self.check(world, ["--invoke", "user:no@contoso.example"], "user:no@contoso.example: not found")
        self.check(world, ["--invoke", "alice"], "alice: who is this?")
        world.change(lambda tenant: tenant["groups"].append({"id": "another", "displayName": "Chat & 'search' users"}))
        self.check(world, ["--invoke", "group:Chat & 'search' users"], "several are called so", azure.CHATTERS, "another")

    def test_options_that_make_no_sense(self):
        world = World(self)
        self.check(world, ["--offline"], "--dry-run")
        self.check(world, ["--account", "prod/aoai-eus2"], "--vm or --identity")
        self.check(world, ["--vm", "prod/gate"], "Name each with --account")
        self.check(world, ["--frobnicate"], "unknown option --frobnicate; see --help")
        self.check(world, ["--app"], "--app wants a value")

    def test_az_must_be_there_and_new_and_logged_in(self):
        world = World(self)
        world.change(lambda tenant: tenant["version"].update({"azure-cli": "2.9.1"}))
        self.check(world, [], "az is 2.9.1, and at least 2.37.0 is needed. Run: az upgrade")
        world.change(lambda tenant: tenant["version"].update({"azure-cli": "2.37.0"}))
        world.change(lambda tenant: tenant.update(account=None))
        self.check(world, [], "not logged in", "Run 'az login'")
        # As on a machine with nothing but what every Debian has, and Python or not.
        tools = world.folder / "tools"
        tools.mkdir()
        for tool in ("bash", "env", "dirname", "mktemp", "rm"):
            (tools / tool).symlink_to(f"/usr/bin/{tool}")
        self.assertIn("python3 is missing", world.run("setup", path=str(tools)).err)
        (tools / "python3").symlink_to(azure.PYTHON / "python3")
        self.assertIn("az, the Azure CLI, is missing", world.run("setup", path=str(tools)).err)

    def test_a_missing_right_is_named(self):
        world = World(self)
        world.order("(AuthorizationFailed) The client 'me' does not have authorization.", "role assignment create")
        done = world.run("setup", *BACKENDS)
        self.assertEqual(done.code, 1)
        for part in ("Letting Firstlight use prod/aoai-eus2", "User Access Administrator", "The client 'me'"):
            self.assertIn(part, done.err)
        # It was refused, so it is not ours.
        self.assertNotIn("role_assignment", [one["kind"] for one in world.state["made"]])

    def test_what_is_not_known_everywhere_yet_is_waited_for(self):
        world = World(self)
        world.order('Not Found({"error":{"code":"Request_ResourceNotFound"}})', "--method PATCH")
        world.order("The appId 'x' does not reference a valid application object.", "--method POST", "/servicePrincipals --body")
        done = world.run("setup")
        self.assertEqual((done.code, len(done.printed), len(done.changes)), (0, 3, 5), done.err)

    def test_one_state_file_is_of_one_set_up(self):
        world = World(self)
        world.run("setup")
        self.check(world, ["--app", "Another"], "app 'Firstlight'", "--state")
        world.change(lambda tenant: tenant["account"].update(tenantId="elsewhere"))
        self.check(world, [], f"tenant '{azure.TENANT}'", "--state")
        world.state_file.write_text("{")
        self.check(world, [], "cannot be read as the state of a set-up")
        unwritable = ["--state", str(world.folder / "no" / "such.json")]
        self.check(world, unwritable, "such.json: cannot be written")

    def test_the_help_fits_a_screen(self):
        world = World(self)
        for script in ("setup", "teardown"):
            shown = world.run(script, "--help")
            self.assertEqual((shown.code, shown.calls), (0, []))
            self.assertLessEqual(len(shown.out.splitlines()), 30)
            self.assertLessEqual(max(map(len, shown.out.splitlines())), 120)


if __name__ == "__main__":
    unittest.main()
