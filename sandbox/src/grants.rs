//! Beginning grants: as if a person had authorized a client, with the code
//! exchanged already or still to be exchanged.

use crate::admin::NewGrant;
use crate::codes::{Asked, Origin};
use crate::rotation::Ended;
use crate::server::{Server, Shared};
use crate::token_endpoint::answer_body;
use crate::tokens::random_text;
use serde_json::Value;

/// Where codes are sent unless said otherwise.
pub const DEFAULT_REDIRECT_URI: &str = "https://client.example/callback";

/// A grant whose code has been exchanged.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The first answer (RFC 6749 §5.1).
    pub answer: Value,
    /// The code and what came with it. A refresh may have to repeat them.
    pub origin: Origin,
}

impl Server {
    /// Makes a grant and returns its first answer (RFC 6749 §5.1). A grant of
    /// the same name is replaced.
    #[must_use]
    pub fn make_grant(&self, name: &str) -> Value {
        self.begin_grant(name, &NewGrant::default()).answer
    }

    /// Makes a grant and returns its first answer with what it began with.
    /// A grant of the same name is replaced; a name in `new` is not looked at.
    #[must_use]
    pub fn begin_grant(&self, name: &str, new: &NewGrant) -> Begun {
        self.shared.begin_grant(name, new)
    }

    /// Makes a code whose exchange begins the grant, or begins it again beside
    /// the token sets that it has. The code is good from now on.
    #[must_use]
    pub fn make_code(&self, grant: &str, redirect_uri: &str, business_id: Option<&str>) -> String {
        self.shared.make_code(grant, redirect_uri, business_id).code
    }

    /// A device code that an account has let in already.
    #[must_use]
    pub fn make_device_code(&self, account: &str) -> String {
        let mut world = self.shared.world();
        let devices = &mut world.devices;
        let codes = devices.begin(Asked::default(), 0, u64::MAX);
        devices.decide(&codes.user, Some(account));
        codes.device
    }

    /// What a grant began with the last time; `None` for an unknown grant and
    /// for one that client credentials began.
    #[must_use]
    pub fn origin(&self, grant: &str) -> Option<Origin> {
        self.shared.world().registry.newest_origin(grant)
    }

    /// Withdraws a grant, as its person can: all its tokens die. False: no such grant.
    pub fn withdraw_grant(&self, name: &str) -> bool {
        self.shared.world().registry.end(name, Ended::Withdrawn)
    }

    /// Revokes a grant's tokens, as when somebody else has presented an old
    /// refresh token. False: no such grant.
    pub fn revoke_family(&self, name: &str) -> bool {
        self.shared.world().registry.end(name, Ended::Reuse)
    }
}

impl Shared {
    /// See [`Server::begin_grant`].
    pub(crate) fn begin_grant(&self, name: &str, new: &NewGrant) -> Begun {
        let redirect_uri = new.redirect_uri.as_deref();
        let origin = self.make_code(
            name,
            redirect_uri.unwrap_or(DEFAULT_REDIRECT_URI),
            new.business_id.as_deref(),
        );
        let mut world = self.world();
        world.codes.spend(&origin.code);
        world.registry.forget(name);
        let (rules, now_ms) = (self.rules(), self.now_ms());
        let begun = Some(origin.clone());
        let issue = world.registry.begin(name, rules, begun, now_ms);
        Begun {
            answer: answer_body(&self.options, &issue, false),
            origin,
        }
    }

    /// See [`Server::make_code`].
    pub(crate) fn make_code(
        &self,
        grant: &str,
        redirect_uri: &str,
        business_id: Option<&str>,
    ) -> Origin {
        self.make_code_for(grant, redirect_uri, business_id, Asked::default())
    }

    /// A code for what an authorization request asked.
    pub(crate) fn make_code_for(
        &self,
        grant: &str,
        redirect_uri: &str,
        business_id: Option<&str>,
        asked: Asked,
    ) -> Origin {
        let has_hosts = self.options.kind.has_business_hosts();
        let business_id = business_id.or(has_hosts.then_some(grant));
        let origin = Origin {
            code: random_text("ac"),
            redirect_uri: redirect_uri.to_owned(),
            business_id: business_id.map(str::to_owned),
        };
        let now_ms = self.now_ms();
        let mut world = self.world();
        let good_ms = world.enrollment.code_ms.unwrap_or_else(|| self.code_ms());
        let good_until_ms = now_ms.saturating_add(good_ms);
        world.codes.add(grant, &origin, asked, good_until_ms);
        origin
    }
}
