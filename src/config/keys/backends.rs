//! Where requests go, and what proves us there.

use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;

pub(in crate::config) const TIER: Whole = Whole {
    path: "backends.*.tier",
    default: Usual::of(1),
    least: 0,
    most: 100,
    unit: "rank",
    about: "Lower tiers are used first. Give provisioned throughput 0: it is paid for whether used or not.",
};

pub(in crate::config) const WEIGHT: Whole = Whole {
    path: "backends.*.weight",
    default: Usual::of(1),
    least: 1,
    most: 1000,
    unit: "parts",
    about: "Share of the traffic, while the target is no slower than usual; `policy: ema` does not look at it.",
};

pub(in crate::config) const MAX_IN_FLIGHT: Whole = Whole {
    path: "backends.*.max_in_flight",
    default: Usual::of(0),
    least: 0,
    most: 1_000_000,
    unit: "requests at a time",
    about: "To each deployment there, until the end of their answers; 0 is no limit. For provisioned throughput: what\n\
            it can carry. Nothing more is sent there, and routing.spill_share of it is what sends traffic elsewhere.",
};

pub(in crate::config) const IDENTITY_SCOPE: Text = scope("backends.*.auth.managed_identity.scope");

/// What a token is asked for.
const fn scope(path: &'static str) -> Text {
    Text {
        path,
        shown: "https://cognitiveservices.azure.com/.default",
        need: Need::Optional,
        about: "What the token is for. The default is this, with azure.us and azure.cn in those clouds; newer Foundry endpoints: https://ai.azure.com/.default",
    }
}

const fn tenant(path: &'static str) -> Text {
    Text {
        path,
        shown: "00000000-0000-0000-0000-000000000001",
        need: Need::Optional,
        about: "Required within it. The tenant's id.",
    }
}

const fn client_id(path: &'static str) -> Text {
    Text {
        path,
        shown: "11111111-1111-1111-1111-111111111111",
        need: Need::Optional,
        about: "Required within it. The app registration's client id.",
    }
}

/// The rows of this part.
pub(super) const BACKENDS: &[Key] = &[
    Key::Group(&Group {
        path: "backends",
        sample: "",
        about: "Azure OpenAI resources, by a name of your choice: it appears in logs, metrics and headers.",
    }),
    Key::Group(&Group { path: "backends.*", sample: "eastus2", about: "" }),
    Key::Text(&Text {
        path: "backends.*.endpoint",
        shown: "https://my-aoai-eus2.openai.azure.com",
        need: Need::Required,
        about: "Scheme and host, with a port if it is not the usual one, and nothing behind it. Plain `http` and\n\
                loopback hosts are for tests: every listener must then be on loopback too.",
    }),
    Key::Group(&Group {
        path: "backends.*.auth",
        sample: "",
        about: "What Firstlight proves itself with; one of these forms. The default is `auth: managed_identity`: the\n\
                identity of this virtual machine. `auth: none` sends nothing, on loopback only.",
    }),
    Key::Group(&Group {
        path: "backends.*.auth.api_key",
        sample: "",
        about: "Where the resource's key comes from; exactly one of three. It never stands in this file.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.api_key.env",
        shown: "EUS2_KEY",
        need: Need::OneOf,
        about: "An environment variable.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.api_key.file",
        shown: "/run/secrets/eastus2",
        need: Need::Optional,
        about: "A file; white space around the key is removed.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.api_key.credential",
        shown: "eastus2-key",
        need: Need::Optional,
        about: "A systemd credential, by its name.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.managed_identity",
        shown: "{ client_id: 11111111-1111-1111-1111-111111111111 }",
        need: Need::Optional,
        about: "An identity of this virtual machine: the system-assigned one, or a user-assigned one by its client id,\n\
                object id or resource id.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.managed_identity.client_id",
        shown: "11111111-1111-1111-1111-111111111111",
        need: Need::Optional,
        about: "Client id of a user-assigned identity.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.managed_identity.object_id",
        shown: "22222222-2222-2222-2222-222222222222",
        need: Need::Optional,
        about: "Or its object id.",
    }),
    Key::Text(&Text {
        path: "backends.*.auth.managed_identity.resource_id",
        shown: "/subscriptions/SUB/resourcegroups/GROUP/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME",
        need: Need::Optional,
        about: "Or its resource id.",
    }),
    Key::Text(&IDENTITY_SCOPE),
    Key::Text(&Text {
        path: "backends.*.auth.workload_identity",
        shown: "{ tenant: TENANT, client_id: APP, token_file: /var/run/secrets/azure/tokens/azure-identity-token }",
        need: Need::Optional,
        about: "A federated identity: an app registration that trusts the token in a file.",
    }),
    Key::Text(&tenant("backends.*.auth.workload_identity.tenant")),
    Key::Text(&client_id("backends.*.auth.workload_identity.client_id")),
    Key::Text(&Text {
        path: "backends.*.auth.workload_identity.token_file",
        shown: "/var/run/secrets/azure/tokens/azure-identity-token",
        need: Need::Optional,
        about: "Required within it. The file with the token; it is read anew each time.",
    }),
    Key::Text(&scope("backends.*.auth.workload_identity.scope")),
    Key::Text(&Text {
        path: "backends.*.auth.client_secret",
        shown: "{ tenant: TENANT, client_id: APP, secret: { credential: entra-secret } }",
        need: Need::Optional,
        about: "An app registration with a secret: where there is no managed identity.",
    }),
    Key::Text(&tenant("backends.*.auth.client_secret.tenant")),
    Key::Text(&client_id("backends.*.auth.client_secret.client_id")),
    Key::Text(&Text {
        path: "backends.*.auth.client_secret.secret",
        shown: "{ credential: entra-secret }",
        need: Need::Optional,
        about: "Required within it. Where the secret comes from, in the forms of `api_key`.",
    }),
    Key::Text(&scope("backends.*.auth.client_secret.scope")),
    Key::Whole(&TIER),
    Key::Whole(&WEIGHT),
    Key::Whole(&MAX_IN_FLIGHT),
    Key::Text(&Text {
        path: "backends.*.ca",
        shown: "/etc/firstlight/private-ca.pem",
        need: Need::Optional,
        about: "PEM file with the authorities that may sign this backend's certificate, instead of the system's.",
    }),
];
