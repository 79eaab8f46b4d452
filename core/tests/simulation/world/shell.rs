//! Performs a flight's actions as the daemon does, and looks at each.

use super::answers::{ending, retry_after};
use super::{Aloft, Mischief, Stop, World, ensure};
use crate::disk::Slot;
use crate::fate::Fate;
use crate::provider::number;
use refreshd_core::flight::{
    Action, Answer, Commit, Event, Flight, Intent, Settlement, Step, Verdict,
};
use refreshd_core::grant::replay::EXCHANGE_LIMIT;
use refreshd_core::grant::settle::{Ending, OutcomeKind};
use std::time::Duration;

impl World {
    pub(super) fn perform(&mut self, mut flight: Flight, mut step: Step) -> Result<(), Stop> {
        loop {
            step = match step {
                Step::Do(action) => {
                    self.pass()?;
                    let event = self.act(&flight, *action)?;
                    self.pass()?;
                    flight.handle(event, self.now)
                }
                Step::GoOnReading => {
                    let (arrives, ending) = self.late.take().expect("it is overdue");
                    self.aloft.push(Aloft {
                        flight,
                        arrives,
                        ending,
                    });
                    return Ok(());
                }
                Step::Done(verdict) => return self.landed(verdict),
            }
        }
    }

    /// Time passes; the process may end here, and what is overdue may come.
    fn pass(&mut self) -> Result<(), Stop> {
        self.now = self.now + self.rng.millis(0, 50);
        if self.rng.percent(4) {
            self.note(|_| "the process ends".to_owned());
            self.report.saw(Fate::Died);
            return Err(Stop::Died);
        }
        if self.overlapping {
            self.deliver()?;
        }
        Ok(())
    }

    /// Hands the answers that have come to their flights.
    pub(super) fn deliver(&mut self) -> Result<(), Stop> {
        let now = self.now;
        while let Some(index) = self.aloft.iter().position(|aloft| aloft.arrives <= now) {
            let Aloft {
                mut flight, ending, ..
            } = self.aloft.swap_remove(index);
            let step = flight.handle(Event::Ended(ending), self.now);
            self.perform(flight, step)?;
        }
        Ok(())
    }

    fn act(&mut self, flight: &Flight, action: Action) -> Result<Event, Stop> {
        match action {
            Action::RecordIntent(intent) => Ok(self.record_intent(intent)),
            Action::Send => self.send(flight.intent()),
            Action::RecordAnswer(answer) => {
                self.record_answer(flight.intent(), answer);
                Ok(Event::AnswerRecorded)
            }
            Action::Reload => {
                let (grant, tokens) = (self.disk.grant.clone(), self.disk.tokens.clone());
                Ok(Event::Reloaded(Box::new(grant), Box::new(tokens)))
            }
            Action::Commit(commit) => self.commit(flight.intent(), *commit),
        }
    }

    fn record_intent(&mut self, intent: Intent) -> Event {
        if self.rng.percent(2) {
            self.report.saw(Fate::IntentFailed);
            let text = "no space left".to_owned();
            return Event::IntentFailed { text };
        }
        if self.mischief != Mischief::ForgetIntent {
            let answer = None;
            self.disk.slots.push(Slot { intent, answer });
        }
        Event::IntentRecorded
    }

    fn send(&mut self, intent: &Intent) -> Result<Event, Stop> {
        let durable = self.disk.slot(intent.flight);
        let durable = durable.is_some_and(|slot| slot.answer.is_none());
        ensure(durable, "intent-before-byte", || format!("{intent:?}"))?;
        let fate = match Fate::draw(&mut self.rng) {
            Fate::FalseRefusal if self.provider.rotates || !self.provider.described => {
                Fate::Answered
            }
            fate => fate,
        };
        self.report.saw(fate);
        self.note(|w| {
            let (token, current) = (w.presenting, w.provider.current);
            let attempt = intent.attempt;
            format!("{token:?} of rt-{current} is sent, attempt {attempt}: {fate:?}")
        });
        if fate == Fate::NotSent {
            let text = "connection refused".to_owned();
            return Ok(Event::Ended(Ending::NotSent { text }));
        }
        self.last_sent = Some(intent.sent.wall);
        let raced = self
            .presenting
            .is_some_and(|token| token != self.disk.presents());
        let lived = !self.provider.family_dead;
        let lasts = fate.duration(&mut self.rng);
        self.now = self.now + (lasts / 2).min(Duration::from_millis(200));
        self.check_gamble()?;
        let reply = fate.is_processed().then(|| match self.presenting {
            Some(token) => self.provider.present(token, self.now),
            None => self.provider.ask_anew(self.now),
        });
        let had = self.disk.durable.contains(&self.provider.current);
        self.beyond_help |= lived && self.provider.family_dead && (raced || !had);
        if fate.is_late() {
            self.now = self.now + EXCHANGE_LIMIT;
            let arrives = self.now + lasts;
            self.late = Some((arrives, ending(&mut self.rng, fate, reply, arrives)));
            return Ok(Event::Overdue);
        }
        self.now = self.now + lasts / 2;
        Ok(Event::Ended(ending(&mut self.rng, fate, reply, self.now)))
    }

