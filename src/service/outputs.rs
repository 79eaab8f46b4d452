//! What stands in the outputs while no daemon looks after them.

use crate::config::active::seat_of;
use crate::config::{Config, Database};
use crate::exchange::Deck;
use crate::exit::{Failure, internal};
use crate::publish::database::read_generations;
use crate::publish::reconcile::OutputReport;
use crate::publish::{View, inspect};
use crate::report::GrantReport;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::time::WallTime;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A file system that takes longer hangs, and is not waited for.
const HANGS: Duration = Duration::from_secs(5);

/// The generations in each published database.
type Generations = HashMap<PathBuf, BTreeMap<GrantId, u64>>;

/// Adds to the reports of these grants what stands in their outputs.
pub(super) async fn tell(
    reports: &mut [GrantReport],
    grants: &[&Grant],
    deck: &Deck,
    config: &Config,
) -> Result<(), Failure> {
    let now = deck.clock.wall();
    let generations = generations(deck, config).await;
    for (report, grant) in reports.iter_mut().zip(grants) {
        match outputs_of(grant, &generations, deck, config, now).await? {
            Some(outputs) => report.tell_outputs(&outputs),
            // A file system hangs.
            None => break,
        }
    }
    Ok(())
}

/// Of one grant; `None`: they cannot be looked at.
async fn outputs_of(
    grant: &Grant,
    generations: &Generations,
    deck: &Deck,
    config: &Config,
    now: WallTime,
) -> Result<Option<Vec<OutputReport>>, Failure> {
    let Some(seat) = seat_of(grant, config) else {
        return Ok(Some(Vec::new()));
    };
    let outputs = config.outputs_of(&grant.name, &seat.client);
    let rows: Vec<_> = config.databases_of(&grant.name).cloned().collect();
    if outputs.is_empty() && rows.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let loaded = deck.store.load(&grant.id).await.map_err(internal)?;
    let Some((grant, Some(tokens))) = loaded else {
        return Ok(Some(Vec::new()));
    };
    if tokens.access_token.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let view = View {
        store_id: deck.store.store_id().to_owned(),
        grant,
        tokens,
    };
    let row = |database: &Arc<Database>| {
        let here = generations.get(&database.path);
        let published = here.and_then(|here| here.get(&view.grant.id)).copied();
        inspect::row(database, &view, published)
    };
    let rows: Vec<OutputReport> = rows.iter().map(row).collect();
    let looked = tokio::task::spawn_blocking(move || {
        let files = outputs
            .iter()
            .map(|output| inspect::file(output, &view, now));
        files.chain(rows).collect()
    });
    let looked = tokio::time::timeout(HANGS, looked).await;
    Ok(looked.ok().and_then(Result::ok))
}

async fn generations(deck: &Deck, config: &Config) -> Generations {
    let databases = config.databases.clone();
    let store_id = deck.store.store_id().to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let of = |database: &Arc<Database>| {
            let path = database.path.clone();
            (path.clone(), read_generations(&path, &store_id))
        };
        databases.iter().map(of).collect()
    });
    let read = tokio::time::timeout(HANGS, read).await;
    read.ok().and_then(Result::ok).unwrap_or_default()
}
