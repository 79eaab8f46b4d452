//! The configuration, and those who change it: a provider that wants another
//! secret, answers in another form, moves to another place; an operator who
//! follows it, sooner or later, and confirms what is to be confirmed.

use crate::audit::{Check, ensure};
use crate::world::{Happening, Inside, World};
use refreshd_core::grant::Binding;
use refreshd_core::grant::align::{self, Wanted};
use refreshd_core::grant::state::Status;
use refreshd_core::mutation::{self, Mutation};
use std::collections::BTreeSet;

/// So often a daemon looks whether a paused client's secret has changed.
pub(crate) const HEALING: i64 = 30_000;

/// What is configured about one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) secret: u32,
    /// The form of answers that its description tells.
    pub(crate) form: usize,
    /// Where its token endpoint is.
    pub(crate) home: u32,
}

/// A configuration, on disk or in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) clients: Vec<Setup>,
    /// Grants that do not stand there.
    pub(crate) retired: BTreeSet<u32>,
}

/// What an operator does some time after a provider did something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Errand {
    /// Writes the new secret where the daemon reads it.
    Secret(u32),
    /// Describes the new form.
    Describe(u32),
    /// Confirms that refresh tokens may go to the new place, or takes it back.
    Confirm(u32, bool),
    /// Accepts a store that was put back.
    AcceptRestore,
    /// Puts right whatever is wrong.
    PutRight,
}

pub(crate) fn binding(home: u32) -> Binding {
    Binding {
        client_id: "client".to_owned(),
        origin: format!("https://as-{home}.example"),
    }
}

impl World {
    pub(crate) fn do_errand(&mut self, errand: Errand) -> Check {
        self.note(|_| format!("errand: {errand:?}"));
        match errand {
            Errand::Secret(lane) => {
                let secret = self.servers[lane as usize].secret;
                self.config.clients[lane as usize].secret = secret;
                self.look_after();
                Ok(())
            }
            Errand::Describe(lane) => {
                let form = self.servers[lane as usize].form;
                self.config.clients[lane as usize].form = form;
                self.reload()
            }
            Errand::Confirm(lane, true) => self.confirm(lane),
            Errand::Confirm(lane, false) => {
                let client = &mut self.config.clients[lane as usize];
                client.home = client.home.saturating_sub(1);
                self.reload()
            }
            Errand::AcceptRestore => self.accept_restore(),
            Errand::PutRight => self.put_right(),
        }
    }

    /// A provider takes another secret from now on.
    pub(crate) fn change_secret(&mut self, lane: u32, after: i64) {
        self.report.count("secrets changed");
        self.servers[lane as usize].secret += 1;
        self.schedule(after, Happening::Person(Errand::Secret(lane)));
    }

    /// A provider answers in another form from now on.
    pub(crate) fn change_form(&mut self, lane: u32, after: i64) {
        self.report.count("forms changed");
        self.servers[lane as usize].change_form();
        self.schedule(after, Happening::Person(Errand::Describe(lane)));
    }

    /// The configuration sends a client's refresh tokens somewhere else.
    pub(crate) fn move_home(&mut self, lane: u32, after: i64) -> Check {
        self.report.count("bindings changed");
        self.config.clients[lane as usize].home += 1;
        let meant = self.rng.percent(50);
        self.schedule(after, Happening::Person(Errand::Confirm(lane, meant)));
        self.reload()
    }

    /// `refreshd doctor --accept-binding` for each grant of a client that waits for it.
    fn confirm(&mut self, lane: u32) -> Check {
        let Some(now) = self.trusted() else {
            return Ok(());
        };
        let lanes = self.lanes();
        for index in (0..self.size.grants).filter(|index| index % lanes == lane) {
            let entry = self.process().scheduler.entry(index);
            let paused = entry.grant.state.status(now) == Status::Paused;
            if !paused || entry.seat.is_none() || self.store.full {
                continue;
            }
            self.report.count("bindings accepted");
            let home = self.process().config.clients[lane as usize].home;
            let state = align::accepted(
                &self.process().scheduler.entry(index).grant.state,
                binding(home),
            );
            self.commit_state(index, state);
            let family = self.family_of(index);
            self.audit.may_go(family, home);
            self.schedule_grant(index);
        }
        self.wake_now();
        Ok(())
    }

    /// The change that brings a grant in line with the configuration is committed.
    pub(crate) fn align_state(&mut self, index: u32) {
        let lane = self.lane(index);
        let process = self.process.as_ref().expect("it lives");
        if process.config.retired.contains(&index) {
            return;
        }
        let home = process.config.clients[lane as usize].home;
        let wanted = Wanted {
            configured: true,
            asks_anew: self.server(index).policy.asks_anew(),
            binding: Some(binding(home)),
        };
        let state = &process.scheduler.entry(index).grant.state;
        if let Some(change) = align::aligned(state, wanted) {
            if change.kind == "rebound" {
                // What the former endpoint asked for does not hold at another.
                self.audit.asked(index, None, true);
            }
            self.commit_state(index, change.state);
        }
    }

    /// The daemon looks whether the secret of a client that is not accepted has changed.
    pub(crate) fn heal(&mut self) -> Check {
        let changed = |world: &World, lane: u32| {
            let in_force = &world.process.as_ref().expect("it lives").config;
            let (there, here) = (&world.config.clients, &in_force.clients);
            there[lane as usize].secret != here[lane as usize].secret
        };
        let paused = self.process().rejected_clients();
        if mutation::is(Mutation::HealingForgotten) || !paused.iter().any(|l| changed(self, *l)) {
            return Ok(());
        }
        self.report.count("clients healed");
        self.reload()
    }

    /// A client is paused, or its secret changed: the daemon will look.
    pub(crate) fn look_after(&mut self) {
        for lane in 0..self.lanes() {
            self.audit.secret_stands(lane, self.now);
        }
        if self.process.is_some() {
            self.inside(HEALING, Inside::Heal);
        }
    }

    /// In the end everything is as it should be.
    fn put_right(&mut self) -> Check {
        if self.calm {
            self.schedule(3_600_000, Happening::Person(Errand::PutRight));
        }
        let wanted = (0..).zip(&self.servers);
        let news: Vec<Setup> = wanted
            .map(|(lane, server): (usize, _)| Setup {
                secret: server.secret,
                form: server.form,
                ..self.config.clients[lane]
            })
            .collect();
        let in_force = self.process.as_ref().map(|process| &process.config.clients);
        // A new secret is noticed by itself.
        let noticed = |setup: &Setup| Setup {
            secret: 0,
            ..*setup
        };
        let same =
            in_force.is_none_or(|clients| clients.iter().map(noticed).eq(news.iter().map(noticed)));
        if news != self.config.clients {
            self.config.clients = news;
            self.look_after();
        }
        if !same {
            self.reload()?;
        }
        for lane in 0..self.lanes() {
            self.confirm(lane)?;
        }
        self.accept_restore()
    }

    /// A client that waits uses the secret that has been there for a while.
    pub(crate) fn check_healed(&mut self, lane: u32, secret: u32) -> Check {
        let there = self.config.clients[lane as usize].secret;
        let paused = self.process().rejected_clients().contains(&lane);
        let since = self.audit.secret_since(lane);
        // A machine that sleeps looks late.
        let slept = self.asleep_until > 0;
        ensure(
            !paused || secret == there || self.now < since + 2 * HEALING || slept,
            "heals",
            || {
                format!(
                    "client {lane} sends secret {secret}, and {there} stands there since {since}"
                )
            },
        )
    }
}
