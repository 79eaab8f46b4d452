//! Performs the exchanges of authorizations as `src/exchange/driver.rs` does, each step a
//! happening of its own.

use super::Mutation;
use super::world::{Fate, Inside, Request, World};
use crate::audit::{Check, ensure};
use refreshd_core::enroll::code::Unused;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Stage, Via};
use refreshd_core::exchange::authorization::{
    Commit, Committed, OfAuthorization, Terms, Verdict, spared,
};
use refreshd_core::exchange::{Action, Event, Exchange, Step};
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::{GrantId, Presents};
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::provider::{Answer, Ending};

/// An exchange under way.
pub(crate) struct Aloft {
    pub(crate) id: EnrollmentId,
    /// What is presented.
    code: String,
    machine: Exchange<OfAuthorization>,
    is_recorded: bool,
    is_kept: bool,
    /// It waits for the end of its request.
    waits: bool,
    overdue: bool,
    /// An end that came while it was busy otherwise.
    ended: Option<Ending>,
    answer: Option<Answer>,
    commit: Option<Commit>,
    tries: u32,
    patience: u32,
}

/// What the store is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Begin(u64, Box<Intent>),
    Commit(u64),
    Keep(u64),
    End(ExchangeId),
}

/// What a transaction writes.
#[derive(Clone)]
pub(crate) enum Write {
    Begin(Box<Intent>),
    Commit(Box<Commit>, Option<ExchangeId>),
    Keep(ExchangeId, Answer),
    End(ExchangeId),
}

impl World {
    /// Presents the code of an authorization, or asks about its device code.
    pub(crate) fn present(&mut self, id: EnrollmentId, tries: u32) -> Check {
        let Some((enrollment, secrets)) = self.store.authorizations.get(&id).cloned() else {
            return Ok(());
        };
        let polled = enrollment.via == Via::Device;
        let due = match polled {
            true => enrollment.stage == Stage::Open,
            false => enrollment.stage == Stage::Received,
        };
        if !due {
            return Ok(());
        }
        let code = secrets.code.clone().expect("its code is kept");
        let presents = Presents::Code(self.prints.of(&code));
        let mut aloft = self.process().aloft.values();
        if aloft.any(|it| it.machine.intent().presents == presents) {
            return Ok(());
        }
        let Ok(terms) = self.terms(&enrollment) else {
            return self.not_presented(&enrollment, tries);
        };
        if let Some(at) = enrollment.code.again_at.filter(|at| *at > self.wall()) {
            let wait = at.0 - self.wall().0;
            self.inside(wait, Inside::Present(id, tries));
            return Ok(());
        }
        let (now, roll) = (self.stamp(), self.rng.roll());
        self.flights += 1;
        let number = self.flights;
        let mut flight = [0; 16];
        flight[..8].copy_from_slice(&number.to_be_bytes());
        let intent = Intent {
            flight: ExchangeId(flight),
            grant: GrantId(String::new()),
            name: enrollment.grant.clone().unwrap_or_default(),
            revision: 0,
            generation: 0,
            attempt: 1,
            first_sent: now.wall,
            sent: now.clone(),
            presents,
            description: DescriptionHash("0".to_owned()),
            roll,
            binding: Some(terms.binding.clone()),
        };
        let machine = Exchange::<OfAuthorization>::new(intent, (enrollment, secrets), terms, tries);
        let aloft = Aloft {
            id,
            code: code.expose().to_owned(),
            machine,
            is_recorded: false,
            is_kept: false,
            waits: false,
            overdue: false,
            ended: None,
            answer: None,
            commit: None,
            tries,
            patience: 0,
        };
        self.process().aloft.insert(number, aloft);
        self.feed(number, Event::Begin)
    }

    /// Nothing of a code has left.
    fn not_presented(&mut self, enrollment: &Enrollment, tries: u32) -> Check {
        if enrollment.via == Via::Device {
            self.inside(5000, Inside::Present(enrollment.id, 0));
            return Ok(());
        }
        let description = self.description();
        let because = (&Unused::NotSent, "not now");
        let (turn, until) = spared(enrollment, because, tries, Some(&description), self.wall());
        if !self.transaction_fails() {
            self.store.turn(turn);
            self.store.commit_seq += 1;
        } else if until.is_none() {
            self.inside(30_000, Inside::Present(enrollment.id, tries + 1));
        }
        if let Some(until) = until {
            let wait = until.0 - self.wall().0;
            self.inside(wait, Inside::Present(enrollment.id, tries + 1));
        }
        Ok(())
    }

