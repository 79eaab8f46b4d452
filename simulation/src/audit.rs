//! What must hold, by name, and what must be remembered to tell. It sees what
//! no process can: the server's mind, and what is beyond loss on the disk.

use crate::flight::brought;
use crate::rng::millis;
use crate::server::{Facts, TokenId, least_gap};
use crate::store::Row;
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::{GrantState, TokenSet};
use refreshd_core::scheduler::TakeOff;
use refreshd_core::time::{Clock, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An invariant that did not hold.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

pub(crate) type Check = Result<(), Violation>;

pub(crate) fn ensure(
    holds: bool,
    invariant: &'static str,
    detail: impl FnOnce() -> String,
) -> Check {
    if holds {
        return Ok(());
    }
    let detail = detail();
    Err(Violation { invariant, detail })
}

/// What is known of one grant.
#[derive(Default)]
struct Watched {
    last_sent: Option<WallTime>,
    /// The same by the physical clock.
    last_sent_at: Option<i64>,
    asked_until: Option<WallTime>,
    generation: u64,
    published: u64,
    /// When each refresh token was first sent, by the physical clock.
    first_sent: BTreeMap<TokenId, i64>,
    /// What was presented where it could cost the family.
    gambled: BTreeSet<TokenId>,
    /// When the provider's window began, and how many were sent in it.
    window: Option<(WallTime, u32)>,
    /// A clock was accepted since it was last sent.
    redated: bool,
    /// Its store was put back and accepted: its refresh token is in doubt.
    doubtful: bool,
}

/// A grant's authorization at its server.
pub(crate) type FamilyId = (u32, usize);

#[derive(Default)]
pub(crate) struct Audit {
    grants: Vec<Watched>,
    /// Refresh tokens that have been durable anywhere.
    durable: BTreeSet<TokenId>,
    /// Flights whose intent was sent or whose answer was recorded, and whose
    /// commit is not durable; whether the answer was recorded.
    pub(crate) open: BTreeMap<ExchangeId, bool>,
    sent_at: BTreeMap<ExchangeId, i64>,
    /// Flights that were under way in a store that was put back: it does not
    /// count them as sent yet.
    uncounted: BTreeSet<ExchangeId>,
    /// Flights that were committed for good.
    pub(crate) closed: BTreeSet<ExchangeId>,
    /// When the clock that is trusted last lost time and nobody could notice: the
    /// machine was off, and its clock set back by less than that took.
    lost_time_at: Option<i64>,
    /// Small steps back of the clock are smoothed, each at the cost of its length.
    pub(crate) smoothed: i64,
    /// The store was put back, and nobody has accepted that.
    pub(crate) is_put_back: bool,
    /// It was, once.
    pub(crate) was_put_back: bool,
    /// When it was last, by the physical clock.
    put_back_at: Option<i64>,
    /// Until when a published token that a refresh has ended is to be replaced.
    pub(crate) promptly: BTreeMap<u32, i64>,
    /// Where refresh tokens may go.
    homes: BTreeMap<FamilyId, BTreeSet<u32>>,
    /// Access tokens up to these were ended by requests that nobody could account for.
    unaccounted: BTreeMap<FamilyId, u64>,
    /// Refresh tokens in answers that could not be read.
    unread: BTreeSet<TokenId>,
    /// What was kept beside a store that was put back, and may have been presented since.
    relics: BTreeSet<TokenId>,
    /// When the description of a form was last in force for a grant, by the physical clock.
    described: BTreeMap<(u32, usize), i64>,
    /// The form that is in force for each grant, and since when.
    in_force: BTreeMap<u32, (usize, i64)>,
    /// Since when each client waits for the secret that stands there.
    secrets: BTreeMap<u32, i64>,
}

/// A process that dies sooner has read nothing once more.
const READING: i64 = 1_000;

/// A send, as the checks see it.
pub(crate) struct Sending<'a> {
    pub(crate) index: u32,
    pub(crate) intent: &'a Intent,
    pub(crate) token: Option<TokenId>,
    /// The state that it starts from.
    pub(crate) base: &'a GrantState,
    pub(crate) facts: &'a Facts,
    /// By an operator or a probe, past what only automatic sends obey.
    pub(crate) forced: bool,
    pub(crate) now: i64,
}

