//! A daemon's state while none runs: what tests read there, and what they leave.

use crate::support::House;
use refreshd::config::KeySource;
use refreshd::state::{OpenOptions, State};
use refreshd_core::flight::{ExchangeId, Intent, Stamp};
use refreshd_core::grant::{Grant, Presents};
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::time::{BootTime, WallTime};

/// Long ago.
pub(crate) const THEN: WallTime = WallTime(1);

pub(crate) fn open(house: &House) -> State {
    let options = OpenOptions {
        state_dir: &house.path("state"),
        key: &KeySource::File(house.path("key/key")),
        may_make: true,
    };
    State::open(&options).unwrap()
}

/// What was written down for the flight before a grant's last.
pub(crate) fn bygone_intent(grant: &Grant) -> Intent {
    Intent {
        flight: ExchangeId([3; 16]),
        grant: grant.id.clone(),
        name: grant.name.clone(),
        revision: 1,
        generation: grant.state.generation - 1,
        attempt: 1,
        first_sent: THEN,
        sent: Stamp {
            wall: THEN,
            boot: BootTime(0),
            boot_id: String::new(),
        },
        presents: Presents::ClientCredentials,
        description: DescriptionHash("h".to_owned()),
        roll: 0,
        binding: None,
    }
}
