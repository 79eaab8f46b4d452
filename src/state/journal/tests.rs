use super::region::Kind;
use super::*;
use refreshd_core::flight::Stamp;
use refreshd_core::grant::GrantId;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::secret::Fingerprint;
use refreshd_core::time::{BootTime, WallTime};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

/// The store's part in recovery: the places and flights that were committed.
type Committed = BTreeSet<((u32, u16), FlightId)>;

fn intent(flight: u8) -> Intent {
    Intent {
        flight: FlightId([flight; 16]),
        grant: GrantId("ab".repeat(16)),
        name: "shop-17".to_owned(),
        revision: 3,
        generation: 2,
        attempt: 1,
        first_sent: WallTime(1000),
        sent: Stamp {
            wall: WallTime(1000),
            boot: BootTime(5),
            boot_id: "f0e1".to_owned(),
        },
        presents: refreshd_core::grant::Presents::RefreshToken(Fingerprint([7; 16])),
        description: DescriptionHash("d1".to_owned()),
        roll: 42,
        binding: None,
    }
}

fn answer(body: &[u8]) -> Answer {
    Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_vec(),
        complete: true,
        received: WallTime(2000),
    }
}

fn open(dir: &TempDir, slots: u16, committed: &Committed) -> (Journal, Vec<Recovered>) {
    let settled = |place, flight| committed.contains(&(place, flight));
    Journal::open(dir.path(), slots, Sealer::new(&[1; 32]), &settled).unwrap()
}

fn commit(committed: &mut Committed, slot: SlotRef, flight: u8) {
    for place in slot.places() {
        committed.retain(|(p, _)| *p != place);
        committed.insert((place, FlightId([flight; 16])));
    }
}

/// Overwrites bytes of a region, as a torn write would.
fn tear(dir: &TempDir, slot: SlotRef, kind: Kind, at: u64) {
    let region = match kind {
        Kind::Intent => 0,
        Kind::Answer => BLOCK as u64,
    };
    let path = dir.path().join(files::name(slot.file()));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let start = region::offset(slot.slot()) + region + at;
    file.write_all_at(&[0xee; 16], start).unwrap();
}

#[tokio::test]
async fn hands_out_what_was_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovered) = open(&dir, 4, &Committed::new());
    assert!(recovered.is_empty());
    assert_eq!(journal.free_slots(), 4);
    let one = journal.record_intent(&intent(1)).await.unwrap();
    let two = journal.record_intent(&intent(2)).await.unwrap();
    let body = vec![b'x'; MAX_BODY];
    let kept = journal
        .record_answer(Some(two), &intent(2), &answer(&body))
        .await;
    assert_eq!(kept.unwrap(), two);
    drop(journal);

    let (journal, recovered) = open(&dir, 4, &Committed::new());
    assert_eq!(
        recovered,
        [
            Recovered {
                slot: one.doubted(),
                intent: intent(1),
                answer: None
            },
            Recovered {
                slot: two.doubted(),
                intent: intent(2),
                answer: Some(answer(&body))
            },
        ]
    );
    // They keep their slots until they are freed.
    assert_eq!(journal.free_slots(), 2);
    journal.free(one);
    journal.free(one);
    assert_eq!(journal.free_slots(), 3);
}

#[tokio::test]
async fn committed_flights_are_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 1, &Committed::new());
    let mut committed = Committed::new();
    let slot = journal.record_intent(&intent(1)).await.unwrap();
    journal
        .record_answer(Some(slot), &intent(1), &answer(b"1"))
        .await
        .unwrap();
    commit(&mut committed, slot, 1);
    drop(journal);
    let (journal, recovered) = open(&dir, 1, &committed);
    assert_eq!(recovered, []);
    assert_eq!(journal.free_slots(), 1);
}

#[tokio::test]
async fn a_reused_slot_shows_nothing_of_its_past() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 1, &Committed::new());
    let mut committed = Committed::new();
    // The first flight has an answer, the second ends in doubt, the third is under way.
    let slot = journal.record_intent(&intent(1)).await.unwrap();
    journal
        .record_answer(Some(slot), &intent(1), &answer(b"1"))
        .await
        .unwrap();
    commit(&mut committed, slot, 1);
    journal.free(slot);
    let slot = journal.record_intent(&intent(2)).await.unwrap();
    commit(&mut committed, slot, 2);
    journal.free(slot);
    let slot = journal.record_intent(&intent(3)).await.unwrap();
    drop(journal);
    let (journal, recovered) = open(&dir, 1, &committed);
    assert_eq!(
        recovered,
        [Recovered {
            slot: slot.doubted(),
            intent: intent(3),
            answer: None
        }]
    );
    drop(journal);
    // Even if the third intent was torn: the first answer is gone for good.
    tear(&dir, slot, Kind::Intent, 100);
    assert_eq!(open(&dir, 1, &committed).1, []);
}

