//! Holds what the servers saw against what the daemon may do.

use super::kinds::{Kind, LONGEST_DELAY};
use sandbox::{Presentation, Verdict};
use std::collections::BTreeMap;
use std::time::Instant;

/// How much later than the daemon a server may think that an access token ends:
/// the daemon counts from before the intent is durable, the server from the
/// exchange, and the machine may be busy.
const SKEW_MS: i64 = LONGEST_DELAY.as_millis() as i64 + 800;
/// From the server's answer to its durable record, on a busy machine.
const TO_DISK_MS: u64 = 1500;

/// Nothing was presented that the rotation of this server forbids.
pub fn judge_presentations(kind: &Kind) {
    let entries = kind.server.presentations();
    for entry in &entries {
        let allowed = match entry.verdict {
            Verdict::Issued | Verdict::Replayed => true,
            Verdict::Void | Verdict::Reused | Verdict::Dead => !kind.forgives(),
            _ => false,
        };
        assert!(allowed, "{}: {entry:?}", kind.name);
    }
    if !kind.forgives() && kind.rotation.reuse == sandbox::Reuse::Revokes {
        judge_repeats(kind, &entries);
    }
}

/// A refresh token whose reuse revokes is presented again at most once while
/// there is a living access token to lose, and then in its last moments.
fn judge_repeats(kind: &Kind, entries: &[Presentation]) {
    let mut presented: BTreeMap<_, Vec<&Presentation>> = BTreeMap::new();
    for entry in entries {
        let token = (entry.grant.clone(), entry.refresh);
        presented.entry(token).or_default().push(entry);
    }
    let last_moments = i64::try_from(kind.lifetime.as_millis()).unwrap() / 4;
    for (token, presentations) in presented {
        let left = |entry: &&Presentation| entry.access_left_ms.unwrap_or(0);
        let costly: Vec<i64> = presentations[1..]
            .iter()
            .map(left)
            .filter(|left| *left > SKEW_MS)
            .collect();
        assert!(
            costly.len() <= 1 && costly.iter().all(|left| *left <= last_moments + SKEW_MS),
            "{token:?} was presented again with {costly:?} ms of access left: {presentations:?}"
        );
    }
}

/// A family is lost only where the server had rotated and a kill came before
/// the answer was on disk.
pub fn judge_loss(kind: &Kind, family: &str, kills: &[Instant]) {
    let entries = kind.server.presentations();
    let of_family: Vec<&Presentation> = entries
        .iter()
        .filter(|entry| entry.grant.as_deref() == Some(family))
        .collect();
    assert!(
        !kind.forgives(),
        "{family} was lost though nothing can be lost there: {:?}",
        &of_family[of_family.len().saturating_sub(4)..]
    );
    let refused = of_family
        .iter()
        .find(|e| matches!(e.verdict, Verdict::Void | Verdict::Reused))
        .unwrap_or_else(|| panic!("{family} is given up, and the server never refused it"));
    let rotated = of_family
        .iter()
        .find(|e| e.refresh == refused.refresh && e.verdict == Verdict::Issued)
        .expect("a void token was exchanged once");
    let until = rotated.at_ms + u64::try_from(LONGEST_DELAY.as_millis()).unwrap() + TO_DISK_MS;
    let excused = kills
        .iter()
        .map(|kill| kind.millis_at(*kill))
        .any(|kill| (rotated.at_ms..until).contains(&kill));
    assert!(
        excused,
        "{family} was lost without a kill: {rotated:?} {refused:?}"
    );
}
