//! Entra ID: who signs clients' tokens, where our own identity gets its tokens, what backends learn of callers.

use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Word;

pub(in crate::config) const AUTHORITY: Text = Text {
    path: "entra.authority",
    shown: "https://login.microsoftonline.com",
    need: Need::Default,
    about: "Where tenants publish their signing keys and give tokens. US Government:\n\
            https://login.microsoftonline.us, China: https://login.partner.microsoftonline.cn. Plain `http` is for a\n\
            fake on loopback.",
};

pub(in crate::config) const STS: Text = Text {
    path: "entra.sts",
    shown: "https://sts.windows.net",
    need: Need::Default,
    about: "Who issues tokens of version 1. In China https://sts.chinacloudapi.cn is the default, with an authority\n\
            that is not Microsoft's the authority.",
};

pub(in crate::config) const IMDS: Text = Text {
    path: "entra.imds",
    shown: "http://169.254.169.254",
    need: Need::Default,
    about: "Where managed identities get their tokens: link-local or loopback.",
};

pub(in crate::config) const CALLER_HEADERS: Flag = Flag {
    path: "caller.headers",
    default: Usual::of(false),
    about: "Whether backends are told who asks: `x-caller-app`, and of a token `x-caller-tenant-id`,\n\
            `x-caller-object-id` and `x-caller-client-id`. What a client sends under these names never crosses.",
};

pub(in crate::config) const CALLER_ID: Word = Word {
    path: "caller.id",
    default: Usual::of("off"),
    words: &["off", "oid", "sub"],
    about: "Which claim of a token is sent to backends in `caller.id_header`: `oid` names the user or the service in\n\
            the whole tenant, `sub` only for this app.",
};

pub(in crate::config) const CALLER_ID_HEADER: Text = Text {
    path: "caller.id_header",
    shown: "caller-objectid",
    need: Need::Default,
    about: "The header for it. What a client sends under this name never crosses.",
};

/// The rows of this part.
pub(super) const ENTRA: &[Key] = &[
    Key::Group(&Group {
        path: "entra",
        sample: "",
        about: "Where Entra ID and the identities of this machine are. Only sovereign clouds and tests write it.",
    }),
    Key::Text(&AUTHORITY),
    Key::Text(&STS),
    Key::Text(&IMDS),
    Key::Group(&Group {
        path: "caller",
        sample: "",
        about: "What backends are told of the caller, for an audit behind them.",
    }),
    Key::Flag(&CALLER_HEADERS),
    Key::Word(&CALLER_ID),
    Key::Text(&CALLER_ID_HEADER),
];
