//! What a host really does, and what its description says of it.

use super::script::{Host, Kind, Manner};
use refreshd_core::flight::settle::Rules;
use refreshd_core::grant::Policy;
use refreshd_core::provider::description::Schedule;
use refreshd_core::provider::{Answer, Description};
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::WallTime;
use serde_json::json;
use std::sync::Arc;

/// A grant at its host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// The number of the refresh token that is good.
    pub(crate) current: u64,
    /// It was revoked, or the refresh token is void.
    pub(crate) dead: bool,
    /// How many refresh tokens were rotated, and the answer lost.
    pub(crate) spent: u32,
}

/// What an exchange meets at the host.
pub(crate) enum Met {
    /// Not even a connection.
    NotSent,
    /// An answer, and when the access token in it really ends.
    Answer(u16, String, Vec<(String, String)>, Option<WallTime>),
    /// Nothing for ten minutes.
    Silence,
    /// It was carried out, and its answer is cut off.
    Cut,
}

/// Settling goes by this.
pub(crate) fn rules(host: &Host) -> Rules {
    let rotation = match host.manner {
        Manner::Revoking => json!({ "rotates": "always", "old_valid": "0s", "reuse": "revokes" }),
        Manner::Forgiving => {
            json!({ "rotates": "always", "old_valid": "forever", "reuse": "error" })
        }
        Manner::Lasting | Manner::Anew => json!({ "rotates": "never" }),
    };
    let mut description = json!({
        "name": "pretend",
        "token": { "url": "https://as.example/token" },
        "rotation": rotation,
    });
    if host.manner == Manner::Anew {
        description["refresh"] = json!({ "with": "client_credentials" });
    }
    let description: Description = serde_json::from_value(description).expect("a description");
    Rules {
        policy: Policy::new(&description, Schedule::default()),
        description: Arc::new(description),
        fingerprinter: Fingerprinter::new([7; 32]),
    }
}

impl Account {
    /// A refresh reaches the host, at that time, while that is wrong with it.
    pub(crate) fn meet(
        &mut self,
        host: &Host,
        presented: u64,
        wrong: Option<Kind>,
        name: &str,
        now: WallTime,
    ) -> Met {
        let error = |status, code: &str| {
            Met::Answer(
                status,
                format!("{{\"error\":\"{code}\"}}"),
                Vec::new(),
                None,
            )
        };
        match wrong {
            Some(Kind::Down) => return Met::NotSent,
            Some(Kind::Hang) => return Met::Silence,
            Some(Kind::Failing) => return Met::Answer(500, String::new(), Vec::new(), None),
            Some(Kind::TooMany(wait)) => {
                let header = wait.map(|wait| ("retry-after".to_owned(), wait.to_string()));
                return Met::Answer(429, String::new(), header.into_iter().collect(), None);
            }
            Some(Kind::Unavailable) => return error(400, "temporarily_unavailable"),
            Some(Kind::Client) => return error(401, "invalid_client"),
            Some(Kind::FalseRefusal) if host.manner != Manner::Anew => {
                return error(400, "invalid_grant");
            }
            Some(Kind::Void) if host.manner != Manner::Anew => self.dead = true,
            _ => {}
        }
        let anew = host.manner == Manner::Anew;
        let old = presented != self.current && host.manner == Manner::Revoking;
        if (self.dead || old) && !anew {
            self.dead = true;
            return error(400, "invalid_grant");
        }
        let rotates = matches!(host.manner, Manner::Revoking | Manner::Forgiving);
        self.current += u64::from(rotates);
        if wrong == Some(Kind::Cut) {
            self.spent += u32::from(rotates);
            return Met::Cut;
        }
        let ends = now + std::time::Duration::from_millis(host.life.unsigned_abs());
        let refresh = match anew {
            true => String::new(),
            false => format!(",\"refresh_token\":\"rt-{name}-{}\"", self.current),
        };
        let body = format!(
            "{{\"access_token\":\"at-{name}-{}-{}\",\"token_type\":\"bearer\",\"expires_in\":{}{refresh}}}",
            self.current,
            now.0,
            host.life / 1000
        );
        Met::Answer(200, body, Vec::new(), Some(ends))
    }
}

/// The answer as the shell hands it on.
pub(crate) fn answer(
    status: u16,
    body: &str,
    headers: &[(String, String)],
    received: WallTime,
) -> Answer {
    let mut headers = headers.to_vec();
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    Answer {
        status,
        headers,
        body: body.as_bytes().to_vec(),
        complete: true,
        received,
    }
}
