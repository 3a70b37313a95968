//! Whether anything can be served.

use super::Snapshot;

impl Snapshot {
    /// Whether something could be tried for some model. Degraded targets count, since routing fails open.
    pub fn is_ready(&self) -> bool {
        let resolved = self.backends().any(|backend| !backend.addresses().is_empty());
        resolved && self.models().any(|model| model.pool.is_ready())
    }
}