    pub(crate) fn terms(&self, enrollment: &Enrollment) -> Result<Terms, String> {
        let rules = self.rules();
        match self.configured {
            true => Ok(Terms {
                name: enrollment.grant.clone().expect("each is for a grant"),
                client: "client".to_owned(),
                client_id: "id".to_owned(),
                scopes: Vec::new(),
                vars: Default::default(),
                binding: super::world::binding(),
                rules,
                configured: true,
            }),
            false => Err("its client is not configured".to_owned()),
        }
    }

    pub(crate) fn feed(&mut self, number: u64, event: Event<OfAuthorization>) -> Check {
        let now = self.stamp();
        let aloft = self.aloft(number);
        if let Event::Ended(Ending::Answered(answer)) = &event {
            aloft.answer = Some(answer.clone());
        }
        let step = aloft.machine.handle(event, &now);
        self.follow(number, step)
    }

    pub(crate) fn aloft(&mut self, number: u64) -> &mut Aloft {
        let aloft = self.process().aloft.get_mut(&number);
        aloft.expect("what happens to an exchange happens before it is over")
    }

    fn follow(&mut self, number: u64, step: Step<OfAuthorization>) -> Check {
        match step {
            Step::Do(action) => self.act(number, *action),
            Step::GoOnReading(()) => {
                let aloft = self.aloft(number);
                aloft.waits = true;
                match aloft.ended.take() {
                    Some(ending) => self.end(number, ending),
                    None => Ok(()),
                }
            }
            Step::Done(verdict) => self.over(number, verdict),
        }
    }

    fn act(&mut self, number: u64, action: Action<OfAuthorization>) -> Check {
        match action {
            Action::RecordIntent(intent) => self.ask_store(Job::Begin(number, intent)),
            Action::Send { .. } => return self.send(number),
            Action::Ask(_) => {
                self.ask_store(Job::Keep(number));
                let wait = self.rng.millis(10, 10_000);
                self.inside(wait, Inside::Told(number));
            }
            Action::Reload => unreachable!("an authorization is not read anew"),
            Action::Commit(commit) => {
                let commit = self.mutated(commit);
                let aloft = self.aloft(number);
                aloft.commit = Some(commit);
                aloft.patience = 0;
                self.ask_store(Job::Commit(number));
            }
        }
        Ok(())
    }

    fn mutated(&self, mut commit: Commit) -> Commit {
        if let Commit::Turn(turn) = &mut commit {
            match self.mutation {
                Some(Mutation::DoubtWaits) if turn.to.stage == Stage::InDoubt => {
                    turn.to.stage = Stage::Received;
                }
                Some(Mutation::HeldDropped) if turn.to.stage == Stage::Held => {
                    turn.answer = None;
                }
                _ => {}
            }
        }
        commit
    }

    fn send(&mut self, number: u64) -> Check {
        let calm = self.calm;
        let fate = Fate::draw(&mut self.rng, calm);
        let aloft = self.aloft(number);
        let (id, flight) = (aloft.id, aloft.machine.intent().flight);
        let code = aloft.code.clone();
        aloft.waits = true;
        let recorded = self.store.intents.contains_key(&flight);
        ensure(recorded, "intent-before-byte", || format!("{flight:?}"))?;
        self.count("sent");
        self.note(|| format!("{number} of {id:?} is sent: {fate:?}"));
        let there = self.rng.millis(1, 200);
        let back = match fate {
            Fate::Late | Fate::LateLost => self.rng.millis(31_000, 200_000),
            _ => self.rng.millis(1, 2000),
        };
        let request = Request {
            code,
            fate,
            reply: None,
        };
        self.requests.insert(number, request);
        if fate != Fate::NotSent {
            self.schedule(there, super::world::Happening::Received(number));
        }
        self.inside(there + back, Inside::Ended(number));
        if there + back > 30_000 {
            self.inside(30_000, Inside::Overdue(number));
        }
        Ok(())
    }

