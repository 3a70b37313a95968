"""What scripts/azure/teardown removes: what setup made, whatever happened in between, and nothing else."""

import unittest

import tenant as azure
from tenant import World

# An application, its URI, its service principal, an app role, an account: five changes.
OPTIONS = ["--vm", "prod/gate", "--account", "prod/aoai-eus2", "--invoke", "vm:prod/prober"]
CHANGES = [
    ("--method POST", "/applications --body"),
    ("--method PATCH", "identifierUris"),
    ("--method POST", "/servicePrincipals --body"),
    ("--method POST", "appRoleAssignedTo"),
    ("role assignment create",),
]


def add_a_foreign_application(content):
    """It is called Firstlight and half done, by somebody else, for other purposes, too."""
    other = {
        "allowedMemberTypes": ["User"],
        "description": "theirs",
        "displayName": "theirs",
        "id": "99999999-0000-4000-8000-000000000001",
        "isEnabled": True,
        "value": "LLM.Invoke",
    }
    content["applications"].append(
        {
            "id": "99999999-0000-4000-8000-000000000002",
            "appId": "99999999-0000-4000-8000-000000000003",
            "displayName": "Firstlight",
            "tags": ["theirs"],
            "identifierUris": ["https://contoso.example/llm"],
            "appRoles": [other],
            "api": {"requestedAccessTokenVersion": None},
        }
    )
    content["servicePrincipals"].append(
        {
            "id": "99999999-0000-4000-8000-000000000004",
            "appId": "99999999-0000-4000-8000-000000000003",
            "displayName": "Firstlight",
            "appRoleAssignmentRequired": False,
        }
    )
    grant = {"resourceId": "99999999-0000-4000-8000-000000000004", "appRoleId": other["id"]}
    content["appRoleAssignments"] += [
        {**grant, "id": "theirs-1", "principalId": azure.ALICE},
        {**grant, "id": "theirs-2", "principalId": azure.PROBER},
    ]
    content["roleAssignments"].append(
        {
            "id": f"/subscriptions/{azure.SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments/theirs",
            "name": "theirs",
            "principalId": azure.VM_PRINCIPAL,
            "roleDefinitionId": "/x/roleDefinitions/5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
            "roleDefinitionName": "Cognitive Services OpenAI User",
            "scope": f"/subscriptions/{azure.SUBSCRIPTION}",
            "condition": None,
        }
    )
    return content


