//! The steps of a request: retries, times and sizes; and what the process does beside.

use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Real;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;
use crate::config::keys::entrance;

pub(in crate::config) const MAX_ATTEMPTS: Whole = Whole {
    path: "retry.max_attempts",
    default: Usual::of(5),
    least: 1,
    most: 10,
    unit: "attempts",
    about: "The first included. 1 never retries. Each goes to another backend, so that with five of them one healthy\n\
            backend serves every request, also the first ones of an outage.",
};

pub(in crate::config) const BUDGET_SHARE: Real = Real {
    path: "retry.budget_share",
    default: Usual::of(0.1),
    least: 0.0,
    most: 1.0,
    unit: "share",
    about: "Retries as a share of the requests of the last 60 s: an outage must not multiply the load.",
};

pub(in crate::config) const BUDGET_MIN: Whole = Whole {
    path: "retry.budget_min",
    default: Usual::of(10),
    least: 0,
    most: 10_000,
    unit: "retries",
    about: "Allowed in 60 s however few the requests, so that quiet times retry too.",
};

pub(in crate::config) const HOLD_HEADERS: Real = Real {
    path: "retry.hold_headers_seconds",
    default: Usual::of(20.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "How long the header of a stream waits for the first token: until then the answer may still become another\n\
            status. Reasoning models think for minutes, and idle timers in front of us cut at 4: after this the client\n\
            gets its 200, and an SSE comment every 15 s while the search goes on. Make it large for clients that do not\n\
            take SSE comments (azure-ai-inference for Python).",
};

pub(in crate::config) const CONNECT: Real = Real {
    path: "timeouts.connect_seconds",
    default: Usual::of(3.0),
    least: 0.01,
    most: 60.0,
    unit: "seconds",
    about: "TCP and TLS to a backend: one lost packet is allowed for.",
};

pub(in crate::config) const FIRST_TOKEN: Real = Real {
    path: "timeouts.first_token_seconds",
    default: Usual::by_policy(240.0, 60.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "Until an attempt's first content token, from the end of its upload. The default is evidence, not a cut:\n\
            reasoning models think for minutes. Another attempt then races the first, which goes on; it is at least\n\
            three times what is late for the model. Any other value is a bound: the attempt is cut and another backend\n\
            is tried once, for at least half of this time. `ema`, which does nothing before that, gives up sooner and\n\
            counts it as a slow answer.",
};

pub(in crate::config) const ANSWER: Real = Real {
    path: "timeouts.answer_seconds",
    default: Usual::of(600.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "Until the first body byte of a response that is not streamed: nothing shows before it is complete. The\n\
            default is evidence and any other value a bound, as with first_token_seconds.",
};

pub(in crate::config) const IDLE: Real = Real {
    path: "timeouts.idle_seconds",
    default: Usual::of(120.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "Silence between two chunks of an answer.",
};

pub(in crate::config) const BODY_IDLE: Real = Real {
    path: "timeouts.body_idle_seconds",
    default: Usual::of(15.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "Silence while a client sends its body.",
};

pub(in crate::config) const BODY_TOTAL: Real = Real {
    path: "timeouts.body_total_seconds",
    default: Usual::of(60.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "A client's whole body: 32 MiB at 4.5 Mbit/s.",
};

pub(in crate::config) const REALTIME_IDLE: Real = Real {
    path: "timeouts.realtime_idle_seconds",
    default: Usual::of(900.0),
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "A realtime session without a byte in either direction is closed. People think for minutes, and clients\n\
            with an open microphone are never silent: after 15 minutes nobody is there.",
};

pub(in crate::config) const REALTIME_TOTAL: Real = Real {
    path: "timeouts.realtime_total_seconds",
    default: Usual::of(7200.0),
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "The longest realtime session. Azure ends its own after 30 to 60 minutes, and tells clients so: this only\n\
            ends what outlived that.",
};

pub(in crate::config) const CONCURRENT: Whole = Whole {
    path: "limits.concurrent",
    default: Usual::of(10_000),
    least: 1,
    most: 10_000_000,
    unit: "requests at a time",
    about: "Of all apps, on this instance. Over it: 503, before the body is read. A fifth of it is reserved for the apps,\n\
            in equal parts, and what is left of that goes to those with less than their fair share: one app's flood\n\
            leaves room for the others. buffered_mib is shared in the same way.",
};

pub(in crate::config) const BODY: Whole = Whole {
    path: "limits.body_mib",
    default: Usual::of(32),
    least: 1,
    most: 1024,
    unit: "MiB",
    about: "Largest request body; it is kept in memory for a retry. So much holds a prompt with images, and the longest\n\
            recording that Azure transcribes (25 MB).",
};

pub(in crate::config) const BUFFERED: Whole = Whole {
    path: "limits.buffered_mib",
    default: Usual::of(1024),
    least: 1,
    most: 1_048_576,
    unit: "MiB",
    about: "All request bodies in memory, until their first token; never less than one body. Over it: 503.",
};

pub(in crate::config) const KEPT_IDS: Whole = Whole {
    path: "limits.kept_ids",
    default: Usual::of(100_000),
    least: 100,
    most: 10_000_000,
    unit: "ids",
    about: "Ids of responses, files, threads and the like whose backend is known, some 300 bytes each. Over it the app\n\
            with the most loses its oldest.",
};

pub(in crate::config) const LOG_ACCESS: Flag = Flag {
    path: "log.access",
    default: Usual::of(true),
    about: "Whether each request gets its line of JSON.",
};

pub(in crate::config) const INJECT_USAGE: Flag = Flag {
    path: "inject_usage",
    default: Usual::of(false),
    about: "Whether streamed chats and completions that do not ask for their usage are made to; the client does not see it.\n\
            Without it what they used is estimated.",
};

pub(in crate::config) const DNS_REFRESH: Real = Real {
    path: "dns.refresh_seconds",
    default: Usual::of(30.0),
    least: 0.1,
    most: 86_400.0,
    unit: "seconds",
    about: "How often: a private endpoint that moves is found within this time.",
};

pub(in crate::config) const DRAIN: Real = Real {
    path: "drain_seconds",
    default: Usual::of(300.0),
    least: 0.0,
    most: 86_400.0,
    unit: "seconds",
    about: "How long a stopping process lets streams finish. Longer than the longest usual answer.",
};

pub(in crate::config) const STATE_DIRECTORY: Text = Text {
    path: "state_directory",
    shown: "/var/lib/firstlight",
    need: Need::Optional,
    about: "Where a process leaves what the next one should know. The default is this path, used where it exists;\n\
            a path that is written must work. `none` switches it off.",
};

pub(in crate::config) const REPEATABLE_TOOLS: Text = Text {
    path: "retry.repeatable_tools",
    shown: "[mcp]",
    need: Need::Optional,
    about: "Types of tools that may be used twice for one request, beside those without side effects (function, custom,\n\
            file_search, web_search, web_search_preview, computer use). A request with any other tool (mcp,\n\
            code_interpreter, image_generation, shell, ...) is neither hedged nor retried once a backend may have begun\n\
            it. `all` stands for every type, and for tools that a stored prompt or an agent brings.",
};

/// The rows of this part.
pub(super) const STEPS: &[Key] = &[
    Key::Group(&Group {
        path: "retry",
        sample: "",
        about: "When a failed request is tried again, on another backend. Never after the first content went to the client.",
    }),
    Key::Whole(&MAX_ATTEMPTS),
    Key::Real(&BUDGET_SHARE),
    Key::Whole(&BUDGET_MIN),
    Key::Real(&HOLD_HEADERS),
    Key::Text(&REPEATABLE_TOOLS),
    Key::Group(&Group {
        path: "timeouts",
        sample: "",
        about: "How long each step of a request may take.",
    }),
    Key::Real(&CONNECT),
    Key::Real(&FIRST_TOKEN),
    Key::Real(&ANSWER),
    Key::Real(&IDLE),
    Key::Real(&BODY_IDLE),
    Key::Real(&BODY_TOTAL),
    Key::Real(&REALTIME_IDLE),
    Key::Real(&REALTIME_TOTAL),
    Key::Real(&entrance::BODY_GRACE),
    Key::Real(&entrance::HEADER_TIME),
    Key::Real(&entrance::KEEP_ALIVE),
    Key::Group(&Group {
        path: "limits",
        sample: "",
        about: "How many requests and connections there may be, and what one may cost.",
    }),
    Key::Whole(&CONCURRENT),
    Key::Whole(&BODY),
    Key::Whole(&BUFFERED),
    Key::Whole(&KEPT_IDS),
    Key::Whole(&entrance::BODY_RATE),
    Key::Whole(&entrance::HEADER_BYTES),
    Key::Whole(&entrance::HEADERS),
    Key::Whole(&entrance::H2_STREAMS),
    Key::Whole(&entrance::CONNECTIONS),
    Key::Whole(&entrance::CONNECTIONS_PER_IP),
    Key::Group(&Group { path: "log", sample: "", about: "What is written to standard output." }),
    Key::Flag(&LOG_ACCESS),
    Key::Flag(&INJECT_USAGE),
    Key::Group(&Group { path: "dns", sample: "", about: "How host names are resolved." }),
    Key::Real(&DNS_REFRESH),
    Key::Real(&DRAIN),
    Key::Text(&STATE_DIRECTORY),
];
