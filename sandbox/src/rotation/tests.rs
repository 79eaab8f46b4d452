use super::*;
use std::time::Duration;

fn family(rotation: Rotation) -> Family {
    family_with(rotation, None, RefreshFrom::Issue)
}

fn family_with(rotation: Rotation, refresh_ms: Option<u64>, refresh_from: RefreshFrom) -> Family {
    let rules = Rules {
        rotation,
        rotates_every: 2,
        access_ms: 1000,
        refresh_ms,
        refresh_from,
    };
    Family::begin(rules, 0)
}

fn always(old_valid: OldValid, reuse: Reuse) -> Rotation {
    Rotation {
        rotates: Rotates::Always,
        old_valid,
        reuse,
        ..Rotation::default()
    }
}

fn secs(secs: u64) -> OldValid {
    OldValid::For(Duration::from_secs(secs))
}

fn rotated(pair: usize) -> Presented {
    Presented::Issued {
        pair,
        rotated: true,
    }
}

#[test]
fn a_void_token_revokes_the_family() {
    let mut f = family(always(secs(0), Reuse::Revokes));
    assert_eq!(f.present(0, 10), rotated(1));
    assert!(f.use_access(0, 11) && f.use_access(1, 11));
    assert_eq!(f.present(0, 12), Presented::Reused);
    assert_eq!(f.ended(), Some(Ended::Reuse));
    assert!(!f.use_access(0, 13) && !f.use_access(1, 13));
    assert_eq!(f.present(1, 14), Presented::Dead);
}

#[test]
fn a_void_token_is_an_error_and_nothing_else() {
    let mut f = family(always(secs(0), Reuse::Error));
    assert_eq!(f.present(0, 10), rotated(1));
    assert_eq!(f.present(0, 11), Presented::Void);
    assert!(f.use_access(1, 12));
    assert_eq!(f.present(1, 13), rotated(2));
}

#[test]
fn a_grace_window_replays_the_same_pair_and_then_closes() {
    let mut f = family(always(secs(10), Reuse::Revokes));
    assert_eq!(f.present(0, 100), rotated(1));
    assert_eq!(f.present(0, 5_000), Presented::Replayed { pair: 1 });
    // The window counts from the first presentation, not from the last.
    assert_eq!(f.present(0, 10_099), Presented::Replayed { pair: 1 });
    assert_eq!(f.present(0, 10_100), Presented::Reused);
}

#[test]
fn until_used_ends_with_the_new_access_token() {
    let mut f = family(always(OldValid::UntilUsed, Reuse::Revokes));
    assert_eq!(f.present(0, 10), rotated(1));
    // The old access token may be used meanwhile.
    assert!(f.use_access(0, 11));
    assert_eq!(f.present(0, 1_000_000), Presented::Replayed { pair: 1 });
    let mut g = f.clone();
    assert!(!g.use_access(1, 1_000_001), "it has expired");
    assert_eq!(g.present(0, 1_000_002), Presented::Replayed { pair: 1 });
    assert!(f.use_access(1, 500));
    assert_eq!(f.present(0, 501), Presented::Reused);
}

#[test]
fn until_used_ends_with_the_new_refresh_token() {
    let mut f = family(always(OldValid::UntilUsed, Reuse::Error));
    assert_eq!(f.present(0, 10), rotated(1));
    assert_eq!(f.present(1, 11), rotated(2));
    assert_eq!(f.present(0, 12), Presented::Void);
    assert_eq!(f.present(1, 13), Presented::Replayed { pair: 2 });
}

#[test]
fn until_used_has_an_end() {
    let mut f = family(Rotation {
        old_valid_max: Some(Duration::from_secs(1)),
        ..always(OldValid::UntilUsed, Reuse::Error)
    });
    assert_eq!(f.present(0, 10), rotated(1));
    assert_eq!(f.present(0, 1009), Presented::Replayed { pair: 1 });
    assert_eq!(f.present(0, 1010), Presented::Void);
}

#[test]
fn forever_gives_a_new_pair_for_any_old_token() {
    let mut f = family(always(OldValid::Forever, Reuse::Revokes));
    assert_eq!(f.present(0, 10), rotated(1));
    assert_eq!(f.present(1, 11), rotated(2));
    assert_eq!(f.present(0, 1_000_000), rotated(3));
    assert_eq!(f.present(1, 1_000_001), rotated(4));
}

#[test]
fn never_keeps_the_refresh_token() {
    let mut f = family(Rotation {
        rotates: Rotates::Never,
        ..Rotation::default()
    });
    for pair in 1..5 {
        let issued = Presented::Issued {
            pair,
            rotated: false,
        };
        assert_eq!(f.present(0, 10), issued);
        assert_eq!(f.refresh_of(pair), 0);
    }
}

#[test]
fn sometimes_rotates_every_second_time() {
    let mut f = family(Rotation::default());
    let kept = Presented::Issued {
        pair: 1,
        rotated: false,
    };
    assert_eq!(f.present(0, 10), kept);
    assert_eq!(f.present(0, 11), rotated(2));
    assert_eq!((f.newest_refresh(), f.newest_pair()), (1, 2));
    assert_eq!(f.newest_pair_of(0), Some(1));
    assert_eq!(f.present(0, 12), Presented::Reused);
}

#[test]
fn a_refresh_may_revoke_the_old_access_token() {
    let mut f = family(Rotation {
        revokes_old_access: true,
        ..always(secs(10), Reuse::Revokes)
    });
    assert!(f.use_access(0, 1));
    f.present(0, 10);
    assert!(!f.use_access(0, 11));
    f.present(0, 12);
    assert!(f.use_access(1, 13), "a replay revokes nothing");
}

#[test]
fn access_tokens_expire() {
    let mut f = family(Rotation::default());
    assert!(f.use_access(0, 999));
    assert!(!f.use_access(0, 1000));
}

#[test]
fn refresh_tokens_expire_from_issue_or_from_login() {
    let rotation = always(secs(0), Reuse::Revokes);
    let mut sliding = family_with(rotation.clone(), Some(100), RefreshFrom::Issue);
    let mut absolute = family_with(rotation, Some(100), RefreshFrom::Login);
    for f in [&mut sliding, &mut absolute] {
        assert_eq!(f.present(0, 99), rotated(1));
    }
    assert_eq!(sliding.present(1, 198), rotated(2));
    assert_eq!(absolute.present(1, 100), Presented::Expired);
    assert_eq!(absolute.ended(), None);
}

#[test]
fn killing_the_refresh_tokens_leaves_the_access_token() {
    let mut f = family(Rotation::default());
    f.end(Ended::RefreshKilled);
    assert_eq!(f.present(0, 1), Presented::Dead);
    assert!(f.use_access(0, 2));
    let mut g = family(Rotation::default());
    g.end(Ended::Withdrawn);
    assert!(!g.use_access(0, 2));
}
