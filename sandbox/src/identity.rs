//! Who gave a grant: id tokens (OpenID Connect Core §2) and what is laid over them.

use crate::codes::Asked;
use crate::enrollment::{Enrollment, IdToken};
use crate::server::Shared;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::time::SystemTime;

/// How long an id token is good, in seconds.
const GOOD_FOR: u64 = 3600;

/// The id token of a first answer, where there is one.
pub(crate) fn id_token(
    shared: &Shared,
    enrollment: &Enrollment,
    account: &str,
    asked: &Asked,
) -> Option<String> {
    if enrollment.id_token == IdToken::Omitted {
        return None;
    }
    let options = &shared.options;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now = now.as_secs();
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), json!(shared.url("")));
    claims.insert("sub".to_owned(), json!(account));
    claims.insert("aud".to_owned(), json!(options.client_id));
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now + GOOD_FOR));
    if let Some(nonce) = &asked.nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    lay_over(&mut claims, &enrollment.id_token_changes);
    let secret = options.client_secret.as_deref().unwrap_or_default();
    let key = (enrollment.id_token == IdToken::Hs256).then_some(secret);
    Some(jwt(&Value::Object(claims), key))
}

/// Puts changes in place of members; `null` takes one away.
pub(crate) fn lay_over(members: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
}

/// A JWT (RFC 7519), signed where there is a key.
fn jwt(claims: &Value, key: Option<&str>) -> String {
    let alg = key.map_or("none", |_| "HS256");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "alg": alg, "typ": "JWT" }));
    let signed = format!("{head}.{}", part(claims));
    let signature = key.map(|key| {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    });
    format!("{signed}.{}", signature.unwrap_or_default())
}