impl Audit {
    pub(crate) fn new(grants: usize) -> Self {
        Audit {
            grants: std::iter::repeat_with(Watched::default)
                .take(grants)
                .collect(),
            ..Audit::default()
        }
    }

    fn of(&mut self, index: u32) -> &mut Watched {
        &mut self.grants[index as usize]
    }

    pub(crate) fn lost_time(&mut self, now: i64) {
        self.lost_time_at = Some(now);
    }

    /// Whether time was lost since then: windows and lives seem longer than they are.
    pub(crate) fn lost_time_since(&self, then: i64) -> bool {
        self.lost_time_at.is_some_and(|at| at >= then)
    }

    /// When a flight's request left, by the physical clock.
    pub(crate) fn sent_at(&self, flight: ExchangeId) -> Option<i64> {
        self.sent_at.get(&flight).copied()
    }

    /// Whether the store that was put back last may know nothing of that moment.
    pub(crate) fn has_lost(&self, then: i64) -> bool {
        self.put_back_at.is_some_and(|at| then <= at)
    }

    /// Whether a flight that was under way was counted in its grant's window.
    pub(crate) fn has_counted(&self, flight: ExchangeId) -> bool {
        self.open.contains_key(&flight) && !self.uncounted.contains(&flight)
    }

    pub(crate) fn first_sent(&self, token: TokenId) -> i64 {
        let watched = &self.grants[token.grant as usize];
        watched.first_sent.get(&token).copied().unwrap_or(i64::MAX)
    }

    /// A request leaves.
    pub(crate) fn sends(&mut self, send: &Sending<'_>) -> Check {
        let sent = send.intent.sent.wall;
        let (base, facts) = (send.base, send.facts);
        let least = least_gap(facts, base.lifetime(), base.doubt.is_some());
        // After a restore a window is over, though tries are spaced by it.
        let over = base
            .doubt
            .as_ref()
            .is_some_and(|d| d.first_sent <= WallTime(0));
        let least = match over {
            true => least.min(least_gap(facts, base.lifetime(), false)),
            false => least,
        };
        let lost_time = self.lost_time_at.is_some();
        let watched = self.of(send.index);
        if !send.forced {
            let (last, until) = (watched.last_sent, watched.asked_until);
            // Where the clock stood back in between, more time has passed than it says.
            let at = watched.last_sent_at;
            let passed = at.is_some_and(|at| send.now >= at + least);
            let least = Duration::from_millis(least.unsigned_abs());
            let keeps = passed || last.is_none_or(|last| sent >= last + least);
            ensure(keeps, "gap", || {
                format!("sent at {sent:?}, {least:?} after {last:?} at the least, {base:?}")
            })?;
            ensure(
                until.is_none_or(|until| sent >= until),
                "retry-after",
                || format!("sent at {sent:?}, asked to wait until {until:?}"),
            )?;
            let age = facts
                .least_age
                .filter(|_| !base.expiry_unknown && base.generation > 0);
            let aged = age.map(|age| base.issued_at + Duration::from_millis(age.unsigned_abs()));
            ensure(aged.is_none_or(|aged| sent >= aged), "least-age", || {
                format!("sent at {sent:?}, too young until {aged:?}, {base:?}")
            })?;
            let held = watched.window.filter(|(from, count)| {
                let per = |per: i64| Duration::from_millis(per.unsigned_abs());
                let full = |(most, time)| *count >= most && sent < *from + per(time);
                facts.window.is_some_and(full)
            });
            ensure(held.is_none() || lost_time, "window-cap", || {
                format!(
                    "sent at {sent:?}, and {held:?} was all for now, {:?}, {base:?}",
                    facts.window
                )
            })?;
            let refused = base.refusal.is_some() && facts.rotates && !facts.anew;
            ensure(!refused, "refused-is-left-alone", || format!("{base:?}"))?;
        }
        watched.last_sent = watched.last_sent.max(Some(sent));
        watched.last_sent_at = Some(send.now);
        watched.redated = false;
        if let Some((_, time)) = facts.window {
            let per = Duration::from_millis(time.unsigned_abs());
            let running = watched.window.filter(|(from, _)| sent < *from + per);
            watched.window = Some(running.map_or((sent, 1), |(from, count)| (from, count + 1)));
        }
        let doubted = base.doubt.is_some() || base.refusal.is_some() || facts.anew;
        let relic = send.token.is_some_and(|token| self.relics.remove(&token));
        let watched = self.of(send.index);
        let doubted = doubted || !(watched.doubtful || relic);
        ensure(
            doubted || send.token.is_none(),
            "restored-is-doubted",
            || format!("{:?}, {base:?}", send.token),
        )?;
        if let Some(token) = send.token {
            watched.first_sent.entry(token).or_insert(send.now);
            while watched.first_sent.len() > 8 {
                let oldest = watched.first_sent.iter().min_by_key(|(_, at)| **at);
                let oldest = *oldest.expect("there are nine").0;
                watched.first_sent.remove(&oldest);
            }
            let anew = facts.anew && base.doubt.is_some();
            ensure(!anew, "no-replay-where-anew", || {
                format!("{token:?}, {base:?}")
            })?;
        }
        self.open.insert(send.intent.flight, false);
        self.sent_at.insert(send.intent.flight, send.now);
        if self.sent_at.len() > 4096 {
            self.sent_at.pop_first();
        }
        Ok(())
    }

