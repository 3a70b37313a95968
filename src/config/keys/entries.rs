//! Where clients connect, and what the process has of its own.

use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;

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

pub(in crate::config) const EXTRA_PATHS: Text = Text {
    path: "extra_paths",
    shown: "[skills]",
    need: Need::Optional,
    about: "First parts of paths below /openai/v1 that are passed on beside those that are known: what Azure adds\n\
            before Firstlight learns of it. What they name is taken as it is, so apps with `models` may not use them.",
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
    Key::Text(&EXTRA_PATHS),
];
