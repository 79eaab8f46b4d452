//! The exchanges: a code, a refresh token, or the client's own word.

use super::answers::{Outcome, Refusal};
use super::client_auth;
use super::{Request, Subject};
use crate::codes::{Asked, Origin};
use crate::devices::NotYet;
use crate::identity::id_token;
use crate::log::Verdict;
use crate::rotation::{Ended, Presented};
use crate::server::{Shared, World};
use crate::tokens::Owned;
use crate::{Enrollment, Flow, Pkce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// A token request that is being performed.
pub(super) struct Exchange<'a> {
    pub(super) shared: &'a Shared,
    pub(super) request: &'a Request,
    pub(super) now_ms: u64,
}

impl Exchange<'_> {
    /// Performs it.
    pub(super) fn perform(&self, world: &mut World, subject: &Subject) -> Outcome {
        let performed = self.checked().and_then(|flow| match flow {
            Flow::AuthorizationCode => self.code(world),
            Flow::RefreshToken => match &subject.owned {
                Some(owned) => self.refresh(world, owned),
                None => refuse(Verdict::Unknown, "unknown refresh token"),
            },
            Flow::ClientCredentials => Ok(self.client_credentials(world)),
            Flow::DeviceCode => self.device(world),
        });
        performed.unwrap_or_else(|refusal| Outcome::refused(&self.shared.options, refusal))
    }

    /// What can be said without knowing any token.
    fn checked(&self) -> Result<Flow, Refusal> {
        let Request {
            headers, params, ..
        } = self.request;
        let options = &self.shared.options;
        if let Some(problem) = params.problem(options) {
            return Err(Refusal::malformed("invalid_request", problem));
        }
        client_auth::check(options, headers, params)?;
        let missing = |name: &str| {
            let why = format!("{name} is missing");
            Refusal::malformed("invalid_request", why)
        };
        let grant_type = params.value("grant_type");
        let grant_type = grant_type.ok_or_else(|| missing("grant_type"))?;
        let flow = Flow::named(grant_type).filter(|flow| options.kind.flows().contains(flow));
        let flow = flow.ok_or_else(|| {
            let problem = "there is no such grant type here";
            Refusal::malformed("unsupported_grant_type", problem)
        })?;
        let presented: &[&str] = match flow {
            Flow::AuthorizationCode => &["code"],
            Flow::RefreshToken => &["refresh_token"],
            Flow::ClientCredentials => &[],
            Flow::DeviceCode => &["device_code"],
        };
        let mut wanted = presented.iter().chain(options.kind.repeats(flow));
        match wanted.find(|name| params.value(name).is_none()) {
            Some(name) => Err(missing(name)),
            None => Ok(flow),
        }
    }

    fn code(&self, world: &mut World) -> Result<Outcome, Refusal> {
        let options = &self.shared.options;
        let text = self.request.params.value("code").unwrap_or_default();
        let Some(code) = world.codes.find(text) else {
            return refuse(Verdict::Unknown, "unknown code");
        };
        let (grant, origin) = (code.grant.clone(), code.origin.clone());
        let asked = code.asked.clone();
        if code.spent {
            // Not what the grant got by other codes (RFC 6749 §4.1.2).
            if let Some(began) = &code.began
                && options.code_reuse == crate::Reuse::Revokes
            {
                world.registry.end_set(began, Ended::Reuse);
            }
            return refuse(Verdict::CodeUsed, "code was used");
        }
        if self.now_ms >= code.good_until_ms {
            return refuse(Verdict::Expired, "code has expired");
        }
        self.as_it_began(Flow::AuthorizationCode, &origin)?;
        self.proven(asked.challenge.as_deref())?;
        world.codes.spend(text);
        let rules = self.shared.rules();
        let registry = &mut world.registry;
        let issue = registry.begin(&grant, rules, Some(origin), self.now_ms);
        if let Some(stats) = registry.stats_of(&grant) {
            stats.code_exchanges += 1;
        }
        let began = registry.access_owner(&issue.access);
        world.codes.began(text, began);
        let beside = self.beside_tokens(&world.enrollment, &grant, &asked);
        Ok(Outcome::first_tokens(options, &issue, beside))
    }

    /// Whether the request has the verifier of the code's challenge (RFC 7636
    /// §4.6), and none where there was no challenge (RFC 9700 §2.1.1).
    fn proven(&self, challenge: Option<&str>) -> Result<(), Refusal> {
        if self.shared.options.pkce == Pkce::Unknown {
            return Ok(());
        }
        let verifier = self.request.params.value("code_verifier");
        match (challenge, verifier) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                let why = "there is a code_verifier, and there was no code_challenge";
                refuse(Verdict::Mismatch, why)
            }
            (Some(_), None) => refuse(Verdict::Mismatch, "code_verifier is missing"),
            (Some(challenge), Some(verifier)) => {
                let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
                let right = (43..=128).contains(&verifier.len()) && hash == challenge;
                let why = "code_verifier is not that of the code_challenge";
                if right {
                    Ok(())
                } else {
                    refuse(Verdict::Mismatch, why)
                }
            }
        }
    }

    /// What a first answer says beside its tokens.
    fn beside_tokens(
        &self,
        enrollment: &Enrollment,
        account: &str,
        asked: &Asked,
    ) -> Map<String, Value> {
        let mut beside = Map::new();
        let scope = enrollment.grants_scope.as_ref().or(asked.scope.as_ref());
        if let Some(scope) = scope.filter(|_| self.shared.options.kind.tells_scope()) {
            beside.insert("scope".to_owned(), json!(scope));
        }
        if let Some(token) = id_token(self.shared, enrollment, account, asked) {
            beside.insert("id_token".to_owned(), json!(token));
        }
        beside
    }

    /// What a device asks for again and again (RFC 8628 §3.4).
    fn device(&self, world: &mut World) -> Result<Outcome, Refusal> {
        let text = self.request.params.value("device_code").unwrap_or_default();
        let polled = world.devices.poll(text, self.now_ms);
        let (account, asked) = polled.map_err(|no| {
            let (verdict, error, why) = match no {
                NotYet::Unknown => (Verdict::Unknown, "invalid_grant", "unknown device code"),
                NotYet::Used => (Verdict::CodeUsed, "invalid_grant", "device code was used"),
                NotYet::Expired => (Verdict::Expired, "expired_token", "device code has expired"),
                NotYet::TooSoon => (Verdict::TooSoon, "slow_down", "that was too soon"),
                NotYet::Waiting => {
                    let why = "nobody has decided yet";
                    (Verdict::Pending, "authorization_pending", why)
                }
                NotYet::Denied => (Verdict::Denied, "access_denied", "the person said no"),
            };
            Refusal::of_device(verdict, error, why)
        })?;
        let rules = self.shared.rules();
        let registry = &mut world.registry;
        let issue = registry.begin(&account, rules, None, self.now_ms);
        if let Some(stats) = registry.stats_of(&account) {
            stats.device_exchanges += 1;
        }
        let beside = self.beside_tokens(&world.enrollment, &account, &asked);
        let options = &self.shared.options;
        Ok(Outcome::first_tokens(options, &issue, beside))
    }

    fn refresh(&self, world: &mut World, owned: &Owned) -> Result<Outcome, Refusal> {
        if let Some(origin) = world.registry.origin(owned)
            && let Err(refused) = self.as_it_began(Flow::RefreshToken, origin)
        {
            if let Some(stats) = world.registry.stats_of(&owned.grant) {
                stats.refusals += 1;
            }
            return Err(refused);
        }
        let (presented, issue) = world.registry.present(owned, self.now_ms);
        let (verdict, why) = match presented {
            Presented::Issued { .. } => (Verdict::Issued, ""),
            Presented::Replayed { .. } => (Verdict::Replayed, ""),
            Presented::Void => (Verdict::Void, "refresh token was used"),
            Presented::Reused => (
                Verdict::Reused,
                "refresh token was used; all tokens are revoked",
            ),
            Presented::Expired => (Verdict::Expired, "refresh token has expired"),
            Presented::Dead => (Verdict::Dead, "grant is revoked"),
        };
        match issue {
            Some(issue) => Ok(Outcome::tokens(&self.shared.options, &issue, verdict)),
            None => refuse(verdict, why),
        }
    }

    /// Each request begins the client's own grant again; what it has lives on.
    fn client_credentials(&self, world: &mut World) -> Outcome {
        let options = &self.shared.options;
        let registry = &mut world.registry;
        let rules = self.shared.rules();
        let issue = registry.begin(&options.client_id, rules, None, self.now_ms);
        if let Some(stats) = registry.stats_of(&options.client_id) {
            stats.client_credentials += 1;
        }
        Outcome::tokens(options, &issue, Verdict::Issued)
    }

    /// Whether the request repeats what the grant began with.
    fn as_it_began(&self, flow: Flow, origin: &Origin) -> Result<(), Refusal> {
        let kind = self.shared.options.kind;
        if kind.has_business_hosts() && origin.business_id != self.request.business_id {
            let why = "unknown to this business";
            return refuse(Verdict::OtherBusiness, why);
        }
        for name in kind.repeats(flow) {
            let began_with = match *name {
                "code" => &origin.code,
                _ => &origin.redirect_uri,
            };
            if self.request.params.value(name) != Some(began_with) {
                let why = format!("{name} is not the one that the grant began with");
                return refuse(Verdict::Mismatch, &why);
            }
        }
        Ok(())
    }
}

fn refuse<T>(verdict: Verdict, why: &str) -> Result<T, Refusal> {
    Err(Refusal::invalid_grant(verdict, why))
}