    /// A superseded refresh token, outside of the time in which it is good, comes
    /// to a server that revokes, while the access token lives: once, in the last chance.
    pub(crate) fn gambles(&mut self, token: TokenId, base: &GrantState, sent: WallTime) -> Check {
        let fits = Duration::from_secs(45).min(base.lifetime() / 4);
        let last_chance = base.expires_at - fits;
        let first = self.of(token.grant).gambled.insert(token);
        ensure(first && sent >= last_chance, "no-gamble", || {
            format!(
                "{token:?} sent at {sent:?}, last chance {last_chance:?}, first: {first}, {base:?}"
            )
        })
    }

    /// While an answer is kept that may hold its successor, a superseded refresh token does
    /// not come to a server that revokes, whatever became of the access token.
    pub(crate) fn spares_what_is_kept(&self, base: &GrantState) -> Check {
        let kept = base.doubt.as_ref().is_some_and(|doubt| doubt.unread);
        ensure(!kept, "kept-is-not-risked", || format!("{base:?}"))
    }

    /// An answer asked to wait, or brought what ends that.
    pub(crate) fn asked(&mut self, index: u32, until: Option<WallTime>, success: bool) {
        let watched = self.of(index);
        watched.asked_until = match until {
            _ if success => None,
            Some(until) => watched.asked_until.max(Some(until)),
            None => watched.asked_until,
        };
    }

    /// The state began afresh, or another token is tried: earlier sends are over.
    pub(crate) fn afresh(&mut self, index: u32, last_send: Option<WallTime>) {
        let watched = self.of(index);
        watched.last_sent = last_send;
        watched.asked_until = None;
        watched.doubtful = false;
    }

    /// Another authorization: what the provider counts begins anew.
    pub(crate) fn counts_anew(&mut self, index: u32) {
        self.of(index).window = None;
    }

    /// A send was another authorization's; or one that never left counts.
    pub(crate) fn counts_as(&mut self, index: u32, state: &GrantState) {
        self.of(index).window = state.window_from.map(|from| (from, state.sends_in_window));
    }

    /// The store was put back: what is known is what it holds.
    pub(crate) fn put_back(&mut self, rows: &[Row], copied_at: i64, now: i64) {
        // By a description since then, what the store that is gone had kept was read.
        self.described.retain(|_, last| *last <= copied_at);
        self.put_back_at = Some(now);
        self.is_put_back = true;
        self.was_put_back = true;
        self.uncounted = self.open.keys().copied().collect();
        self.closed.clear();
        self.promptly.clear();
        self.unread.clear();
        self.durable.clear();
        let unread = rows.iter().flat_map(|row| &row.unread);
        self.unread
            .extend(unread.filter_map(|kept| brought(&kept.answer)));
        for (index, row) in (0..).zip(rows) {
            let candidates = row.candidates.iter().filter_map(|c| c.tokens.as_ref());
            for tokens in candidates.chain([&row.tokens]) {
                self.durable(tokens);
            }
            let state = &row.grant.state;
            self.afresh(index, state.last_send);
            let watched = self.of(index);
            watched.generation = state.generation;
            watched.gambled.clear();
            watched.window = state.window_from.map(|from| (from, state.sends_in_window));
        }
    }