#[tokio::test]
async fn an_answer_of_an_older_flight_beside_an_intent_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 1, &Committed::new());
    let mut committed = Committed::new();
    let slot = journal.record_intent(&intent(1)).await.unwrap();
    journal
        .record_answer(Some(slot), &intent(1), &answer(b"1"))
        .await
        .unwrap();
    commit(&mut committed, slot, 1);
    journal.free(slot);
    let path = dir.path().join(files::name(1));
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut old = vec![0; BLOCK];
    file.read_exact_at(&mut old, region::offset(0) + BLOCK as u64)
        .unwrap();
    journal.record_intent(&intent(2)).await.unwrap();
    drop(journal);
    // Of the write that made it absent, only the intent's block reached the disk.
    file.write_all_at(&old, region::offset(0) + BLOCK as u64)
        .unwrap();
    let (_, recovered) = open(&dir, 1, &committed);
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].intent, intent(2));
    assert_eq!(recovered[0].answer, None);
}

#[tokio::test]
async fn torn_regions_count_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 3, &Committed::new());
    let mut slots = Vec::new();
    for flight in 1..=3 {
        let slot = journal.record_intent(&intent(flight)).await.unwrap();
        let body = vec![flight; 9000];
        journal
            .record_answer(Some(slot), &intent(flight), &answer(&body))
            .await
            .unwrap();
        slots.push(slot);
    }
    drop(journal);
    tear(&dir, slots[0], Kind::Answer, 8000); // the body's end did not come
    tear(&dir, slots[1], Kind::Intent, 60); // the answer repeats the intent
    tear(&dir, slots[2], Kind::Intent, 0);
    tear(&dir, slots[2], Kind::Answer, 0);
    let (_, recovered) = open(&dir, 3, &Committed::new());
    assert_eq!(recovered.len(), 2);
    assert_eq!(
        (&recovered[0].intent, &recovered[0].answer),
        (&intent(1), &None)
    );
    assert_eq!(recovered[1].intent, intent(2));
    assert_eq!(recovered[1].answer, Some(answer(&[2; 9000])));
}

#[tokio::test]
async fn a_late_answer_has_a_place_though_no_slot_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 2, &Committed::new());
    let overdue = journal.record_intent(&intent(1)).await.unwrap();
    journal.record_intent(&intent(2)).await.unwrap();
    assert_eq!(journal.free_slots(), 0);
    let late = journal
        .record_answer(Some(overdue), &intent(1), &answer(b"late"))
        .await
        .unwrap();
    assert_eq!(late, overdue);
    drop(journal);
    let (_, recovered) = open(&dir, 2, &Committed::new());
    assert_eq!(recovered.len(), 2);
    assert_eq!(recovered[0].answer, Some(answer(b"late")));
}

#[tokio::test]
async fn a_file_given_up_leaves_a_slot_in_the_next_for_each_answer_that_may_come() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 2, &Committed::new());
    let before = journal.record_intent(&intent(1)).await.unwrap();
    journal.fail_syncs(1);
    journal.record_intent(&intent(2)).await.unwrap_err();
    // One of two is kept for the first flight's answer, whoever asks meanwhile.
    assert_eq!(journal.free_slots(), 1);
    journal.record_intent(&intent(3)).await.unwrap();
    let full = journal.record_intent(&intent(4)).await;
    assert!(matches!(full, Err(JournalError::NoSlot)));
    let moved = journal
        .record_answer(Some(before), &intent(1), &answer(b"a"))
        .await
        .unwrap();
    assert_eq!((moved.file(), journal.free_slots()), (2, 0));
    journal.free(moved);
    assert_eq!(journal.free_slots(), 1);
}

#[tokio::test]
async fn an_answer_that_may_stand_somewhere_is_settled_there_too() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 2, &Committed::new());
    let before = journal.record_intent(&intent(1)).await.unwrap();
    journal.fail_syncs(1);
    let failed = journal.record_intent(&intent(2)).await.unwrap_err();
    assert_eq!(failed.place().map(SlotRef::file), Some(1));
    // The answer goes to the second file, whose sync fails as well.
    journal.fail_syncs(1);
    let failed = journal
        .record_answer(Some(before), &intent(1), &answer(b"a"))
        .await
        .unwrap_err();
    let place = failed.place().unwrap();
    let files: Vec<u32> = place.places().map(|(file, _)| file).collect();
    assert_eq!(files, [2, 1]);
    drop(journal);
    // Its bytes came through all the same: known by the old place alone, it would
    // be adopted a second time.
    let mut committed = Committed::new();
    commit(&mut committed, before, 1);
    assert_eq!(open(&dir, 2, &committed).1.len(), 1);
    commit(&mut committed, place, 1);
    assert_eq!(open(&dir, 2, &committed).1, []);
}

