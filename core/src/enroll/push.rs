//! What a provider that pushes posts to us. It is read strictly: of what can be
//! understood in two ways, nothing is.

use super::callback::check_code;
use crate::secret::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// A push that can be understood; none of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The code.
    pub code: Secret,
    /// The business that it is for, as it was sent.
    pub business_id: String,
    /// Our state, if what the link carried came back with one in it.
    pub state: Option<String>,
}

/// A push that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is not JSON, or not in the form that is documented.
    #[error(
        "the body is not JSON of the form {{\"code\":…,\"business_id\":…,\"data\":{{…}}}}, each name once"
    )]
    Form,
    /// The code cannot be one.
    #[error("code is no authorization code")]
    Code,
}

/// Reads the body of a push.
///
/// # Errors
/// When it is not of the documented form; nothing of it is shown.
pub fn read(body: &[u8]) -> Result<Push, PushError> {
    // JSON has names twice, and parsers that take the first or the last; ours takes neither.
    serde_json::from_slice::<Plain>(body).map_err(|_| PushError::Form)?;
    let raw: Raw = serde_json::from_slice(body).map_err(|_| PushError::Form)?;
    Ok(Push {
        code: check_code(raw.code.expose()).map_err(|_| PushError::Code)?,
        business_id: raw.business_id.0,
        state: raw.data.unwrap_or_default().0,
    })
}

#[derive(Deserialize)]
struct Raw {
    code: Secret,
    business_id: Business,
    #[serde(default)]
    data: Option<Data>,
}

/// A text; a whole number is its digits.
struct Business(String);

/// What the link carried: of that, our state.
#[derive(Default)]
struct Data(Option<String>);

/// Any JSON in which no object has a name twice. serde_json bounds its depth.
struct Plain;

impl<'de> Deserialize<'de> for Business {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Business;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a business")
            }

            fn visit_str<E>(self, text: &str) -> Result<Business, E> {
                Ok(Business(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Business, E> {
                Ok(Business(number.to_string()))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// Implements the scalars of a visitor that has no use for them.
macro_rules! scalars {
    ($nothing:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Carried;

        impl<'de> Visitor<'de> for Carried {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what the link carried")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut state = None;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "state" {
                        state = map
                            .next_value::<serde_json::Value>()?
                            .as_str()
                            .map(str::to_owned);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Data(state))
            }

            /// Some languages write an empty object as `[]`.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Data::default())
            }

            scalars!(Data::default());
        }

        deserializer.deserialize_any(Carried)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON with each name once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name) {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                    map.next_value::<Plain>()?;
                }
                Ok(Plain)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Plain, A::Error> {
                while seq.next_element::<Plain>()?.is_some() {}
                Ok(Plain)
            }

            scalars!(Plain);
        }

        deserializer.deserialize_any(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_read_with_or_without_a_state() {
        let push = read(br#"{"code":"c","business_id":"shop-17","data":{"state":"s","x":[1]},"more":{"a":1.5}}"#).unwrap();
        assert_eq!(push.code, Secret::new("c"));
        assert_eq!(
            (push.business_id.as_str(), push.state.as_deref()),
            ("shop-17", Some("s"))
        );
        assert_eq!(
            read(br#"{"code":"c","business_id":17}"#)
                .unwrap()
                .business_id,
            "17"
        );
        for data in [
            "null",
            "[]",
            "{}",
            "\"state\"",
            "1",
            r#"{"state":17}"#,
            r#"{"state":{"a":1}}"#,
            "true",
        ] {
            let body = format!(r#"{{"code":"c","business_id":"b","data":{data}}}"#);
            assert_eq!(read(body.as_bytes()).unwrap().state, None, "{data}");
        }
    }

    #[test]
    fn what_can_be_understood_in_two_ways_is_not_understood() {
        let deep = format!(
            r#"{{"code":"c","business_id":"b","data":{{"x":{}1{}}}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        let bodies: [&[u8]; 12] = [
            b"",
            b"code=c&business_id=b",
            b"[]",
            br#"{"code":"c"}"#,
            br#"{"business_id":"b"}"#,
            br#"{"code":17,"business_id":"b"}"#,
            br#"{"code":"c","code":"d","business_id":"b"}"#,
            br#"{"code":"c","business_id":"b","data":{"state":"s","state":"t"}}"#,
            br#"{"code":"c","business_id":"b","data":{"x":{"y":1,"\u0079":2}}}"#,
            br#"{"code":"c","business_id":"b"} {}"#,
            b"{\"code\":\"c\",\"business_id\":\"\xff\"}",
            deep.as_bytes(),
        ];
        for body in bodies {
            assert_eq!(
                read(body),
                Err(PushError::Form),
                "{}",
                String::from_utf8_lossy(&body[..body.len().min(60)])
            );
        }
        assert_eq!(
            read(br#"{"code":"a\u0000b","business_id":"b"}"#),
            Err(PushError::Code)
        );
        assert_eq!(
            read(br#"{"code":"","business_id":"b"}"#),
            Err(PushError::Code)
        );
    }
}
