//! The exchanges: a code, a refresh token, or the client's own word.

use super::answers::{Outcome, Refusal};
use super::client_auth;
use super::{Request, Subject};
use crate::Flow;
use crate::codes::Origin;
use crate::log::Verdict;
use crate::rotation::{Ended, Presented};
use crate::server::{Shared, World};
use crate::tokens::Owned;

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
        if code.spent {
            if options.code_reuse == crate::Reuse::Revokes {
                world.registry.end(&grant, Ended::Reuse);
            }
            return refuse(Verdict::CodeUsed, "code was used");
        }
        if self.now_ms >= code.made_ms.saturating_add(self.shared.code_ms()) {
            return refuse(Verdict::Expired, "code has expired");
        }
        self.as_it_began(Flow::AuthorizationCode, &origin)?;
        world.codes.spend(text);
        let rules = self.shared.rules();
        let registry = &mut world.registry;
        let issue = registry.begin(&grant, rules, Some(origin), self.now_ms);
        if let Some(stats) = registry.stats_of(&grant) {
            stats.code_exchanges += 1;
        }
        Ok(Outcome::tokens(options, &issue, Verdict::Issued))
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