#[tokio::test]
async fn refuses_a_flight_too_many_and_shares_the_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 2, &Committed::new());
    let (first, second, third) = (intent(1), intent(2), intent(3));
    let (a, b, c) = tokio::join!(
        journal.record_intent(&first),
        journal.record_intent(&second),
        journal.record_intent(&third)
    );
    assert_ne!(a.unwrap(), b.unwrap());
    assert!(matches!(c, Err(JournalError::NoSlot)));
}

#[tokio::test]
async fn an_answer_over_the_cap_is_kept_as_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 1, &Committed::new());
    let mut large = answer(&vec![b'x'; MAX_BODY + 1]);
    large.headers.push(("date".to_owned(), "é".repeat(60_000)));
    journal
        .record_answer(None, &intent(1), &large)
        .await
        .unwrap();
    drop(journal);
    let (_, recovered) = open(&dir, 1, &Committed::new());
    let kept = recovered[0].answer.as_ref().unwrap();
    assert_eq!(kept.body.len(), MAX_BODY);
    assert!(!kept.complete);
}

#[tokio::test]
async fn the_slot_count_may_change() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 2, &Committed::new());
    let slot = journal.record_intent(&intent(1)).await.unwrap();
    drop(journal);
    let mut committed = Committed::new();
    let (journal, recovered) = open(&dir, 5, &committed);
    assert_eq!(recovered[0].slot, slot.doubted());
    assert_eq!(journal.free_slots(), 5);
    assert_eq!(journal.files(), [1, 2]);
    // The answer to a flight of the old file goes to the new one.
    let moved = journal
        .record_answer(Some(slot), &intent(1), &answer(b"a"))
        .await
        .unwrap();
    assert_eq!(moved.file(), 2);
    drop(journal);
    let (journal, recovered) = open(&dir, 5, &committed);
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].answer, Some(answer(b"a")));
    assert_eq!(journal.free_slots(), 4);
    commit(&mut committed, recovered[0].slot, 1);
    journal.free(recovered[0].slot);
    assert_eq!(journal.free_slots(), 5);
    drop(journal);
    let (journal, recovered) = open(&dir, 1, &committed);
    assert_eq!(recovered, []);
    assert_eq!(journal.files(), [3]);
    assert_eq!(files::list(&Directory::new(dir.path())).unwrap(), [3]);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_counts_and_a_new_file_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 3, &Committed::new());
    let before = journal.record_intent(&intent(1)).await.unwrap();
    journal.fail_syncs(1);
    let failed = journal.record_intent(&intent(2)).await;
    assert!(matches!(failed, Err(JournalError::Io { .. })));
    assert_eq!(files::list(&Directory::new(dir.path())).unwrap(), [1, 2]);
    assert_eq!(journal.free_slots(), 2);
    let after = journal.record_intent(&intent(3)).await.unwrap();
    assert_eq!(after.file(), 2);
    // A flight that is under way goes on in the new file.
    let moved = journal
        .record_answer(Some(before), &intent(1), &answer(b"a"))
        .await
        .unwrap();
    assert_eq!(moved.file(), 2);
    assert_eq!(journal.free_slots(), 1);
    drop(journal);

    let mut committed = Committed::new();
    let (journal, recovered) = open(&dir, 3, &committed);
    let flights: Vec<_> = recovered
        .iter()
        .map(|r| (r.intent.flight.0[0], r.answer.is_some()))
        .collect();
    assert_eq!(flights, [(1, true), (3, false)]);
    for found in &recovered {
        commit(&mut committed, found.slot, found.intent.flight.0[0]);
        journal.free(found.slot);
    }
    drop(journal);
    assert_eq!(open(&dir, 3, &committed).1, []);
    assert_eq!(files::list(&Directory::new(dir.path())).unwrap(), [2]);
}

#[tokio::test]
async fn without_a_new_file_no_slot_is_free_until_one_can_be_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 2, &Committed::new());
    journal.fail_syncs(u32::MAX); // the sync, and the making of each next file
    journal.record_intent(&intent(1)).await.unwrap_err();
    assert_eq!(journal.free_slots(), 0);
    // The thread tries again by itself, and so does the next record.
    journal.fail_syncs(0);
    let slot = journal.record_intent(&intent(2)).await.unwrap();
    assert_eq!(slot.file(), 2);
    assert_eq!(journal.free_slots(), 1);
}

#[tokio::test]
async fn another_key_or_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, 1, &Committed::new());
    journal.record_intent(&intent(1)).await.unwrap();
    drop(journal);
    let other = Journal::open(dir.path(), 1, Sealer::new(&[2; 32]), &|_, _| false);
    assert!(matches!(
        other,
        Err(JournalError::Unreadable { slot: 0, .. })
    ));
    fs::write(dir.path().join(files::name(1)), "text").unwrap();
    let other = Journal::open(dir.path(), 1, Sealer::new(&[1; 32]), &|_, _| false);
    assert!(matches!(other, Err(JournalError::Foreign(_))));
}
