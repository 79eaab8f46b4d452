//! Killed by strace at a chosen write: in the middle of a transaction, and in
//! the middle of a checkpoint. That it was there is read from the files.

use super::place::{Place, SHOPS};
use super::readers::{Reader, Tokens, distinct, read_on};
use super::{BOTH, rotate_and_see};
use crate::support::wait_for;
use std::fs;
use std::path::Path;

/// What stands in a `-wal` behind the last commit.
#[derive(Debug, PartialEq, Eq)]
struct Unfinished {
    frames: usize,
    bytes: usize,
}

/// Reads a `-wal` as <https://sqlite.org/fileformat2.html#walformat> has it.
fn unfinished(database: &Path) -> Unfinished {
    let wal = fs::read(format!("{}-wal", database.display())).unwrap();
    let number = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().unwrap());
    if wal.len() < 32 {
        let (frames, bytes) = (0, wal.len());
        return Unfinished { frames, bytes };
    }
    assert_eq!(number(0) & !1, 0x377f_0682, "the magic number");
    let frame = 24 + number(8) as usize;
    let (mut at, mut frames) = (32, 0);
    while at + frame <= wal.len() {
        // The size of the database after a commit, else 0.
        frames = if number(at + 4) == 0 { frames + 1 } else { 0 };
        at += frame;
    }
    let bytes = wal.len() - at;
    Unfinished { frames, bytes }
}

/// A daemon that is killed at its `nth` write to a file.
fn doomed(place: &Place, file: &Path, nth: usize) -> crate::support::Daemon {
    let trace = place.setting.house.path("trace").display().to_string();
    let inject = format!("inject=write,pwrite64:signal=KILL:when={nth}");
    let file = file.display().to_string();
    place.setting.house.daemon_under(&[
        // The daemon stays our child, so that its end is seen and it ends with us.
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        &trace,
        "-e",
        "trace=write,pwrite64",
        "-e",
        &inject,
        "-P",
        &file,
    ])
}

/// A daemon whose locks on the database take their time.
fn slow(place: &Place) -> crate::support::Daemon {
    let trace = place.setting.house.path("trace").display().to_string();
    let files = ["", "-wal", "-shm"].map(|end| format!("{}{end}", place.database().display()));
    let mut args = vec![
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        &trace,
        "-e",
        "trace=fcntl",
    ];
    args.extend(["-e", "inject=fcntl:delay_exit=20000"]);
    for file in &files {
        args.extend(["-P", file]);
    }
    place.setting.house.daemon_under(&args)
}

/// SQLite makes the `-shm` anew at a start, and for a moment it is of no use to
/// readers, who cannot mend it themselves. strace makes the moment long.
#[test]
fn a_start_that_takes_its_time_keeps_readers_waiting_at_most() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    let tokens = Tokens::default();
    // They look for it before it is made, ...
    let early = readers(&place, &tokens);
    let daemon = slow(&place);
    for grant in BOTH {
        place.setting.import(grant);
    }
    read_on(&early);
    for reader in early {
        reader.end();
    }
    // ... while nobody has it in use, and while somebody has.
    assert_eq!(daemon.stop(), Some(0));
    let readers = readers(&place, &tokens);
    for made_anew in [true, false] {
        read_on(&readers);
        let daemon = slow(&place);
        let locks = fs::read_to_string(place.setting.house.path("trace")).unwrap();
        let alone = "F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=128,";
        assert_eq!(locks.contains(alone), made_anew, "{locks}");
        read_on(&readers);
        daemon.kill();
    }
    for reader in readers {
        reader.end();
    }
}

fn readers(place: &Place, tokens: &Tokens) -> Vec<Reader> {
    let path = place.database();
    let mut readers: Vec<Reader> = ["fresh", "kept"]
        .map(|how| Reader::python(how, &path, tokens))
        .into();
    readers.push(Reader::tool(&path, tokens));
    readers
}

#[test]
fn a_kill_in_mid_transaction_shows_readers_the_old_row_and_then_the_new() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    let mut daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    let wal = format!("{}-wal", place.database().display());
    let tokens = Tokens::default();
    let mut left = Vec::new();
    // Header of the -wal, then header and page of each frame: each write once.
    for nth in 2..=5 {
        // Nothing stands in the -wal yet.
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(fs::metadata(&wal).unwrap().len(), 0);
        let readers = readers(&place, &tokens);
        read_on(&readers);
        let before = place.rows();
        daemon = doomed(&place, Path::new(&wal), nth);
        let idle = Reader::python("idle", &place.database(), &tokens);
        read_on(std::slice::from_ref(&idle));
        let args = ["refresh", "shop-1", "--force"];
        let refreshing = place.setting.begin(&args);
        assert_eq!(daemon.wait_for_signal(), Some(9), "write {nth} never came");
        place.setting.end(&args, refreshing);
        left.push(unfinished(&place.database()));
        read_on(&readers);
        assert!(readers.iter().all(|r| r.newest("shop-1") == before[0].1));

        daemon = place.setting.house.daemon();
        // Ready, so it is there; nobody had to refresh again.
        assert_eq!(place.generation("shop-1"), before[0].1 + 1);
        assert_eq!(place.rows()[0].1, before[0].1 + 1);
        rotate_and_see(&place, &readers, 1);
        for reader in readers.into_iter().chain([idle]) {
            reader.end();
        }
    }
    assert_eq!(daemon.stop(), Some(0));
    let (nothing, header) = (0, 24);
    let frames = |frames, bytes| Unfinished { frames, bytes };
    // Before a frame; in it; behind one that no commit follows; in the commit itself.
    let expected = [
        frames(0, nothing),
        frames(0, header),
        frames(1, nothing),
        frames(1, header),
    ];
    assert_eq!(left, expected);
    place.all_work(&distinct(&tokens));
}

#[test]
fn a_kill_in_mid_checkpoint_costs_readers_nothing() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    assert_eq!(daemon.stop(), Some(0));
    let tokens = Tokens::default();
    for nth in 1..=2 {
        let database = place.database();
        // No idle one, which would keep the checkpoint from the database.
        let readers = readers(&place, &tokens);
        let daemon = doomed(&place, &database, nth);
        place.rotate("shop-1");
        wait_for("the row", || {
            place.rows()[0].1 == place.generation("shop-1")
        });
        let published = place.rows();
        let before = fs::read(&database).unwrap();
        daemon.signal("TERM");
        assert_eq!(daemon.wait_for_signal(), Some(9), "write {nth} never came");
        // One page was copied, another was to follow.
        assert_eq!(fs::read(&database).unwrap() != before, nth == 2);
        assert_eq!(place.rows(), published);
        read_on(&readers);
        let daemon = place.setting.house.daemon();
        rotate_and_see(&place, &readers, 1);
        for reader in readers {
            reader.end();
        }
        assert_eq!(daemon.stop(), Some(0));
    }
    place.all_work(&distinct(&tokens));
}
