//! Where each app may put things that name no model: files, threads, vector stores.
//!
//! They are used together with models later, and must then be where the models are. So an app's are made on backends
//! that serve every model it may use, if there are such; else on those that serve one.

use crate::config::checked::{App, Config};
use std::collections::BTreeSet;

/// The backends that suit what an app makes, by name.
pub(super) fn backends<'a>(config: &'a Config, app: &App) -> BTreeSet<&'a str> {
    let models = config.models.iter().filter(|(name, _)| app.may_use(name));
    let models: Vec<_> = models.map(|(_, model)| model).collect();
    let serves = |backend: &&str| {
        models.iter().filter(|model| model.backends.contains_key(*backend)).count()
    };
    let all = || config.backends.keys().map(String::as_str);
    let every: BTreeSet<_> = all().filter(|backend| serves(backend) == models.len()).collect();
    if every.is_empty() { all().filter(|backend| serves(backend) > 0).collect() } else { every }
}
