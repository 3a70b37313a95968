//! Who a request comes from.
//!
//! Pure: it is given headers and what the configuration knows, and says which app it is. It knows nothing of
//! models, backends or the rest of the crate.

pub mod keys;
