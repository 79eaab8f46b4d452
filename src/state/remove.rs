//! A grant is taken away for good: the only deletion of tokens that there is.

use super::enrollments::forget_answers_of;
use super::error::StoreError;
use super::intents;
use super::records::{key_of, signed};
use super::store::Store;
use super::writer::Session;
use refreshd_core::grant::Grant;

impl Store {
    /// Deletes a grant with its token set, its history, what was kept of it, and the
    /// fingerprints of what it had. What was published of it stays in the book until
    /// it is withdrawn. False: the grant has moved on, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError::UnderWay`], or when it did not become durable.
    pub async fn remove(&self, grant: &Grant) -> Result<bool, StoreError> {
        let grant = grant.clone();
        self.write(move |s| remove(s, &grant)).await
    }
}

fn remove(s: &Session<'_>, grant: &Grant) -> Result<bool, StoreError> {
    let key = key_of(&grant.id);
    if intents::is_under_way(s, key)? {
        return Err(StoreError::UnderWay(grant.name.clone()));
    }
    let gone = s
        .conn
        .prepare_cached("DELETE FROM grants WHERE key = ?1 AND id = ?2 AND revision = ?3")?
        .execute((key, &grant.id.0, signed(grant.revision)))?;
    if gone == 0 {
        return Ok(false);
    }
    for table in ["fingerprints", "events"] {
        let sql = format!("DELETE FROM {table} WHERE grant_key = ?1");
        s.conn.execute(&sql, [key])?;
    }
    for table in ["candidates", "answers"] {
        let sql = format!("DELETE FROM {table} WHERE grant_id = ?1");
        s.conn.execute(&sql, [&grant.id.0])?;
    }
    forget_answers_of(s, &grant.name)?;
    Ok(true)
}