    pub(crate) fn ended(&mut self, number: u64) -> Check {
        let Some(request) = self.requests.remove(&number) else {
            return Ok(());
        };
        let ending = request.ending(self.wall());
        if let Ending::Answered(answer) = &ending {
            self.comes(answer);
        }
        let aloft = self.aloft(number);
        if aloft.waits {
            return self.end(number, ending);
        }
        aloft.ended = Some(ending);
        Ok(())
    }

    fn end(&mut self, number: u64, ending: Ending) -> Check {
        let drops = self.mutation == Some(Mutation::LateDropped);
        let aloft = self.aloft(number);
        aloft.waits = false;
        let late = std::mem::take(&mut aloft.overdue);
        if late {
            self.count("late");
        }
        let ending = match ending {
            Ending::Answered(_) if drops && late => Ending::Lost {
                text: "dropped".to_owned(),
            },
            other => other,
        };
        self.feed(number, Event::Ended(ending))
    }

    pub(crate) fn reach_limit(&mut self, number: u64) -> Check {
        let aloft = self.process().aloft.get_mut(&number);
        let Some(aloft) = aloft.filter(|aloft| aloft.waits && !aloft.overdue) else {
            return Ok(());
        };
        aloft.waits = false;
        aloft.overdue = true;
        self.feed(number, Event::Overdue)
    }

    /// An exchange is over.
    fn over(&mut self, number: u64, verdict: Verdict) -> Check {
        let aloft = self.process().aloft.remove(&number).expect("it was there");
        let (id, tries) = (aloft.id, aloft.tries);
        self.note(|| format!("{number} of {id:?} is over: {verdict:?}"));
        if aloft.is_recorded {
            self.process().ending += 1;
            self.ask_store(Job::End(aloft.machine.intent().flight));
        }
        if let Some(answer) = &aloft.answer {
            self.is_safe(answer)?;
        }
        match verdict {
            Verdict::NotStarted { .. } => {
                if let Some((enrollment, _)) = self.store.authorizations.get(&id).cloned() {
                    self.not_presented(&enrollment, tries)?;
                }
            }
            Verdict::Waits { until, .. } => {
                self.count("waits");
                let wait = until.0 - self.wall().0;
                self.inside(wait, Inside::Present(id, tries + 1));
            }
            Verdict::Pending { .. } => {
                self.count("pending");
                self.inside(5000, Inside::Present(id, 0));
            }
            Verdict::TakenIn { .. } => self.count("taken in"),
            Verdict::Ended { .. } => self.count("ended"),
            Verdict::Unchanged => {}
        }
        // A doubt that waits, on purpose.
        if self.mutation == Some(Mutation::DoubtWaits) {
            self.inside(1000, Inside::Present(id, tries + 1));
        }
        Ok(())
    }

    fn ask_store(&mut self, job: Job) {
        let process = self.process();
        process.jobs.push(job);
        if !std::mem::replace(&mut process.transacting, true) {
            let wait = self.rng.millis(1, 10);
            self.inside(wait, Inside::Transact);
        }
    }

    /// What has queued up, in one transaction.
    pub(crate) fn transact(&mut self) -> Check {
        let process = self.process();
        process.transacting = false;
        let jobs = std::mem::take(&mut process.jobs);
        if self.transaction_fails() {
            self.count("commits failed");
            let after = self.store.commit_seq;
            let writes = jobs.iter().filter_map(|job| self.write_of(job)).collect();
            self.ghost = Some((after, writes));
            if self.rng.percent(25) {
                return self.end_process();
            }
            return self.turned_down(jobs);
        }
        jobs.into_iter().try_for_each(|job| self.do_job(job))
    }

