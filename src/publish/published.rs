//! How far what is published has come, by the metadata beside it.

use super::database::read_generations;
use super::read_meta;
use crate::config::Config;
use crate::config::active::seat_of;
use refreshd_core::{Grant, GrantId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the published files may take to be read at a start.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The highest generation that stands in the outputs of each grant. What
/// cannot be read in time (a file system that hangs) says nothing.
pub(crate) async fn published_generations(
    config: Arc<Config>,
    store_id: String,
    grants: Vec<Grant>,
) -> BTreeMap<GrantId, u64> {
    let read = tokio::task::spawn_blocking(move || {
        let mut published: BTreeMap<GrantId, u64> = BTreeMap::new();
        let files = grants.iter().filter_map(|grant| {
            let highest = published_generation(&config, &store_id, grant)?;
            Some((grant.id.clone(), highest))
        });
        let databases = config.databases.iter();
        let rows = databases.flat_map(|database| read_generations(&database.path, &store_id));
        for (id, generation) in files.chain(rows) {
            let highest = published.entry(id).or_default();
            *highest = generation.max(*highest);
        }
        published
    });
    match tokio::time::timeout(READ_LIMIT, read).await {
        Ok(Ok(published)) => published,
        Ok(Err(_)) | Err(_) => {
            tracing::error!(
                "the outputs cannot be read: whether they are ahead of the state is not known"
            );
            BTreeMap::new()
        }
    }
}

fn published_generation(config: &Config, store_id: &str, grant: &Grant) -> Option<u64> {
    let seat = seat_of(grant, config)?;
    config
        .outputs_of(&grant.name, &seat.client)
        .iter()
        .filter_map(read_meta)
        .filter(|meta| meta.store_id == store_id && meta.grant_id == grant.id)
        .map(|meta| meta.generation)
        .max()
}
