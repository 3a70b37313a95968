//! What was found, as a table for people and as JSON. Pure.

use super::Look;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One line a target, and one for each backend that no model uses.
    pub targets: Vec<TargetRow>,
    /// One line a tenant whose tokens are taken.
    pub tenants: Vec<TenantRow>,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRow {
    /// Its backend.
    pub backend: String,
    /// Its model; `None`: no model uses the backend.
    pub model: Option<String>,
    /// What the model is called there.
    pub deployment: Option<String>,
    /// Whether the backend's name has addresses.
    pub dns: Look,
    /// Whether it can be connected to, with TLS where the endpoint is `https`.
    pub tls: Look,
    /// Whether there is something to prove us with.
    pub credential: Look,
    /// What it answered.
    pub answer: Look,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The time to its first token, if there was one.
    pub first_token: Option<Duration>,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Its id.
    pub tenant: String,
    /// Whether its signing keys could be fetched.
    pub keys: Look,
}

const COLUMNS: [&str; 7] = ["backend", "model", "dns", "tls", "credential", "answer", "what to do"];

impl TargetRow {
    fn looks(&self) -> [&Look; 4] {
        [&self.dns, &self.tls, &self.credential, &self.answer]
    }

    /// Whether nothing is wrong with it.
    pub fn is_ok(&self) -> bool {
        !self.looks().iter().any(|look| look.is_bad())
    }

    /// What to do about the first thing that is wrong, else what there is to know.
    pub fn advice(&self) -> Option<&str> {
        let looks = self.looks();
        let bad = looks.iter().find(|look| look.is_bad());
        let noted = looks.iter().find(|look| look.advice.is_some());
        bad.or(noted)?.advice.as_deref()
    }

    fn cells(&self) -> [&str; 7] {
        let model = self.model.as_deref().unwrap_or("-");
        let [dns, tls, credential, answer] = self.looks().map(|look| look.told.as_str());
        [&self.backend, model, dns, tls, credential, answer, self.advice().unwrap_or_default()]
    }

    fn json(&self) -> Value {
        let first_token_ms = self.first_token.map(|time| time.as_secs_f64() * 1000.0);
        json!({
            "backend": self.backend, "model": self.model, "deployment": self.deployment,
            "ok": self.is_ok(), "dns": self.dns.json(), "tls": self.tls.json(),
            "credential": self.credential.json(), "answer": self.answer.json(),
            "status": self.status, "first_token_ms": first_token_ms, "what_to_do": self.advice(),
        })
    }
}

impl TenantRow {
    fn line(&self) -> String {
        let Look { told, advice, .. } = &self.keys;
        let why = advice.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("tenant {}: {told}{why}", self.tenant)
    }

    fn json(&self) -> Value {
        json!({ "tenant": self.tenant, "ok": !self.keys.is_bad(), "keys": self.keys.json(),
            "what_to_do": self.keys.advice })
    }
}

impl Report {
    /// Whether every target answered and every tenant's keys came.
    pub fn is_ok(&self) -> bool {
        self.targets.iter().all(TargetRow::is_ok) && !self.tenants.iter().any(|t| t.keys.is_bad())
    }

    /// The table, the lines of the tenants, and what it comes to.
    pub fn table(&self) -> Vec<String> {
        let rows: Vec<[&str; 7]> =
            std::iter::once(COLUMNS).chain(self.targets.iter().map(TargetRow::cells)).collect();
        let mut lines: Vec<String> = rows.iter().map(|row| line(row, &rows)).collect();
        lines.extend(self.tenants.iter().map(TenantRow::line));
        let ill = self.targets.iter().filter(|row| !row.is_ok()).count();
        lines.push(match (ill, self.is_ok()) {
            (0, true) => "nothing is wrong".to_owned(),
            (0, false) => "clients' tokens cannot be checked".to_owned(),
            _ => format!("{ill} of {} lines of the table need something done", self.targets.len()),
        });
        lines
    }

    /// The same as JSON: `targets` and `tenants`.
    pub fn json(&self) -> (Value, Value) {
        let targets = self.targets.iter().map(TargetRow::json).collect();
        (targets, self.tenants.iter().map(TenantRow::json).collect())
    }
}

/// One line, each cell as wide as the widest of its column.
fn line(row: &[&str; 7], all: &[[&str; 7]]) -> String {
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let padded = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(answer: Look) -> TargetRow {
        let [dns, tls, credential] = ["1 address", "12 ms", "key"].map(Look::good);
        let (model, deployment) = (Some("gpt-4o".to_owned()), None);
        let (backend, status, first_token) = ("eu".to_owned(), None, None);
        TargetRow { backend, model, deployment, dns, tls, credential, answer, status, first_token }
    }

    #[test]
    fn columns_line_up_and_the_first_bad_look_is_what_to_do() {
        let limited = row(Look::good("429, limited").noting("it answers"));
        let mut ill = row(Look::skipped("-"));
        ill.tls = Look::bad("refused", "open the port");
        let tenants = vec![TenantRow { tenant: "t".to_owned(), keys: Look::bad("none", "why") }];
        let report = Report { targets: vec![limited.clone(), ill], tenants };
        let expected = [
            "backend  model   dns        tls      credential  answer        what to do",
            "eu       gpt-4o  1 address  12 ms    key         429, limited  it answers",
            "eu       gpt-4o  1 address  refused  key         -             open the port",
            "tenant t: none: why",
            "1 of 2 lines of the table need something done",
        ];
        assert_eq!(report.table(), expected);
        assert!(limited.is_ok() && !report.is_ok());
        assert!(Report { targets: vec![limited], tenants: vec![] }.is_ok());
    }
}