    /// While the access token lives, a superseded refresh token is presented
    /// outside its real window once at most, and only in the last chance.
    fn check_gamble(&mut self) -> Result<(), Stop> {
        let (now, base) = (self.now, &self.base);
        let Some(token) = self.presenting else {
            return Ok(());
        };
        let anew = self.provider.anew && base.doubt.is_some();
        ensure(!anew, "no-replay-where-anew", || {
            format!("rt-{token}, {base:?}")
        })?;
        if !self.provider.revokes || self.provider.is_good(token, now) || !base.is_alive(now) {
            return Ok(());
        }
        let last_chance = base.expires_at - Duration::from_secs(45).min(base.lifetime() / 4);
        let before = self.gambled.insert(token, 1);
        self.report.gambles += 1;
        ensure(now >= last_chance && before.is_none(), "no-gamble", || {
            format!("rt-{token} at {now:?}, last chance {last_chance:?}, {base:?}")
        })
    }

    fn record_answer(&mut self, intent: &Intent, answer: Answer) {
        if self.mischief == Mischief::ReadBeforeRecord {
            return;
        }
        if self.rng.percent(1) {
            self.report.saw(Fate::AnswerNotRecorded);
            self.unrecorded.insert(intent.flight);
        } else {
            self.disk.record(intent, answer);
        }
    }

    fn commit(&mut self, intent: &Intent, commit: Commit) -> Result<Event, Stop> {
        let flight = intent.flight;
        let Commit {
            base_revision,
            settled,
        } = commit;
        let answer = self.disk.slot(flight).and_then(|slot| slot.answer.clone());
        let in_hand = answer.is_some() || self.unrecorded.contains(&flight);
        let success = settled.kind == OutcomeKind::Success;
        self.note(|w| {
            let (flight, kind) = (&flight.0[..4], settled.kind);
            let (base, revision) = (base_revision, w.disk.grant.revision);
            format!("flight {flight:?}: {kind:?} rests on {base}, and it is {revision}")
        });
        ensure(in_hand || !success, "answer-before-read", || {
            format!("{flight:?}")
        })?;
        let grant = &self.disk.grant;
        if grant.revision != base_revision && self.mischief != Mischief::CommitStale {
            self.report.stale += 1;
            // Nothing is written while it may land yet: its record in the journal stays.
            if grant.state.generation != settled.settlement.base_generation() {
                // The new generation starts afresh; its state cannot know of this send.
                self.last_sent = grant.state.last_send;
                if let Some(tokens) = settled.settlement.tokens {
                    self.disk.note_tokens(&tokens);
                    self.disk.candidates.push(tokens);
                }
                self.disk.free(flight);
            }
            return Ok(Event::Superseded(Box::new(self.disk.grant.clone())));
        }
        let (before, after) = (grant.state.generation, settled.settlement.state.generation);
        let rises = after == before + u64::from(settled.settlement.tokens.is_some());
        ensure(rises, "generations-rise", || format!("{before} to {after}"))?;
        self.asked_until = match answer.as_ref().and_then(retry_after) {
            _ if success => None,
            Some(wait) => self.asked_until.max(answer.map(|a| a.received + wait)),
            None => self.asked_until,
        };
        self.apply(settled.settlement)?;
        self.disk.free(flight);
        Ok(Event::Committed(Box::new(self.disk.grant.clone())))
    }

    fn apply(&mut self, settlement: Settlement) -> Result<(), Stop> {
        self.disk.grant.state = settlement.state;
        self.disk.grant.revision += 1;
        if self.mischief == Mischief::IgnoreRetryAfter {
            self.disk.grant.state.not_before = None;
        }
        let Some(tokens) = settlement.tokens else {
            return Ok(());
        };
        let before = self.disk.presents();
        self.disk.note_tokens(&tokens);
        self.disk.tokens = tokens;
        self.report.generations += 1;
        let after = self.disk.presents();
        ensure(after >= before, "newest-kept", || {
            format!("rt-{before} gave way to rt-{after}")
        })?;
        let access = number(self.disk.tokens.access_token.expose());
        let real = self
            .provider
            .end_of(usize::try_from(access).expect("a small number"));
        let believed = self.disk.grant.state.expires_at;
        let unknown = self.disk.grant.state.expiry_unknown;
        ensure(unknown || believed <= real, "expiry-honest", || {
            format!("at-{access} ends at {real:?}, not at {believed:?}")
        })
    }

    fn landed(&mut self, verdict: Verdict) -> Result<(), Stop> {
        let grant = match verdict {
            Verdict::Landed { grant, .. } | Verdict::Superseded { grant } => grant,
            Verdict::NotStarted { .. } => {
                self.now = self.now + Duration::from_secs(1);
                return Ok(());
            }
        };
        let disk = &self.disk.grant;
        // Beside another flight, it may have moved on since.
        let older = self.overlapping && grant.revision < disk.revision;
        ensure(older || *grant == *disk, "verdict-is-durable", || {
            format!("{grant:?} against {disk:?}")
        })
    }
}
