//! Answers that authorizations keep since they could not be taken in. Each stays until it
//! has been read, or an operator drops it.

use super::{Store, find, open, turn, write};
use crate::state::error::StoreError;
use crate::state::records::from_json;
use crate::state::writer::Session;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage};
use refreshd_core::flight::ExchangeId;
use refreshd_core::kept::KeptAnswer;
use refreshd_core::ledger::authorization::{Turn, forget_answer};
use refreshd_core::secret::Secret;

/// What an authorization keeps.
pub struct OfAuthorization {
    /// The authorization.
    pub enrollment: Enrollment,
    /// The answer.
    pub kept: KeptAnswer,
    /// The code that was presented last.
    pub code: Option<Secret>,
}

impl Store {
    /// The answers that authorizations keep.
    ///
    /// # Errors
    /// When the database cannot be read or a record does not open.
    pub async fn answers_of_enrollments(&self) -> Result<Vec<OfAuthorization>, StoreError> {
        self.read(|s| {
            let mut all = Vec::new();
            for (enrollment, secrets) in with_secrets(s)? {
                let code = secrets.code;
                let of = |kept| OfAuthorization {
                    enrollment: enrollment.clone(),
                    kept,
                    code: code.clone(),
                };
                all.extend(secrets.answers.into_iter().map(of));
            }
            Ok(all)
        })
        .await
    }

    /// Lets go of an answer that an authorization keeps; `became`: the generation that was
    /// taken out of it by hand.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn forget_answer_of_enrollment(
        &self,
        flight: ExchangeId,
        became: Option<u64>,
    ) -> Result<(), StoreError> {
        self.write(move |s| {
            let keeps = |(_, secrets): &(Enrollment, Secrets)| {
                secrets.answers.iter().any(|kept| kept.flight == flight)
            };
            let all = with_secrets(s)?;
            let Some((enrollment, _)) = all.into_iter().find(keeps) else {
                return Ok(());
            };
            forget(s, enrollment.id, flight)?;
            let left = find(s, "id = ?1", enrollment.id.0)?;
            let is_last = left.is_none_or(|(_, left)| left.answers.is_empty());
            if enrollment.stage != Stage::Held || !(is_last || became.is_some()) {
                return Ok(());
            }
            let (stage, text) = match became {
                Some(_) => (
                    Stage::Done,
                    "its tokens were taken out of its answer by hand",
                ),
                None => (Stage::Refused, "its answer was dropped"),
            };
            let ended = Enrollment {
                stage,
                text: text.to_owned(),
                generation: became,
                ..enrollment
            };
            let ended = Turn {
                from: &[Stage::Held],
                to: ended,
                answer: None,
            };
            turn(s, ended).map(drop)
        })
        .await
    }
}

/// An answer has been read: what it holds is kept elsewhere.
pub(super) fn forget(
    s: &Session<'_>,
    id: EnrollmentId,
    flight: ExchangeId,
) -> Result<(), StoreError> {
    let known = find(s, "id = ?1", id.0)?;
    match known.and_then(|known| forget_answer(known, flight)) {
        Some(row) => write(s, &row),
        None => Ok(()),
    }
}

/// An earlier version kept one answer, without a number or a date.
pub(super) fn name(secrets: &mut Secrets, of: &Enrollment) {
    let nameless = |kept: &&mut KeptAnswer| kept.flight == ExchangeId([0; 16]);
    for kept in secrets.answers.iter_mut().filter(nameless) {
        kept.flight = ExchangeId(of.id.0);
        kept.answer.received = of.sent.unwrap_or(of.begun_at);
    }
}

/// A grant is taken away, and with it what its authorizations keep.
pub(in crate::state) fn forget_answers_of(s: &Session<'_>, grant: &str) -> Result<(), StoreError> {
    for (enrollment, _) in with_secrets(s)? {
        let its = enrollment.grant.as_deref() == Some(grant) && enrollment.stage.is_over();
        if its && enrollment.stage != Stage::Quarantined {
            let sql = "DELETE FROM enrollments WHERE id = ?1";
            s.conn.prepare_cached(sql)?.execute([enrollment.id.0])?;
        }
    }
    Ok(())
}

fn with_secrets(s: &Session<'_>) -> Result<Vec<(Enrollment, Secrets)>, StoreError> {
    let sql = "SELECT record, secrets FROM enrollments WHERE secrets IS NOT NULL";
    let mut statement = s.conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let enrollment: Enrollment = from_json(row, 0)?;
        let sealed: Vec<u8> = row.get(1)?;
        let secrets = open(s, &enrollment, &sealed)?;
        all.push((enrollment, secrets));
    }
    Ok(all)
}
