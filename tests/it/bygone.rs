//! What the journal holds of a generation that is over is done with for good.

use crate::setting::Setting;
use refreshd::config::KeySource;
use refreshd::state::{OpenOptions, State};
use refreshd_core::flight::{FlightId, Intent, Stamp};
use refreshd_core::grant::{Grant, Presents};
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::time::{BootTime, WallTime};

fn open(setting: &Setting) -> State {
    let options = OpenOptions {
        state_dir: &setting.house.path("state"),
        key: &KeySource::File(setting.house.path("key/key")),
        flights: 64,
    };
    State::open(&options).unwrap()
}

fn bygone(grant: &Grant) -> Intent {
    let at = WallTime(1);
    Intent {
        flight: FlightId([4; 16]),
        grant: grant.id.clone(),
        name: grant.name.clone(),
        revision: 1,
        generation: grant.state.generation - 1,
        attempt: 1,
        first_sent: at,
        sent: Stamp {
            wall: at,
            boot: BootTime(0),
            boot_id: String::new(),
        },
        presents: Presents::ClientCredentials,
        description: DescriptionHash("h".to_owned()),
        roll: 0,
        binding: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_of_a_bygone_generation_does_not_come_back() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    let state = open(&setting);
    let grant = state.store.grant_by_name("one").await.unwrap().unwrap();
    let intent = bygone(&grant);
    state.journal.record_intent(&intent).await.unwrap();
    state.close().await.unwrap();

    let daemon = setting.house.daemon();
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(open(&setting).recovered, []);
}
