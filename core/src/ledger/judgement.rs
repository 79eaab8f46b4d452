//! Which token sets from outside are taken in: one refresh token belongs to one
//! grant, and nothing that is newer is given up by a slip.

use crate::grant::GrantState;
use crate::time::WallTime;

/// Whose a token set is that is brought: who has had its refresh token before, in
/// any generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Nobody.
    Nobody,
    /// The grant that it is brought for.
    Same,
    /// Another.
    Other,
}

/// The grant that it is brought for, as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present<'a> {
    /// Its state.
    pub state: &'a GrantState,
    /// Whether the grant is the same client's.
    pub same_client: bool,
    /// Whether a refresh token would be given up for none.
    pub gives_up_refresh: bool,
    /// Whether the current token set is brought with something else beside it.
    pub mends: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It makes a grant.
    Create,
    /// It is another authorization of the grant.
    Reauthorize,
    /// The grant has had it: nothing is done.
    Unchanged,
    /// Refused: two grants that refresh one token would cut each other off.
    OtherGrant,
    /// Refused: the grant is another client's.
    OtherClient,
    /// Refused: what is there is newer.
    Older,
    /// Refused: nothing would be left to refresh.
    NothingToRefresh,
}

/// Whether a token set is taken in. `replace`: its operator insists.
#[must_use]
pub(super) fn judge(
    whose: Whose,
    present: Option<Present<'_>>,
    obtained_at: Option<WallTime>,
    replace: bool,
) -> Judgement {
    if whose == Whose::Other {
        return Judgement::OtherGrant;
    }
    let Some(there) = present else {
        return Judgement::Create;
    };
    if !there.same_client && !replace {
        return Judgement::OtherClient;
    }
    if whose == Whose::Same && there.same_client && !there.mends {
        return Judgement::Unchanged;
    }
    let state = there.state;
    let older = |obtained: WallTime| state.generation > 0 && obtained <= state.issued_at;
    if !replace && obtained_at.is_some_and(older) {
        return Judgement::Older;
    }
    if !replace && there.gives_up_refresh {
        return Judgement::NothingToRefresh;
    }
    Judgement::Reauthorize
}

/// Whether a token set is taken in that a person has just authorized for a grant:
/// it is the newest there is. Some providers give the same refresh token again.
#[must_use]
pub(super) fn judge_authorized(whose: Whose, is_there: bool) -> Judgement {
    match (whose, is_there) {
        (Whose::Other, _) => Judgement::OtherGrant,
        (_, false) => Judgement::Create,
        (_, true) => Judgement::Reauthorize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_authorized_is_taken_in_unless_it_is_another_grant_s() {
        let of = judge_authorized;
        assert_eq!(of(Whose::Nobody, false), Judgement::Create);
        assert_eq!(of(Whose::Nobody, true), Judgement::Reauthorize);
        assert_eq!(of(Whose::Same, true), Judgement::Reauthorize);
        assert_eq!(of(Whose::Other, true), Judgement::OtherGrant);
    }

    #[test]
    fn what_is_known_is_nothing_new_and_what_is_another_s_is_refused() {
        let state = GrantState {
            generation: 2,
            issued_at: WallTime(100),
            ..GrantState::default()
        };
        let there = Present {
            state: &state,
            same_client: true,
            gives_up_refresh: false,
            mends: false,
        };
        let (older, newer) = (Some(WallTime(100)), Some(WallTime(101)));
        let of = |owner, there, at, replace| judge(owner, Some(there), at, replace);
        assert_eq!(judge(Whose::Nobody, None, None, false), Judgement::Create);
        assert_eq!(
            judge(Whose::Other, None, newer, true),
            Judgement::OtherGrant
        );
        assert_eq!(of(Whose::Same, there, newer, false), Judgement::Unchanged);
        assert_eq!(of(Whose::Same, there, newer, true), Judgement::Unchanged);
        assert_eq!(of(Whose::Nobody, there, older, false), Judgement::Older);
        assert_eq!(
            of(Whose::Nobody, there, older, true),
            Judgement::Reauthorize
        );
        assert_eq!(
            of(Whose::Nobody, there, newer, false),
            Judgement::Reauthorize
        );
        let mended = Present {
            mends: true,
            ..there
        };
        assert_eq!(of(Whose::Same, mended, newer, true), Judgement::Reauthorize);
        let bare = Present {
            gives_up_refresh: true,
            ..there
        };
        let nothing = Judgement::NothingToRefresh;
        assert_eq!(of(Whose::Nobody, bare, newer, false), nothing);
        let other = Present {
            same_client: false,
            ..there
        };
        assert_eq!(of(Whose::Same, other, newer, false), Judgement::OtherClient);
        assert_eq!(of(Whose::Same, other, newer, true), Judgement::Reauthorize);
    }
}
