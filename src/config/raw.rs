//! What may stand in `refreshd.toml`, before anything is checked. Nothing is
//! required here: what is missing is noticed where it is needed.

use super::{PublishBy, Quote};
use refreshd_core::duration;
use refreshd_core::provider::description::Schedule;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) daemon: RawDaemon,
    pub(super) backup: RawBackup,
    pub(super) enroll: RawEnroll,
    pub(super) clients: BTreeMap<String, RawClient>,
    pub(super) grants: BTreeMap<String, RawGrant>,
    pub(super) databases: Vec<RawDatabase>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDaemon {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) runtime_dir: Option<PathBuf>,
    #[serde(deserialize_with = "table")]
    pub(super) key: Option<RawKey>,
    pub(super) max_flights: Option<i64>,
    #[serde(deserialize_with = "duration::deserialize")]
    pub(super) history: Option<Duration>,
    #[serde(deserialize_with = "duration::deserialize")]
    pub(super) drain: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBackup {
    pub(super) dir: Option<PathBuf>,
    pub(super) schedule: Option<String>,
    pub(super) keep: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEnroll {
    pub(super) listen: Option<String>,
    pub(super) public_url: Option<String>,
    #[serde(deserialize_with = "duration::deserialize")]
    pub(super) link_valid: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPush {
    pub(super) path: Option<String>,
    pub(super) quarantine: Option<bool>,
    pub(super) grant: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawKey {
    pub(super) file: Option<PathBuf>,
    pub(super) credential: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawClient {
    pub(super) provider: Option<String>,
    pub(super) client_id: Option<String>,
    #[serde(deserialize_with = "table")]
    pub(super) client_secret: Option<RawSecret>,
    pub(super) redirect_uri: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) proxy: Option<RawProxy>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) allow_networks: Vec<String>,
    #[serde(deserialize_with = "table")]
    pub(super) push: Option<RawPush>,
    pub(super) schedule: Schedule,
    pub(super) outputs: Vec<RawOutput>,
    /// Read with the provider's file, over which it lies.
    #[serde(rename = "override")]
    pub(super) overrides: Option<BTreeMap<String, IgnoredAny>>,
}

/// A URL, or a table with one and who we are there.
#[derive(Debug)]
pub(super) enum RawProxy {
    Url(String),
    Table(RawProxyTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProxyTable {
    pub(super) url: Option<String>,
    pub(super) user: Option<String>,
    #[serde(deserialize_with = "table")]
    pub(super) password: Option<RawSecret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSecret {
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
    pub(super) credential: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGrant {
    pub(super) client: Option<String>,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) redirect_uri: Option<String>,
    pub(super) outputs: Vec<RawOutput>,
    pub(super) schedule: Schedule,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutput {
    pub(super) path: Option<String>,
    pub(super) format: RawFormat,
    pub(super) newline: Option<bool>,
    pub(super) variable: Option<String>,
    pub(super) quote: Option<Quote>,
    pub(super) header: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) group: Option<RawId>,
    pub(super) owner: Option<RawId>,
    pub(super) dir_mode: Option<String>,
    pub(super) meta: Option<RawMeta>,
    pub(super) replace: bool,
    pub(super) when_dead: RawWhenDead,
}

/// Where metadata go; `true` is the same as saying nothing.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "meta is a path, or false for none")]
pub(super) enum RawMeta {
    Wanted(bool),
    At(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDatabase {
    pub(super) path: Option<String>,
    pub(super) group: Option<RawId>,
    pub(super) mode: Option<String>,
    pub(super) grants: Option<Vec<String>>,
    pub(super) publish: PublishBy,
    pub(super) when_dead: RawWhenDead,
}

/// A group or a user; a number stands without quotes too.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a group or a user is a name or a number")]
pub(super) enum RawId {
    Number(u32),
    Name(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawFormat {
    #[default]
    Raw,
    Json,
    Env,
    Header,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawWhenDead {
    #[default]
    Leave,
    Withdraw,
}

impl<'de> Deserialize<'de> for RawProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlOrTable;

        impl<'de> Visitor<'de> for UrlOrTable {
            type Value = RawProxy;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a URL or a table")
            }

            fn visit_str<E>(self, url: &str) -> Result<RawProxy, E> {
                Ok(RawProxy::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawProxy, A::Error> {
                RawProxyTable::deserialize(MapAccessDeserializer::new(map)).map(RawProxy::Table)
            }
        }

        deserializer.deserialize_any(UrlOrTable)
    }
}

/// Reads a struct from a table only. serde's own reading takes an array too,
/// its elements in the order of the fields: a literal secret would end up as a
/// file's name, and so in a message.
fn table<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Table<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_map(Table(PhantomData))
}
