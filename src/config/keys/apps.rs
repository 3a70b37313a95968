//! Who may send requests, for which models and how many.

use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;

pub(in crate::config) const APP_PROBE: Flag = Flag {
    path: "apps.*.probe",
    default: Usual::of(false),
    about: "Whether the app may send `X-Probe-Target` and so choose the backend itself.",
};

pub(in crate::config) const ANONYMOUS: Flag = Flag {
    path: "apps.*.anonymous",
    default: Usual::of(false),
    about: "Requests without any key belong to this app. At most one app, and only where every listener and\n\
            every endpoint is on loopback: anyone who can connect could spend your quota.",
};

pub(in crate::config) const ENTRA_ROLES: Text = Text {
    path: "apps.*.entra.roles",
    shown: "[LLM.Invoke]",
    need: Need::Default,
    about: "App roles of which one is enough.",
};

pub(in crate::config) const ENTRA_PROBE_ROLES: Text = Text {
    path: "apps.*.entra.probe_roles",
    shown: "[Probe.Execute]",
    need: Need::Default,
    about: "App roles whose bearer may also send `X-Probe-Target` and so choose the backend itself.",
};

pub(in crate::config) const APP_REQUESTS: Whole = Whole {
    path: "apps.*.limits.requests_per_minute",
    default: Usual::of(0),
    least: 0,
    most: 10_000_000,
    unit: "requests a minute",
    about: "0 is no limit.",
};

pub(in crate::config) const APP_TOKENS: Whole = Whole {
    path: "apps.*.limits.tokens_per_minute",
    default: Usual::of(0),
    least: 0,
    most: 2_000_000_000,
    unit: "tokens a minute",
    about: "0 is no limit. A request is counted with its prompt and the most it may answer, as Azure does; what it\n\
            did not use is given back at its end.",
};

pub(in crate::config) const APP_CONCURRENT: Whole = Whole {
    path: "apps.*.limits.concurrent",
    default: Usual::of(0),
    least: 0,
    most: 1_000_000,
    unit: "requests at a time",
    about: "0 is no limit.",
};

/// The rows of this part.
pub(super) const APPS: &[Key] = &[
    Key::Group(&Group {
        path: "apps",
        sample: "",
        about: "Client applications, by a name of your choice.",
    }),
    Key::Group(&Group { path: "apps.*", sample: "chat-ui", about: "" }),
    Key::Group(&Group {
        path: "apps.*.api_keys",
        sample: "-",
        about: "Keys that prove a request comes from this app; at most 8. Two let you change keys without a gap.",
    }),
    Key::Group(&Group { path: "apps.*.api_keys.*", sample: "-", about: "" }),
    Key::Text(&Text {
        path: "apps.*.api_keys.*.sha256",
        shown: "090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4",
        need: Need::Required,
        about: "The key's SHA-256: `firstlight key new` makes both, `firstlight key hash` reads a key you have.",
    }),
    Key::Text(&Text {
        path: "apps.*.api_keys.*.name",
        shown: "2026-11",
        need: Need::Required,
        about: "What you call this key; it is written to the access log.",
    }),
    Key::Text(&Text {
        path: "apps.*.api_keys.*.expires",
        shown: "2027-06-30",
        need: Need::Optional,
        about: "The last day, in UTC, on which the key is good; or a moment such as 2027-06-30T12:00:00Z.",
    }),
    Key::Group(&Group {
        path: "apps.*.entra",
        sample: "",
        about: "Tokens of Entra ID that prove a request comes from this app; beside its keys or instead of them.",
    }),
    Key::Text(&Text {
        path: "apps.*.entra.tenant",
        shown: "00000000-0000-0000-0000-000000000001",
        need: Need::Required,
        about: "Id of the tenant whose tokens are taken.",
    }),
    Key::Text(&Text {
        path: "apps.*.entra.audiences",
        shown: "[33333333-3333-3333-3333-333333333333, api://33333333-3333-3333-3333-333333333333]",
        need: Need::Required,
        about: "What `aud` may be, exactly: the client id of Firstlight's own app registration (tokens of version 2)\n\
                and its application ID URI (version 1, which is what a new registration gets).",
    }),
    Key::Text(&ENTRA_ROLES),
    Key::Text(&ENTRA_PROBE_ROLES),
    Key::Text(&Text {
        path: "apps.*.entra.scopes",
        shown: "[access_as_user]",
        need: Need::Optional,
        about: "Scopes of which one will do instead of a role, in tokens for a user (`scp`). The default is none: such\n\
                tokens need a role, too.",
    }),
    Key::Text(&Text {
        path: "apps.*.entra.clients",
        shown: "[44444444-4444-4444-4444-444444444444]",
        need: Need::Optional,
        about: "Client ids of the callers (`azp`, `appid`) that are this app. The default is whoever has a role. An\n\
                app that names the client goes before one that names none.",
    }),
    Key::Text(&Text {
        path: "apps.*.models",
        shown: "[gpt-4o]",
        need: Need::Optional,
        about: "The models it may use. The default is all of them.",
    }),
    Key::Group(&Group {
        path: "apps.*.limits",
        sample: "",
        about: "How much it may use of this instance. More is refused with 429 and the time to wait.",
    }),
    Key::Whole(&APP_REQUESTS),
    Key::Whole(&APP_TOKENS),
    Key::Whole(&APP_CONCURRENT),
    Key::Flag(&APP_PROBE),
    Key::Flag(&ANONYMOUS),
];