class Teardown(unittest.TestCase):
    def remove(self, world, before):
        """Teardown leaves the tenant as it was, and no state file."""
        done = world.run("teardown", "--yes")
        self.assertEqual((done.code, done.printed), (0, done.changes), done.err)
        self.assertEqual(world.tenant, before)
        self.assertFalse(world.state_file.exists())

    def test_it_asks_and_a_second_one_has_nothing_to_do(self):
        world = World(self)
        self.assertEqual(world.run("setup", *OPTIONS).code, 0)
        made, state = world.tenant, world.state
        refused = world.run("teardown", reply="n\n")
        self.assertEqual((refused.code, refused.changes, world.tenant), (1, [], made))
        self.assertIn("LLM.Invoke to vm:prod/prober", refused.out)
        dry = world.run("teardown", "--dry-run")
        self.assertEqual((dry.code, dry.changes, world.tenant, world.state), (0, [], made, state))
        done = world.run("teardown", reply="y\n")
        self.assertEqual((done.code, done.changes, world.tenant), (0, dry.printed, azure.tenant()), done.err)
        again = world.run("teardown", "--yes")
        self.assertEqual((again.code, again.calls), (0, []))
        self.assertIn("Nothing to remove", again.out)

    def test_each_run_after_a_failure_goes_on_and_all_of_it_can_be_removed(self):
        world = World(self)
        for step, change in enumerate(CHANGES):
            world.order("(InternalServerError) try later", *change)
            failed = world.run("setup", *OPTIONS)
            # What the run before failed at, and the next one, which fails.
            self.assertEqual((failed.code, len(failed.changes)), (1, 1 + (step > 0)), failed.err)
            self.assertIn("try later", failed.err)
        last = world.run("setup", *OPTIONS)
        self.assertEqual((last.code, len(last.changes)), (0, 1), last.err)
        self.remove(world, azure.tenant())

    def test_what_was_made_as_setup_was_killed_is_not_made_twice(self):
        world = World(self)
        for change in CHANGES:
            world.order("", *change, done=True)
            killed = world.run("setup", *OPTIONS)
            self.assertEqual((killed.code, len(killed.changes)), (-9, 1), killed.err)
        last = world.run("setup", *OPTIONS)
        self.assertEqual((last.code, last.changes), (0, []), last.err)
        self.remove(world, azure.tenant())

    def test_what_was_made_as_setup_was_killed_is_removed(self):
        for change in CHANGES[::2]:
            with self.subTest(change=change):
                world = World(self)
                world.order("", *change, done=True)
                self.assertEqual(world.run("setup", *OPTIONS).code, -9)
                self.assertEqual(len(world.tenant["applications"]), 1)
                self.remove(world, azure.tenant())

    def test_a_teardown_that_fails_goes_on_where_it_was(self):
        world = World(self)
        world.run("setup", *OPTIONS)
        world.order("(InternalServerError) try later", "--method DELETE", skip=1)
        failed = world.run("teardown", "--yes")
        self.assertEqual((failed.code, [one["kind"] for one in world.state["made"]]), (1, ["application", "service_principal"]))
        self.remove(world, azure.tenant())

    def test_what_was_there_before_is_kept_and_put_back(self):
        before = add_a_foreign_application(azure.tenant())
        world = World(self, before)
        done = world.run("setup", *OPTIONS, "--probe", "vm:prod/prober")
        # Their role LLM.Invoke, its assignment and the inherited access to the account serve as they are.
        self.assertEqual((done.code, len(done.changes)), (0, 5), done.err)
        [application] = world.tenant["applications"]
        self.assertEqual(application["identifierUris"], ["https://contoso.example/llm", f"api://{application['appId']}"])
        self.assertEqual([role["value"] for role in application["appRoles"]], ["LLM.Invoke", "Probe.Execute"])
        self.assertEqual(application["api"], {"requestedAccessTokenVersion": 2})
        self.assertIs(world.tenant["servicePrincipals"][-1]["appRoleAssignmentRequired"], True)
        self.assertEqual(world.run("setup", *OPTIONS, "--probe", "vm:prod/prober").changes, [])
        self.remove(world, before)

    def test_what_others_removed_or_made_meanwhile_is_no_trouble(self):
        world = World(self)
        world.run("setup", *OPTIONS)
        theirs = {"id": "theirs", "principalId": azure.ALICE, "roleDefinitionId": "x", "scope": "/", "condition": None}

        def meddle(tenant):
            tenant["applications"].clear()
            tenant["servicePrincipals"].pop()
            tenant["appRoleAssignments"].clear()
            tenant["roleAssignments"].append(theirs)

        world.change(meddle)
        self.remove(world, {**azure.tenant(), "roleAssignments": [theirs]})

    def test_another_tenant_is_not_touched(self):
        world = World(self)
        world.run("setup")
        world.change(lambda tenant: tenant["account"].update(tenantId="elsewhere"))
        done = world.run("teardown", "--yes")
        self.assertEqual((done.code, done.changes), (1, []))
        self.assertIn(azure.TENANT, done.err)

    def test_an_application_without_our_mark_is_kept(self):
        world = World(self)
        world.run("setup")
        world.change(lambda tenant: tenant["applications"][0].update(tags=[]))
        self.assertEqual(world.run("teardown", "--yes").code, 0)
        self.assertEqual(len(world.tenant["applications"]), 1)


if __name__ == "__main__":
    unittest.main()