    /// A grant of a store that was put back may be refreshed again.
    pub(crate) fn accepted(&mut self, index: u32, row: &Row) {
        let state = &row.grant.state;
        self.is_put_back = false;
        let kept = row.candidates.iter().filter_map(|c| c.tokens.as_ref());
        let kept = kept.filter_map(|tokens| tokens.refresh_token.as_ref());
        let kept = kept.map(|token| TokenId::of(token.expose()));
        self.relics.extend(kept);
        self.afresh(index, state.last_send);
        let watched = self.of(index);
        watched.generation = state.generation;
        watched.doubtful = state.presents.is_some() && state.refusal.is_none();
    }

    /// Outputs are gone, as `/run` is after a boot.
    pub(crate) fn outputs_gone(&mut self) {
        self.promptly.clear();
        for watched in &mut self.grants {
            watched.published = 0;
        }
    }

    /// The clock was set back by so much, and that was accepted.
    pub(crate) fn clock_accepted(&mut self, by: Duration) {
        for watched in &mut self.grants {
            watched.redated = true;
            watched.last_sent = watched.last_sent.map(|at| at - by);
            watched.asked_until = None;
            watched.window = watched.window.map(|(from, count)| (from - by, count));
        }
    }

    /// An exchange was under way as a clock was accepted. It is dated by the boot clock
    /// then, which has not in it what was smoothed over.
    pub(crate) fn redates(&mut self, index: u32, state: &GrantState) {
        let watched = self.of(index);
        let near = |at: WallTime, by: WallTime| by <= at && at <= by + Clock::TOLERANCE;
        if !watched.redated {
            return;
        }
        if let (Some(at), Some(by)) = (&mut watched.last_sent, state.last_send)
            && near(*at, by)
        {
            *at = by;
        }
        if let (Some((from, _)), Some(by)) = (&mut watched.window, state.window_from)
            && near(*from, by)
        {
            *from = by;
        }
    }

    /// A family's refresh tokens may go there.
    pub(crate) fn may_go(&mut self, family: FamilyId, home: u32) {
        self.homes.entry(family).or_default().insert(home);
    }

    /// A refresh token goes to those alone that it is bound to.
    pub(crate) fn goes(&self, token: TokenId, home: u32) -> Check {
        let homes = self.homes.get(&(token.grant, token.family));
        let may = homes.is_some_and(|homes| homes.contains(&home));
        ensure(may, "bound-token-stays", || {
            format!("{token:?} goes to {home}, it may go to {homes:?}")
        })
    }

    pub(crate) fn unaccounted(&mut self, family: FamilyId, before: u64) {
        self.unaccounted.insert(family, before);
    }

    pub(crate) fn is_excused(&self, access: TokenId) -> bool {
        let before = self.unaccounted.get(&(access.grant, access.family));
        before.is_some_and(|before| access.number < *before)
    }

    pub(crate) fn cannot_read(&mut self, token: TokenId) {
        self.unread.insert(token);
    }

    pub(crate) fn is_unread(&self, token: TokenId) -> bool {
        self.unread.contains(&token)
    }

    /// What could not be read can be read now: it is ours.
    pub(crate) fn can_read(&mut self, token: TokenId) {
        self.unread.remove(&token);
        self.durable.insert(token);
    }

    /// A grant's answers are read by the description of that form.
    pub(crate) fn is_described(&mut self, index: u32, form: usize, now: i64) {
        let in_force = self.in_force.entry(index).or_insert((form, now));
        if in_force.0 != form {
            *in_force = (form, now);
        }
        // Long enough for a process to have read by it what is kept.
        if now >= in_force.1 + READING {
            self.described.insert((index, form), now);
        }
    }

    /// What is kept of a grant could not be read for now, since that could not be saved.
    pub(crate) fn is_read_later(&mut self, index: u32, form: usize, at: i64) {
        self.in_force.insert(index, (form, at));
    }

