//! The machine, its people, its network and its server.

use super::Mutation;
use super::driver::{Aloft, Job, Write};
use super::store::Store;
use crate::audit::{Check, Violation, ensure};
use crate::rng::Rng;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via};
use refreshd_core::exchange::Event;
use refreshd_core::exchange::authorization::Committed;
use refreshd_core::flight::settle::Rules;
use refreshd_core::grant::{Binding, Policy};
use refreshd_core::ledger::authorization::restored;
use refreshd_core::provider::{Answer, Description, Ending};
use refreshd_core::secret::{Fingerprinter, Secret};
use refreshd_core::time::{BootTime, Stamp, WallTime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

const BEGINNING: i64 = 1_800_000_000_000;
/// So many people authorize in a world.
const PEOPLE: u64 = 12;
/// Trouble lasts so long, and everything is over so long after it.
const TROUBLE: i64 = 2 * 3_600_000;
const END: i64 = 6 * 3_600_000;
/// A code is good for so long at the server.
const CODE_LIFE: i64 = 600_000;

/// What must happen in some world, or nothing is shown.
pub(crate) const HAPPENS: &[&str] = &[
    "answers adopted",
    "commits failed",
    "ended",
    "failed commits that count",
    "found without an answer",
    "held",
    "kept as they came",
    "killed",
    "late",
    "lost to a kill",
    "pending",
    "put back",
    "sent",
    "taken in",
    "waits",
];

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    NotSent,
    LostBefore,
    LostAfter,
    /// After the limit.
    Late,
    LateLost,
    TooMany,
    /// A gateway's error hides that the code was used.
    UnavailableAfter,
    /// A portal's page, before the server.
    Page,
    /// Half of an answer.
    Truncated,
    /// In a form that cannot be read.
    Odd,
    InvalidClient,
}

impl Fate {
    pub(crate) fn draw(rng: &mut Rng, calm: bool) -> Fate {
        if calm || rng.percent(35) {
            return Fate::Answered;
        }
        rng.pick(&[
            Fate::NotSent,
            Fate::LostBefore,
            Fate::LostAfter,
            Fate::Late,
            Fate::LateLost,
            Fate::TooMany,
            Fate::UnavailableAfter,
            Fate::Page,
            Fate::Truncated,
            Fate::Odd,
            Fate::InvalidClient,
        ])
    }

    /// Whether the server does what is asked.
    fn is_processed(self) -> bool {
        !matches!(
            self,
            Fate::NotSent | Fate::LostBefore | Fate::TooMany | Fate::Page | Fate::InvalidClient
        )
    }
}

/// A request, apart from the process that sent it.
pub(crate) struct Request {
    pub(crate) code: String,
    pub(crate) fate: Fate,
    pub(crate) reply: Option<(u16, String)>,
}

