//! A page of a collection. Pure.

use crate::mock::route::query_value;
use http::Uri;
use serde_json::{Value, json};

/// Which part of a collection is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::mock) struct Page {
    limit: Option<usize>,
    ascending: bool,
    after: Option<String>,
}

impl Page {
    pub(in crate::mock) fn of(uri: &Uri) -> Self {
        Self {
            limit: query_value(uri, "limit").and_then(|limit| limit.parse().ok()),
            ascending: query_value(uri, "order").as_deref() == Some("asc"),
            after: query_value(uri, "after"),
        }
    }
}

const LIMIT: usize = 20;

/// The page of these members, which come the oldest first and are shown the newest first.
pub(in crate::mock) fn listed(mut members: Vec<Value>, page: &Page) -> Value {
    if !page.ascending {
        members.reverse();
    }
    if let Some(after) = &page.after {
        let passed = members.iter().position(|member| id(member) == Some(after));
        members.drain(..passed.map_or(0, |position| position + 1));
    }
    let limit = page.limit.unwrap_or(LIMIT);
    let has_more = members.len() > limit;
    members.truncate(limit);
    let (first, last) = (members.first().and_then(id), members.last().and_then(id));
    json!({"object": "list", "first_id": first, "last_id": last, "has_more": has_more, "data": members})
}

fn id(member: &Value) -> Option<&str> {
    member.get("id").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use crate::mock::store::list::{Page, listed};
    use serde_json::json;

    #[test]
    fn pages_follow_each_other() {
        let members = || (0..5).map(|id| json!({"id": id.to_string()})).collect();
        let page = |query: &str| Page::of(&format!("/x?{query}").parse().unwrap());
        let first = listed(members(), &page("limit=2"));
        assert_eq!((&first["data"][0]["id"], &first["has_more"]), (&json!("4"), &json!(true)));
        let last = listed(members(), &page("limit=3&after=2&order=asc"));
        assert_eq!((&last["data"][0]["id"], &last["last_id"]), (&json!("3"), &json!("4")));
        assert_eq!(last["has_more"], false);
    }
}
