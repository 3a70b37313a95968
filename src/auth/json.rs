//! JSON that means one thing only.
//!
//! Parsers disagree on which of two members of one name counts, so an object with a name twice is refused, at
//! every depth: what another proxy read out of a token must be what was judged here. Nesting is bounded.

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// Nesting of arrays and objects that is followed. Entra's deepest claim has three levels.
const DEPTH_MAX: usize = 8;

/// An object without a name twice.
pub(super) type Object = Map<String, Value>;

/// Why a text is no object that could be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadJson {
    /// Not JSON, not an object, or nested too deeply.
    Malformed,
    /// A name stands twice in one object.
    Duplicate,
}

/// Reads a whole text, which must be one object.
pub(super) fn object(text: &[u8]) -> Result<Object, BadJson> {
    let duplicate = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let strict = Strict { depth_left: DEPTH_MAX, duplicate: &duplicate };
    let read = strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(Value::Object(object)) => Ok(object),
        _ if duplicate.get() => Err(BadJson::Duplicate),
        _ => Err(BadJson::Malformed),
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    /// Set if that is why reading ended.
    duplicate: &'a Cell<bool>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.duplicate.set(true);
                return Err(A::Error::custom("a name twice"));
            }
            object.insert(name, members.next_value_seed(deeper)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_stands_twice_is_found_at_every_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"c":2,"b":3}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(BadJson::Duplicate), "{text}");
        }
        assert!(object(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let texts: [&[u8]; 11] = [
            b"",
            b"{",
            b"[]",
            b"1",
            b"null",
            b"\"{}\"",
            b"{} {}",
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
        ];
        for text in texts {
            assert_eq!(object(text), Err(BadJson::Malformed), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert_eq!(object(nested(DEPTH_MAX).as_bytes()), Err(BadJson::Malformed));
        assert_eq!(object(nested(6_000).as_bytes()), Err(BadJson::Malformed));
    }

    proptest! {
        /// What is accepted means what serde_json takes it for.
        #[test]
        fn it_reads_as_serde_json_does(text in r#"\{("[ab]":([0-9]{1,3}|-1|1.5|true|null|"x"|\[1\]|\{"c":2\})){0,1}\}"#) {
            let plain: Option<Object> = serde_json::from_str(&text).ok();
            prop_assert_eq!(object(text.as_bytes()).ok(), plain);
        }
    }
}
