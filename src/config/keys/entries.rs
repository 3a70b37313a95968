//! Where clients connect, where requests go, and who may send them.

use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Real;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;
use crate::config::keys::Word;

pub(in crate::config) const ADMIN_ADDRESS: Text = Text {
    path: "admin.address",
    shown: "127.0.0.1:9090",
    need: Need::Default,
    about: "Metrics and health, without authentication: keep it on loopback. `none` switches it off.",
};

pub(in crate::config) const ADMIN_SOCKET: Text = Text {
    path: "admin.socket",
    shown: "/run/firstlight/admin.sock",
    need: Need::Optional,
    about: "The unix socket for `firstlight reload` and the other orders. The default is this path, used where its\n\
            directory exists; a path that is written must work. `none` switches it off.",
};

pub(in crate::config) const LISTENER_APPS: Text = Text {
    path: "listen.*.apps",
    shown: "[chat-ui]",
    need: Need::Optional,
    about: "The apps that may use this listener. The default is all of them.",
};

pub(in crate::config) const THREADS: Whole = Whole {
    path: "threads",
    default: Usual::of(0),
    least: 0,
    most: 1024,
    unit: "worker threads",
    about: "0 is one per core, which suits a machine of its own.",
};

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

pub(in crate::config) const MODEL_PROBE: Word = Word {
    path: "models.*.probe",
    default: Usual::of("chat"),
    words: &["chat", "completions", "embeddings", "off"],
    about: "What a probe sends. The default is `embeddings` if the model's name contains `embedding`.",
};

pub(in crate::config) const MODEL_FIRST_TOKEN: Real = Real {
    path: "models.*.first_token_seconds",
    default: Usual::by_policy(240.0, 60.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "Instead of timeouts.first_token_seconds, for a model that thinks long before it answers.",
};

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

/// The rows of this part.
pub(super) const ENTRIES: &[Key] = &[
    Key::Group(&Group {
        path: "listen",
        sample: "-",
        about: "Where clients connect; at least one.",
    }),
    Key::Group(&Group { path: "listen.*", sample: "-", about: "" }),
    Key::Text(&Text {
        path: "listen.*.address",
        shown: "0.0.0.0:8443",
        need: Need::Required,
        about: "Address and port. Port 0 lets the system choose; the log tells which.",
    }),
    Key::Group(&Group {
        path: "listen.*.tls",
        sample: "",
        about: "Leave it out for plain HTTP, on loopback behind something that ends TLS. A list of several is chosen\n\
                from by the host name that the client asks for; the first one serves where no name matches.",
    }),
    Key::Text(&Text {
        path: "listen.*.tls.certificate",
        shown: "/etc/firstlight/tls.crt",
        need: Need::Required,
        about: "PEM file with the certificate chain, leaf first: a path, { file: PATH } or { credential: NAME },\n\
                which is a systemd credential.",
    }),
    Key::Text(&Text {
        path: "listen.*.tls.key",
        shown: "/etc/firstlight/tls.key",
        need: Need::Required,
        about: "PEM file with the private key, in the same forms.",
    }),
    Key::Text(&LISTENER_APPS),
    Key::Group(&Group { path: "admin", sample: "", about: "The operator's own listener." }),
    Key::Text(&ADMIN_ADDRESS),
    Key::Text(&ADMIN_SOCKET),
    Key::Whole(&THREADS),
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
        about: "What Firstlight proves itself with; required. `auth: none` sends nothing, on loopback only.",
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
    Key::Whole(&TIER),
    Key::Whole(&WEIGHT),
    Key::Text(&Text {
        path: "backends.*.ca",
        shown: "/etc/firstlight/private-ca.pem",
        need: Need::Optional,
        about: "PEM file with the authorities that may sign this backend's certificate, instead of the system's.",
    }),
    Key::Group(&Group {
        path: "models",
        sample: "",
        about: "Models, by the name that clients ask for.",
    }),
    Key::Group(&Group { path: "models.*", sample: "gpt-4o", about: "" }),
    Key::Text(&Text {
        path: "models.*.backends",
        shown: "{ eastus2: gpt-4o }",
        need: Need::Default,
        about: "Backend and deployment; `[eastus2]` where the deployment is called like the model. The default is\n\
                every backend, under the model's name. A model is never routed where it is not deployed.",
    }),
    Key::Word(&MODEL_PROBE),
    Key::Real(&MODEL_FIRST_TOKEN),
    Key::Text(&Text {
        path: "models.*.routing",
        shown: "{ hedge: { enabled: false } }",
        need: Need::Optional,
        about: "Any keys of `routing`, for this model alone; what it leaves out is as written there. With another\n\
                `policy` than there it is that policy's default.",
    }),
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
        about: "The key's SHA-256: printf %s \"$KEY\" | sha256sum",
    }),
    Key::Text(&Text {
        path: "apps.*.api_keys.*.name",
        shown: "2026-11",
        need: Need::Required,
        about: "What you call this key; it is written to the access log.",
    }),
    Key::Text(&Text {
        path: "apps.*.models",
        shown: "[gpt-4o]",
        need: Need::Optional,
        about: "The models it may use. The default is all of them.",
    }),
    Key::Flag(&APP_PROBE),
    Key::Flag(&ANONYMOUS),
];
