//! What clients ask for, and where it is deployed.

use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Real;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Word;

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

/// The rows of this part.
pub(super) const MODELS: &[Key] = &[
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
];