    fn turned_down(&mut self, jobs: Vec<Job>) -> Check {
        for job in jobs {
            match job {
                Job::Begin(number, intent) => {
                    if self.mutation == Some(Mutation::FailedBeginIgnored) {
                        drop(intent);
                        self.inside(0, Inside::Recorded(number));
                        continue;
                    }
                    self.inside(0, Inside::BeginFailed(number));
                }
                Job::Commit(number) => {
                    if self.mutation == Some(Mutation::FailedCommitIgnored) {
                        let committed = Box::new(Committed::Turned);
                        self.inside(0, Inside::Committed(number, committed));
                        continue;
                    }
                    let aloft = self.aloft(number);
                    aloft.patience += 1;
                    let keeps = aloft.patience > 1 && !aloft.is_kept && aloft.answer.is_some();
                    let wait = (250 << aloft.patience.min(7)).min(30_000);
                    self.inside(wait, Inside::Again(Job::Commit(number)));
                    if keeps {
                        self.ask_store(Job::Keep(number));
                    }
                }
                Job::Keep(_) => {}
                Job::End(_) => {
                    let wait = self.rng.millis(250, 30_000);
                    self.inside(wait, Inside::Again(job));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn again(&mut self, job: Job) {
        self.ask_store(job);
    }

    fn write_of(&self, job: &Job) -> Option<Write> {
        let aloft = |number| self.process.as_ref()?.aloft.get(number);
        Some(match job {
            Job::Begin(_, intent) => Write::Begin(intent.clone()),
            Job::Commit(number) => {
                let aloft = aloft(number)?;
                let ends = (!aloft.overdue).then_some(aloft.machine.intent().flight);
                Write::Commit(Box::new(aloft.commit.clone()?), ends)
            }
            Job::Keep(number) => {
                let aloft = aloft(number)?;
                Write::Keep(aloft.machine.intent().flight, aloft.answer.clone()?)
            }
            Job::End(flight) => Write::End(*flight),
        })
    }

    fn do_job(&mut self, job: Job) -> Check {
        let Some(write) = self.write_of(&job) else {
            return Ok(());
        };
        match job {
            Job::Begin(number, _) => {
                self.write(write)?;
                self.aloft(number).is_recorded = true;
                self.inside(0, Inside::Recorded(number));
            }
            Job::Commit(number) => {
                let Write::Commit(commit, ends) = write else {
                    unreachable!("a commit commits")
                };
                let ends = ends.filter(|_| self.mutation != Some(Mutation::IntentLeft));
                let committed = self.store.commit(&commit, ends);
                let refused = matches!(committed, Committed::Refused(_));
                let aloft = self.aloft(number);
                aloft.is_recorded &= aloft.overdue || refused;
                self.inside(0, Inside::Committed(number, Box::new(committed)));
            }
            Job::Keep(number) => {
                self.aloft(number).is_kept = true;
                self.count("kept as they came");
                self.write(write)?;
            }
            Job::End(_) => {
                self.process().ending -= 1;
                self.write(write)?;
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, write: Write) -> Check {
        match write {
            Write::Begin(intent) => self.store.begin(*intent),
            Write::Commit(commit, ends) => drop(self.store.commit(&commit, ends)),
            Write::Keep(flight, answer) => {
                // Settled meanwhile: there is nothing to keep it for.
                if self.store.intents.contains_key(&flight) {
                    self.store.keep(flight, answer);
                }
            }
            Write::End(flight) => self.store.end(flight),
        }
        Ok(())
    }

    /// Settles what was under way when the last process ended.
    pub(crate) fn adopt(&mut self, intent: Intent) -> Check {
        let flight = intent.flight;
        let looks = self.mutation != Some(Mutation::KeptForgotten);
        let answer = self.store.kept.get(&flight).cloned().filter(|_| looks);
        let now = self.stamp();
        let intent = match self.store.fenced {
            true => intent.in_restored_store(&now),
            false => intent,
        };
        let row = self.store.of_intent(&intent).cloned();
        let Some(row) = row else {
            if answer.is_none() {
                self.store.end(flight);
                return Ok(());
            }
            unreachable!("an intent and its answer are put back together")
        };
        self.count(match answer {
            Some(_) => "answers adopted",
            None => "found without an answer",
        });
        let (id, terms) = (row.0.id, self.terms(&row.0));
        let (machine, step) =
            Exchange::<OfAuthorization>::recovered(intent, answer.clone(), row, terms, &now);
        let aloft = Aloft {
            id,
            code: String::new(),
            machine,
            is_recorded: true,
            is_kept: answer.is_some(),
            waits: false,
            overdue: false,
            ended: None,
            answer,
            commit: None,
            tries: 0,
            patience: 0,
        };
        self.flights += 1;
        let number = self.flights;
        self.process().aloft.insert(number, aloft);
        self.follow(number, step)
    }
}
