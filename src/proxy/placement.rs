//! Where a request must go, because of what it names: things that exist on one backend only.

use crate::azure::error::ClientError;
use crate::azure::ids::{Named, is_encrypted};
use crate::azure::route::{Operation, Route};
use crate::live::{Kept, LiveModel, Snapshot};
use crate::owners::Known;
use crate::routing::Bound;
use http::Method;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Wherever it is served best.
    Anywhere,
    /// Rather to this target: other things of its app are there.
    Rather(usize),
    /// To the one that the client asked for, and may.
    Asked(usize),
    /// To the one that keeps what it names.
    Owner(usize),
    /// To one after the other: it reads what one of them may keep.
    Seek,
}

impl Placement {
    /// What it is to the routing core.
    pub(super) fn bound(&self) -> Bound {
        match *self {
            Self::Anywhere | Self::Seek => Bound::Free,
            Self::Rather(target) => Bound::Rather(target),
            Self::Asked(target) | Self::Owner(target) => Bound::Only(target),
        }
    }
}

/// What is known of ids, to one app at a moment in Unix seconds.
pub(super) struct Knowledge<'a> {
    pub(super) kept: &'a Kept,
    pub(super) snapshot: &'a Snapshot,
    pub(super) app: &'a Arc<str>,
    pub(super) now: u64,
}

/// An id, and the backend that keeps it.
struct Owned {
    backend: Arc<str>,
    id: String,
}

impl Knowledge<'_> {
    /// The backend of one id.
    fn backend(&self, id: &str) -> Result<Option<Arc<str>>, ClientError> {
        match self.kept.find(id, self.app, self.now) {
            Known::Unknown => Ok(None),
            Known::Own(backend) => Ok(Some(backend)),
            // Applications may share a conversation: whose the key of its content is says nothing.
            Known::Foreign if is_encrypted(id) => Ok(None),
            Known::Foreign => Err(ClientError::ForeignId { id: id.to_owned() }),
        }
    }

    /// The backend that can read the encrypted content of a request: of the last one that is known.
    fn reader(&self, named: &Named<'_>) -> Option<Arc<str>> {
        named.encrypted_keys().iter().find_map(|key| self.backend(key).ok().flatten())
    }

    /// The one backend of all ids that are known.
    fn owner(&self, all: &[&str]) -> Result<Option<Owned>, ClientError> {
        let mut found: Option<Owned> = None;
        for &id in all {
            let Some(backend) = self.backend(id)? else { continue };
            match &found {
                Some(other) if other.backend != backend => {
                    return Err(ClientError::ScatteredIds { id: id.to_owned() });
                }
                Some(_) => {}
                None => found = Some(Owned { backend, id: id.to_owned() }),
            }
        }
        Ok(found)
    }
}

/// The ids of a body that nobody knew: an answer that repeats them proves nothing.
pub(super) fn strange(named: &Named<'_>, knowledge: &Knowledge<'_>) -> BTreeSet<String> {
    let ids = named.decisive.iter().chain(&named.mentioned);
    let unknown =
        ids.filter(|id| knowledge.kept.find(id, knowledge.app, knowledge.now) == Known::Unknown);
    let unknown = unknown.map(|id| id.clone().into_owned());
    let mut encrypted = named.encrypted_keys();
    encrypted.retain(|key| knowledge.backend(key).is_ok_and(|backend| backend.is_none()));
    unknown.chain(encrypted).collect()
}

/// Where a request goes that names these ids; `pool` is where it could go.
pub(super) fn place(
    (route, named): (&Route, &Named<'_>),
    knowledge: &Knowledge<'_>,
    pool: &LiveModel,
) -> Result<Placement, ClientError> {
    let in_path: Vec<&str> = route.ids().chain(cursor(route)).collect();
    let in_body = named.decisive.iter().chain(&named.mentioned).map(|id| &**id);
    let all: Vec<&str> = in_path.iter().copied().chain(in_body).collect();
    if let Some(Owned { backend, id }) = knowledge.owner(&all)? {
        if knowledge.snapshot.has_backend(&backend) {
            let found = pool.pool.position(&backend);
            return found.map(Placement::Owner).ok_or(ClientError::ModelElsewhere { id });
        }
        // It may be configured under another name by now.
        match pool.pool.len() {
            1 => {}
            _ if route.method == Method::GET => return Ok(Placement::Seek),
            _ => return Err(ClientError::UnknownId { id }),
        }
    }
    if pool.pool.len() == 1 {
        return Ok(Placement::Anywhere);
    }
    let reader = knowledge.reader(named).and_then(|backend| pool.pool.position(&backend));
    if let Some(target) = reader {
        // No other can read it: elsewhere the request is refused.
        return Ok(Placement::Owner(target));
    }
    let unknown = in_path.first().copied().filter(|_| !route.is_list());
    let unknown = unknown.or_else(|| named.decisive.first().map(|id| &**id));
    match unknown {
        None => Ok(at_home(route, knowledge, pool)),
        Some(_) if route.method == Method::GET => Ok(Placement::Seek),
        Some(id) => Err(ClientError::UnknownId { id: id.to_owned() }),
    }
}

/// The pages of a list go on from an id.
fn cursor(route: &Route) -> impl Iterator<Item = &str> {
    let list = route.is_list();
    ["after", "before"].into_iter().filter_map(|key| route.query.get(key)).filter(move |_| list)
}

/// What an app makes is made where its other things are, so that they can be used together; and a list shows them.
fn at_home(route: &Route, knowledge: &Knowledge<'_>, pool: &LiveModel) -> Placement {
    if route.operation != Operation::Resource {
        return Placement::Anywhere;
    }
    let home = knowledge.kept.home(knowledge.app, knowledge.now);
    match home.and_then(|backend| pool.pool.position(&backend)) {
        Some(target) if route.is_list() => Placement::Owner(target),
        Some(target) => Placement::Rather(target),
        None => Placement::Anywhere,
    }
}

/// The pool of a request that names no model. What it names may be on a backend where its app would put nothing.
pub(super) fn unnamed_pool<'a>(
    (route, named): (&Route, &Named<'_>),
    snapshot: &'a Snapshot,
    app: &str,
) -> &'a Arc<LiveModel> {
    let makes = route.ids().next().is_none() && *named == Named::default();
    if makes { snapshot.home(app) } else { &snapshot.any_backend }
}
