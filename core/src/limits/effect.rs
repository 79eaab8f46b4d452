//! What limits say: not yet, or what must be done besides.

use crate::time::WallTime;

/// Why an exchange may not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Not before; `None`: not before some other exchange ends.
    pub until: Option<WallTime>,
    /// By what.
    pub why: Why,
}

/// What stands in the way of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// As many as may be are under way.
    Full,
    /// As many as may be are under way in this lane.
    LaneFull,
    /// The lane's breaker is open: one probe at a time.
    LaneOpen,
    /// The endpoint asked us to wait.
    LanePaused,
    /// The client is paused but for probes.
    ClientPaused,
    /// The client is not accepted for this grant, though it is for others.
    NotAccepted,
    /// The grant was refused together with many others; they probe in turn.
    Refused,
}

/// What must be done besides; for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A breaker opened: incident.
    LaneOpened {
        /// Which.
        lane: u32,
        /// When the first probe may start.
        probe_at: WallTime,
    },
    /// It closed: the incident is over.
    LaneClosed {
        /// Which.
        lane: u32,
    },
    /// An endpoint asked several grants to wait.
    LanePaused {
        /// Which.
        lane: u32,
        /// Until when.
        until: WallTime,
    },
    /// A client is paused: incident.
    ClientPaused {
        /// Which.
        client: u32,
        /// Many of its grants were refused at once; else the provider does not
        /// accept the client itself.
        mass_refusal: bool,
        /// A sentence for a person.
        reason: String,
    },
    /// This refused grant is to be presented again then, its refusal notwithstanding.
    Probe {
        /// Of this client.
        client: u32,
        /// The grant.
        grant: u32,
        /// When.
        at: WallTime,
    },
    /// The client works again: the incident is over.
    ClientResumed {
        /// Which.
        client: u32,
        /// Grants whose refusal meant nothing: to be armed again.
        rearm: Vec<u32>,
    },
    /// Other grants of the client work, and for a day these were refused whenever
    /// they probed: their refusals are meant.
    RefusalsStand {
        /// Which client.
        client: u32,
        /// The grants.
        grants: Vec<u32>,
    },
}