    /// The process is gone: no description is in force.
    pub(crate) fn nothing_is_described(&mut self) {
        self.in_force.clear();
    }

    /// Whether the description of a form was in force for a grant, then or later.
    pub(crate) fn was_described(&self, index: u32, form: usize, since: i64) -> bool {
        let last = self.described.get(&(index, form));
        last.is_some_and(|last| *last >= since + READING)
    }

    pub(crate) fn secret_stands(&mut self, client: u32, since: i64) {
        self.secrets.insert(client, since);
    }

    pub(crate) fn secret_since(&self, client: u32) -> i64 {
        self.secrets.get(&client).copied().unwrap_or(0)
    }

    /// A grant is refreshed where there is a reason to: no earlier than its lead has
    /// it, and for no wish that has been fulfilled.
    pub(crate) fn needed(
        &self,
        flight: &TakeOff,
        named: Option<u64>,
        base: &GrantState,
        now: WallTime,
    ) -> Check {
        if flight.is_forced() {
            return Ok(());
        }
        if !flight.due {
            let stale = named.is_some_and(|named| named < base.generation);
            return ensure(!stale, "no-needless-refresh", || {
                format!("generation {named:?} was to be replaced, {base:?}")
            });
        }
        let life = base.lifetime();
        let lead = (life / 10).max(Duration::from_secs(300)).min(life / 2);
        let troubled = base.doubt.is_some() || base.refusal.is_some() || base.access_dead;
        let early = now < base.expires_at - lead * 6 / 5 && base.generation > 0;
        ensure(
            !early || troubled || base.expiry_unknown,
            "no-needless-refresh",
            || format!("at {now:?}, {base:?}"),
        )
    }

    pub(crate) fn durable(&mut self, tokens: &TokenSet) {
        if let Some(token) = &tokens.refresh_token {
            self.durable.insert(TokenId::of(token.expose()));
        }
    }

    pub(crate) fn durable_token(&mut self, token: TokenId) {
        self.durable.insert(token);
    }

    pub(crate) fn is_durable(&self, token: TokenId) -> bool {
        self.durable.contains(&token)
    }

    /// A grant has a new state in the store.
    pub(crate) fn stored(&mut self, index: u32, generation: u64, with_tokens: bool) -> Check {
        let watched = self.of(index);
        let before = std::mem::replace(&mut watched.generation, generation);
        watched.doubtful &= !with_tokens;
        let rises = generation == before + u64::from(with_tokens);
        ensure(rises, "generations-rise", || {
            format!("grant {index}: {before} to {generation}")
        })
    }

    /// Another authorization was brought.
    pub(crate) fn brought(&mut self, index: u32, generation: u64) -> Check {
        let watched = self.of(index);
        let before = std::mem::replace(&mut watched.generation, generation);
        ensure(generation > before, "generations-rise", || {
            format!("grant {index}: {before} to {generation}")
        })
    }

    /// A reader finds this generation.
    pub(crate) fn publishes(&mut self, index: u32, generation: u64, stored: u64) -> Check {
        let watched = self.of(index);
        let before = std::mem::replace(&mut watched.published, generation);
        ensure(generation <= stored, "durable-before-publish", || {
            format!("grant {index}: generation {generation} is out, {stored} is durable")
        })?;
        ensure(generation >= before, "readers-never-go-back", || {
            format!("grant {index}: generation {before}, then {generation}")
        })
    }

    /// A flight's commit is durable.
    pub(crate) fn closes(&mut self, flight: ExchangeId) {
        self.open.remove(&flight);
        self.closed.insert(flight);
        if self.closed.len() > 256 {
            self.closed.pop_first();
        }
    }

    /// The believed end of an access token is not after the real one.
    pub(crate) fn dates(&self, state: &GrantState, now: WallTime, real_rest: i64) -> Check {
        let believed = millis(state.expires_at.since(now));
        ensure(
            state.expiry_unknown || believed <= real_rest.max(0) + self.smoothed,
            "expiry-honest",
            || format!("{believed} ms left by our reckoning, {real_rest} ms really, {state:?}"),
        )
    }
}