impl Request {
    pub(crate) fn ending(self, now: WallTime) -> Ending {
        let answer = |status, body: &str, complete| {
            let retry_after = ("retry-after".to_owned(), "20".to_owned());
            let headers = (status == 429).then_some(retry_after);
            Ending::Answered(Answer {
                status,
                headers: headers.into_iter().collect(),
                body: body.as_bytes().to_vec(),
                complete,
                received: now,
            })
        };
        let text = || format!("{:?}", self.fate);
        let (status, body) = self.reply.unwrap_or((500, String::new()));
        match self.fate {
            Fate::Answered | Fate::Late => answer(status, &body, true),
            Fate::NotSent => Ending::NotSent { text: text() },
            Fate::LostBefore | Fate::LostAfter | Fate::LateLost => Ending::Lost { text: text() },
            Fate::TooMany => answer(429, "", true),
            Fate::UnavailableAfter => answer(502, "<html>bad gateway</html>", true),
            Fate::Page => answer(200, "<html>welcome</html>", true),
            Fate::Truncated => answer(status, &body[..body.len() / 2], false),
            Fate::Odd => answer(status, &format!(r#"{{"odd":{body}}}"#), true),
            Fate::InvalidClient => answer(401, r#"{"error":"invalid_client"}"#, true),
        }
    }
}

/// A code at its server.
struct Code {
    issued: i64,
    is_device: bool,
    approved: bool,
    /// What it was exchanged for.
    brought: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Happening {
    /// A person begins an authorization.
    Begins,
    /// The provider's word comes back with a code.
    Comes(EnrollmentId, String, u32),
    Approves(String),
    Received(u64),
    Trouble,
    Start,
    Freed,
    Configured,
    /// An operator says that a store which was put back is meant.
    Accepts,
    Tidy,
    Inside(u32, Inside),
}

#[derive(Debug)]
pub(crate) enum Inside {
    Present(EnrollmentId, u32),
    Recorded(u64),
    BeginFailed(u64),
    Committed(u64, Box<Committed>),
    Told(u64),
    Ended(u64),
    Overdue(u64),
    Transact,
    Again(Job),
}

struct Scheduled(i64, u64, Happening);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

#[derive(Default)]
pub(crate) struct Process {
    pub(crate) aloft: BTreeMap<u64, Aloft>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) transacting: bool,
    /// Ends of exchanges that are not written yet.
    pub(crate) ending: u32,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) mutation: Option<Mutation>,
    now: i64,
    boots: u32,
    events: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    pub(crate) prints: Fingerprinter,
    pub(crate) store: Store,
    copied: Option<Store>,
    failing_commits: u32,
    full: bool,
    /// What the last failed commit may have left, with the number of the commit before it.
    pub(crate) ghost: Option<(u64, Vec<Write>)>,
    pub(crate) process: Option<Process>,
    incarnation: u32,
    pub(crate) flights: u64,
    pub(crate) configured: bool,
    pub(crate) calm: bool,
    begun: u64,
    codes: BTreeMap<String, Code>,
    issued: u64,
    pub(crate) requests: BTreeMap<u64, Request>,
    /// Refresh tokens that came, and must be somewhere.
    brought: BTreeSet<String>,
    description: Description,
    report: BTreeMap<String, u64>,
    trace: Option<Vec<String>>,
}

pub(crate) fn binding() -> Binding {
    Binding {
        client_id: "id".to_owned(),
        origin: "https://as.example:443".to_owned(),
    }
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>, traced: bool) -> World {
        let prints = Fingerprinter::new([7; 32]);
        let mut rng = Rng::new(seed);
        let account = match rng.percent(25) {
            true => r#", "account": {"url": "https://as.example/me", "member": "id"}"#,
            false => "",
        };
        let text = format!(
            r#"{{"name": "modelled", "token": {{"url": "https://as.example/token"}}{account}}}"#
        );
        let mut world = World {
            mutation,
            now: 0,
            boots: 1,
            events: BinaryHeap::new(),
            sequence: 0,
            store: Store::new(prints.clone()),
            prints,
            copied: None,
            failing_commits: 0,
            full: false,
            ghost: None,
            process: None,
            incarnation: 0,
            flights: 0,
            configured: true,
            calm: false,
            begun: 0,
            codes: BTreeMap::new(),
            issued: 0,
            requests: BTreeMap::new(),
            brought: BTreeSet::new(),
            description: serde_json::from_str(&text).expect("a description"),
            report: BTreeMap::new(),
            trace: traced.then(Vec::new),
            rng,
        };
        world.schedule(0, Happening::Start);
        for _ in 0..PEOPLE {
            let at = world.rng.millis(0, TROUBLE);
            world.schedule(at, Happening::Begins);
        }
        world.schedule(1000, Happening::Trouble);
        world.schedule(60_000, Happening::Tidy);
        world
    }

    pub(crate) fn run(mut self) -> (Result<BTreeMap<String, u64>, Violation>, Vec<String>) {
        let result = self.live();
        let trace = self.trace.take().unwrap_or_default();
        (result.map(|()| self.report), trace)
    }

    fn live(&mut self) -> Check {
        while let Some(Reverse(Scheduled(at, _, what))) = self.events.pop() {
            if at > END {
                break;
            }
            self.now = at;
            if at > TROUBLE && !self.calm {
                self.calms();
            }
            self.happen(what)?;
        }
        self.close()
    }

    /// Trouble is over: disk, configuration and network are well from now on.
    fn calms(&mut self) {
        self.calm = true;
        self.full = false;
        self.failing_commits = 0;
        self.configured = true;
        self.schedule(0, Happening::Start);
        self.schedule(1000, Happening::Accepts);
    }

    fn close(&mut self) -> Check {
        for (id, (it, _)) in &self.store.authorizations {
            ensure(it.stage.is_over(), "each-ends", || {
                format!("{id:?} is {:?}: {}", it.stage, it.text)
            })?;
        }
        let left = &self.store.intents;
        ensure(left.is_empty(), "ended-is-gone", || format!("{left:?}"))?;
        for token in &self.brought {
            let held = self.store.holds(token);
            ensure(held, "no-answer-lost", || token.clone())?;
        }
        let rows = self.store.authorizations.values();
        let held = rows.filter(|(it, _)| it.stage == Stage::Held).count();
        if held > 0 {
            *self.report.entry("held".to_owned()).or_default() += held as u64;
        }
        Ok(())
    }

    pub(crate) fn schedule(&mut self, wait: i64, what: Happening) {
        self.sequence += 1;
        let at = self.now + wait.max(0);
        self.events
            .push(Reverse(Scheduled(at, self.sequence, what)));
    }

    pub(crate) fn inside(&mut self, wait: i64, what: Inside) {
        let incarnation = self.incarnation;
        self.schedule(wait, Happening::Inside(incarnation, what));
    }

    pub(crate) fn count(&mut self, what: &str) {
        *self.report.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9} {}", self.now, what()));
        }
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it lives")
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime(BEGINNING + self.now)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            wall: self.wall(),
            boot: BootTime(self.now + 1_000_000),
            boot_id: self.boots.to_string(),
        }
    }

    pub(crate) fn description(&self) -> Description {
        self.description.clone()
    }

    pub(crate) fn rules(&self) -> Rules {
        let description = self.description();
        Rules {
            policy: Policy::new(&description, description.schedule.clone()),
            description: description.into(),
            fingerprinter: self.prints.clone(),
        }
    }

    pub(crate) fn transaction_fails(&mut self) -> bool {
        let failing = self.failing_commits > 0;
        self.failing_commits = self.failing_commits.saturating_sub(1);
        failing || self.full
    }

    fn happen(&mut self, what: Happening) -> Check {
        match what {
            Happening::Begins => self.begins(),
            Happening::Comes(id, code, tries) => return self.comes_back(id, code, tries),
            Happening::Approves(code) => {
                self.codes
                    .get_mut(&code)
                    .expect("it was given out")
                    .approved = true;
            }
            Happening::Received(number) => return self.received(number),
            Happening::Trouble => return self.trouble(),
            Happening::Start => return self.start(),
            Happening::Freed => self.full = false,
            Happening::Configured => self.configured = true,
            Happening::Accepts => self.store.fenced = false,
            Happening::Tidy => {
                if self.process.is_some() && !self.full {
                    let now = self.wall();
                    self.store.tidy(now);
                }
                self.schedule(60_000, Happening::Tidy);
            }
            Happening::Inside(incarnation, what) => {
                if incarnation == self.incarnation && self.process.is_some() {
                    return self.in_process(what);
                }
            }
        }
        Ok(())
    }

    fn in_process(&mut self, what: Inside) -> Check {
        match what {
            Inside::Present(id, tries) => self.present(id, tries),
            Inside::Recorded(number) => self.feed(number, Event::IntentRecorded),
            Inside::BeginFailed(number) => {
                let text = "the store took no intent".to_owned();
                self.feed(number, Event::IntentFailed { text })
            }
            Inside::Committed(number, committed) => self.feed(number, Event::Committed(*committed)),
            Inside::Told(number) => {
                let answer = self.rng.percent(50).then(|| Answer {
                    status: 200,
                    headers: Vec::new(),
                    body: br#"{"id":"someone"}"#.to_vec(),
                    complete: true,
                    received: self.wall(),
                });
                self.feed(number, Event::Told(answer))
            }
            Inside::Ended(number) => self.ended(number),
            Inside::Overdue(number) => self.reach_limit(number),
            Inside::Transact => self.transact(),
            Inside::Again(job) => {
                self.again(job);
                Ok(())
            }
        }
    }

    fn begins(&mut self) {
        if self.process.is_none() || self.transaction_fails() {
            return self.schedule(30_000, Happening::Begins);
        }
        self.begun += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.begun.to_be_bytes());
        let id = EnrollmentId(id);
        let via = self
            .rng
            .pick(&[Via::Redirect, Via::Redirect, Via::Link, Via::Device]);
        let grant = format!("grant-{}", self.rng.below(3));
        let enrollment = Enrollment {
            id,
            grant: Some(grant),
            client: "client".to_owned(),
            provider: "modelled".to_owned(),
            via,
            redirect_uri: None,
            vars: BTreeMap::new(),
            begun_at: self.wall(),
            expires_at: self.wall() + Duration::from_secs(900),
            stage: Stage::Open,
            text: String::new(),
            configured: true,
            sent: None,
            account: None,
            generation: None,
            asked: None,
            code: Default::default(),
        };
        let code = format!("code-{}", self.begun);
        let is_device = via == Via::Device;
        let at_server = Code {
            issued: self.now,
            is_device,
            approved: false,
            brought: None,
        };
        let wait = self.rng.millis(1000, 400_000);
        let secrets = Secrets {
            code: is_device.then(|| Secret::new(code.as_str())),
            ..Secrets::default()
        };
        self.store.begin_authorization((enrollment, secrets));
        if is_device {
            self.codes.insert(code.clone(), at_server);
            self.schedule(wait, Happening::Approves(code));
            self.inside(5000, Inside::Present(id, 0));
        } else {
            // A link's person tries again, whatever has become of the first code.
            if via == Via::Link {
                let again = wait + self.rng.millis(10_000, 200_000);
                let another = format!("{code}-again");
                self.schedule(again, Happening::Comes(id, another, 0));
            }
            self.schedule(wait, Happening::Comes(id, code, 0));
        }
    }

    /// The person's browser comes back, and is loaded again where nobody took the code.
    fn comes_back(&mut self, id: EnrollmentId, code: String, tries: u32) -> Check {
        let issued = self.now;
        self.codes.entry(code.clone()).or_insert(Code {
            issued,
            is_device: false,
            approved: true,
            brought: None,
        });
        let taken = self.process.is_some() && !self.transaction_fails();
        // Whoever is impatient loads it again though it was taken.
        if (!taken || self.rng.percent(20)) && tries < 20 {
            let wait = self.rng.millis(1000, 30_000);
            self.schedule(wait, Happening::Comes(id, code.clone(), tries + 1));
        }
        if !taken {
            return Ok(());
        }
        let now = self.wall();
        match self.store.receive(id, &code, now) {
            Some(id) => self.present(id, 0),
            None => Ok(()),
        }
    }

    /// A request comes to its server, whatever has become of who sent it.
    fn received(&mut self, number: u64) -> Check {
        let now = self.now;
        let Some(request) = self.requests.get(&number) else {
            return Ok(());
        };
        let (fate, name) = (request.fate, request.code.clone());
        if !fate.is_processed() {
            return Ok(());
        }
        let code = self.codes.get_mut(&name).expect("it was given out");
        let over = now > code.issued + CODE_LIFE;
        let reply = if code.is_device && !code.approved && !over {
            (400, r#"{"error":"authorization_pending"}"#.to_owned())
        } else if let Some(token) = code.brought {
            // RFC 6749 §4.1.2: all that it brought is void then. A device code may be
            // asked about again where no answer came.
            ensure(code.is_device, "code-once", || name.clone())?;
            let again = format!("rt-{token}");
            self.brought.remove(&again);
            (400, r#"{"error":"invalid_grant"}"#.to_owned())
        } else if over {
            (400, r#"{"error":"invalid_grant"}"#.to_owned())
        } else {
            self.issued += 1;
            code.brought = Some(self.issued);
            let token = self.issued;
            let body = format!(
                r#"{{"access_token":"at-{token}","refresh_token":"rt-{token}","expires_in":3600}}"#
            );
            (200, body)
        };
        self.requests.get_mut(&number).expect("it is there").reply = Some(reply);
        Ok(())
    }

    /// An answer is in the process's hands.
    pub(crate) fn comes(&mut self, answer: &Answer) {
        if let Some(token) = token_of(answer) {
            self.brought.insert(token);
        }
    }

    /// What an exchange brought is somewhere once it is over.
    pub(crate) fn is_safe(&self, answer: &Answer) -> Check {
        let token = token_of(answer);
        let safe = token.as_ref().is_none_or(|token| self.store.holds(token));
        ensure(safe, "no-answer-dropped", || format!("{token:?}"))
    }

    fn trouble(&mut self) -> Check {
        if self.calm {
            return Ok(());
        }
        let wait = self.rng.millis(1000, 200_000);
        self.schedule(wait, Happening::Trouble);
        match self.rng.below(10) {
            0..=3 => {
                self.count("killed");
                self.end_process()?;
                if self.rng.percent(30) {
                    self.boots += 1;
                }
            }
            4 | 5 => self.failing_commits = u32::try_from(1 + self.rng.below(6)).expect("a few"),
            6 => {
                self.full = true;
                let wait = self.rng.millis(1000, 300_000);
                self.schedule(wait, Happening::Freed);
            }
            7 => {
                self.configured = false;
                let wait = self.rng.millis(1000, 300_000);
                self.schedule(wait, Happening::Configured);
            }
            8 => self.copied = Some(self.store.clone()),
            _ => self.put_back()?,
        }
        Ok(())
    }

    /// A backup takes the place of the store.
    fn put_back(&mut self) -> Check {
        let Some(copy) = self.copied.take() else {
            return Ok(());
        };
        self.end_process()?;
        self.count("put back");
        self.note(|| "the store is put back".to_owned());
        self.store = copy;
        self.store.fenced = true;
        // What came since the backup went with it, and what was asked may be asked again.
        let held = |token: &String| self.store.holds(token);
        self.brought.retain(held);
        Ok(())
    }

    pub(crate) fn end_process(&mut self) -> Check {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        self.incarnation += 1;
        self.settle_ghost()?;
        // What was in memory alone is lost, as the table of losses has it.
        let held = |token: &String| self.store.holds(token);
        let before = self.brought.len();
        let brought = std::mem::take(&mut self.brought);
        self.brought = brought.into_iter().filter(held).collect();
        for _ in self.brought.len()..before {
            self.count("lost to a kill");
        }
        drop(process);
        let wait = self.rng.millis(500, 20_000);
        self.schedule(wait, Happening::Start);
        Ok(())
    }

    /// What the last commit left counts, or does not.
    fn settle_ghost(&mut self) -> Check {
        let Some((after, writes)) = self.ghost.take() else {
            return Ok(());
        };
        self.failing_commits = 0;
        if after != self.store.commit_seq || self.rng.percent(50) {
            return Ok(());
        }
        self.count("failed commits that count");
        writes.into_iter().try_for_each(|write| self.write(write))
    }

    fn start(&mut self) -> Check {
        if self.process.is_some() {
            return Ok(());
        }
        if self.full {
            self.schedule(5000, Happening::Start);
            return Ok(());
        }
        self.process = Some(Process::default());
        self.note(|| "a process starts".to_owned());
        let intents: Vec<_> = self.store.intents.values().cloned().collect();
        for intent in intents {
            if self.mutation == Some(Mutation::IntentForgotten) {
                self.store.end(intent.flight);
                continue;
            }
            self.adopt(intent)?;
        }
        self.resume()
    }

    /// As `Enroller::resume` does.
    fn resume(&mut self) -> Check {
        let fenced = self.store.fenced && self.mutation != Some(Mutation::FenceIgnored);
        let rows: Vec<Enrollment> = self
            .store
            .authorizations
            .values()
            .map(|(it, _)| it.clone())
            .collect();
        for it in rows {
            if self.process().aloft.values().any(|aloft| aloft.id == it.id) {
                continue;
            }
            if let Some(turn) = restored(&it).filter(|_| fenced) {
                self.store.turn(turn);
                self.store.commit_seq += 1;
                continue;
            }
            match (it.stage, it.via) {
                (Stage::Received, _) => self.inside(0, Inside::Present(it.id, 0)),
                (Stage::Open, Via::Device) if !fenced => {
                    self.inside(5000, Inside::Present(it.id, 0));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The refresh token in a whole answer.
fn token_of(answer: &Answer) -> Option<String> {
    let whole = answer.complete && answer.status == 200;
    let body = whole.then(|| String::from_utf8_lossy(&answer.body))?;
    let (_, rest) = body.split_once(r#""refresh_token":""#)?;
    Some(rest.split_once('"')?.0.to_owned())
}
