//! What a connection and a request's head may cost, and what stands in front of Firstlight.

use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Real;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;

pub(in crate::config) const TRUSTED_PROXIES: Text = Text {
    path: "trusted_proxies",
    shown: "[10.1.0.0/16]",
    need: Need::Optional,
    about: "Networks of proxies in front, such as a gateway's subnet. Only from these X-Forwarded-For is believed (its last\n\
            address that is not such a proxy is the client's), and limits.connections_per_ip does not bind them. Front Door\n\
            without a private link comes from the addresses of the service tag AzureFrontDoor.Backend.",
};

pub(in crate::config) const STATUS_PATH: Text = Text {
    path: "status_path",
    shown: "/status-0123456789abcdef",
    need: Need::Optional,
    about: "For the health probes of what stands in front: GET and HEAD here answer 200 while something could be tried, else\n\
            (and while draining) 503; without a key, on every listener. Choose one that nobody guesses.",
};

pub(in crate::config) const FRONT_DOOR_ID: Text = Text {
    path: "front_door_id",
    shown: "00000000-0000-0000-0000-000000000000",
    need: Need::Optional,
    about: "The id of your Front Door: requests whose X-Azure-FDID is another are refused, for anybody may have a Front Door\n\
            that points here. Health probes are answered all the same.",
};

pub(in crate::config) const HEADER_TIME: Real = Real {
    path: "timeouts.header_seconds",
    default: Usual::of(10.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "The whole head of a request, and before it the TLS handshake, however often a byte of it comes.",
};

pub(in crate::config) const KEEP_ALIVE: Real = Real {
    path: "timeouts.keep_alive_seconds",
    default: Usual::of(120.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "Silence between two requests of an HTTP/1.1 connection. Longer than what stands in front keeps its own (Front\n\
            Door: 90), or it sends requests on connections that are just being closed.",
};

pub(in crate::config) const BODY_GRACE: Real = Real {
    path: "timeouts.body_grace_seconds",
    default: Usual::of(5.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "After this a client's body must have come at limits.body_rate_bytes_per_second.",
};

pub(in crate::config) const BODY_RATE: Whole = Whole {
    path: "limits.body_rate_bytes_per_second",
    default: Usual::of(1000),
    least: 0,
    most: 1_000_000_000,
    unit: "bytes a second",
    about: "A body that comes slower than this on the average is cut with 408. 0 allows any.",
};

pub(in crate::config) const HEADER_BYTES: Whole = Whole {
    path: "limits.header_bytes",
    default: Usual::of(32_768),
    least: 1024,
    most: 65_536,
    unit: "bytes",
    about: "Largest head of a request, all headers together: a token of Entra ID with many roles has up to 16 KiB. Over it: 431.",
};

pub(in crate::config) const HEADERS: Whole = Whole {
    path: "limits.headers",
    default: Usual::of(100),
    least: 10,
    most: 250,
    unit: "headers",
    about: "Most headers of a request. Over it: 431.",
};

pub(in crate::config) const H2_STREAMS: Whole = Whole {
    path: "limits.h2_streams",
    default: Usual::of(100),
    least: 1,
    most: 1000,
    unit: "requests",
    about: "At a time on one HTTP/2 connection.",
};

pub(in crate::config) const CONNECTIONS: Whole = Whole {
    path: "limits.connections",
    default: Usual::of(20_000),
    least: 1,
    most: 1_000_000,
    unit: "connections",
    about: "Of all clients together; one more is closed at once. Each takes a file descriptor, a request under way one more.",
};

pub(in crate::config) const CONNECTIONS_PER_IP: Whole = Whole {
    path: "limits.connections_per_ip",
    default: Usual::of(1000),
    least: 1,
    most: 1_000_000,
    unit: "connections",
    about: "Of one address, or of one /64 network of IPv6. Does not bind trusted_proxies.",
};

/// What stands in front.
pub(super) const IN_FRONT: &[Key] =
    &[Key::Text(&TRUSTED_PROXIES), Key::Text(&STATUS_PATH), Key::Text(&FRONT_DOOR_ID)];
