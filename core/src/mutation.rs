//! Faults on purpose, to prove that the simulation finds them. Where it can, the
//! simulation falsifies what the ledger is told or what the store writes; the others
//! stand where a slip would be made. They are compiled in by the feature `mutation` alone,
//! which the daemon never enables: without it [`is`] is a constant, and the
//! compiler removes what depends on it.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutation {
    /// The request is sent, and only then its intent would be recorded.
    IntentAfterSend,
    /// What comes after the limit is thrown away.
    LateAnswerDropped,
    /// A restart takes an intent without an answer for one that was not sent.
    DoubtForgotten,
    /// What was kept of an answer is not looked at again.
    AnswerForgotten,
    /// A settlement is committed whatever the grant has become meanwhile.
    StaleApplied,
    /// A new token set gets the number of the old one.
    GenerationReused,
    /// A replay's lifetime counts from the replay, not from the first send.
    ReplayDatedFromReplay,
    /// A window counts from the end of the exchange, not from the first send.
    WindowFromAnswer,
    /// `Retry-After` is not looked at.
    RetryAfterIgnored,
    /// A refused refresh token is presented again.
    RefusalForgotten,
    /// No least time between two sends.
    GapDropped,
    /// A young access token is replaced all the same.
    LeastAgeIgnored,
    /// A token in doubt is presented where that may revoke the family.
    HoldIgnored,
    /// A token in doubt is presented though the client could ask anew.
    ReplayWhereAnew,
    /// Ready grants go first come, first served.
    FirstComeFirstServed,
    /// More exchanges are under way than may be.
    CapIgnored,
    /// A wall clock that steps back is followed.
    ClockStepTrusted,
    /// The simulated shell: an intent that could not be committed counts as recorded.
    FailedBeginIgnored,
    /// The simulated shell: an intent is gone as soon as its request has left.
    IntentEndedEarly,
    /// The simulated shell: an intent stays when its exchange has been settled.
    IntentLeft,
    /// The simulated shell: outputs follow before the commit.
    PublishBeforeDurable,
    /// The simulated shell: what comes too late to be current is not kept.
    CandidateDropped,
    /// A grant with an exchange under way starts another.
    TwoFlights,
    /// A store that was put back refreshes.
    FenceIgnored,
    /// A wish to replace an older token set starts an exchange.
    StaleWishGranted,
    /// A consumer's word that its access token is dead does not end the hold.
    RejectionForgotten,
    /// A store that was put back goes on with its own generations.
    RestoreBelowPublished,
    /// Refresh tokens of a store that was put back count as good.
    RestoreUndoubted,
    /// A refresh token that another grant has had is taken in.
    TwinTaken,
    /// A token set that was imported before is imported again.
    SeedTakenAgain,
    /// A refresh token goes to whatever client and origin is configured.
    BindingFollowed,
    /// An answer that cannot be read is not kept.
    UnreadDropped,
    /// The old refresh token is presented while a kept answer may hold its successor.
    KeptAnswerRisked,
    /// More refreshes are made than the provider allows in a time.
    WindowCapIgnored,
    /// A client whose secret was changed goes on with the old one.
    HealingForgotten,
    /// An accepted clock leaves times in the state that lie ahead of it.
    ClockNotBroughtBack,
    /// A refused grant tries what exchanges of an earlier authorization brought.
    ChanceOfAnother,
    /// The simulated shell: `get` does not wait for an exchange that ends the old access token.
    SuspectServed,
    /// An answer goes with the grant to whom that has been bound since it was asked for.
    AnswerBoundAnew,
    /// An exchange keeps the date that it was given by a clock which has been set back.
    FlightNotReckoned,
    /// Breakers and pauses wait by a clock that has been set back.
    LimitsNotBroughtBack,
    /// What was kept beside a store that was put back is tried as if it were new.
    RelicTrusted,
    /// A grant does not get to know of a request whose answer comes too late for it.
    SupersededForgotten,
    /// The chain asks the same dead grant again and again.
    ChainAlwaysSame,
    /// First attempts are held though asking can do no harm.
    HarmlessHeld,
    /// A dead token is asked for under a brake as if there were something to save in time.
    DeadHaveFirstAttempts,
    /// Under a brake a grant is asked once, and not at its last moment again.
    OneAttemptOnly,
    /// A success refutes what began after it.
    EvidenceByEnd,
    /// A slow exchange gives its place to its own host too.
    GivingBackFreesOwn,
    /// Exchanges without an answer are read on, however many they are.
    ReadOnUncapped,
    /// A refused refresh token is presented after each success of another.
    RefusedRetriedForEver,
    /// The simulated shell: all hosts of a template are one.
    UnitIsTemplate,
    /// A client that is not accepted is suspected at each retry for the same grant.
    SuspicionAtEachRetry,
    /// Where a brake blocks a grant, the timer of its token's end is overwritten.
    EndTimerOverwritten,
    /// Refused refresh tokens count against their client.
    RefusalsPauseClient,
    /// One grant for which its client is not accepted suffices for the others to wait.
    OneRejectionPausesClient,
    /// A provider that cannot for now is asked again after a quarter of an hour.
    UnavailableIsSlow,
    /// Exchanges without an answer keep their places until they are in doubt.
    HangingKeepPlaces,
    /// Who had a turn after a success comes before those who had none.
    TurnsForgotten,
    /// What was kept is presented where the grant is bound, whoever it came of.
    ChanceElsewhere,
    /// What is on its way to its first byte leaves, though its window is over.
    WindowNotLookedAtAgain,
    /// After a restore, answers to the refresh token that the grant has are not read.
    RenamedForgotten,
}

/// All but those of the brakes.
#[cfg(feature = "mutation")]
pub const ALL: [Mutation; 46] = [
    Mutation::IntentAfterSend,
    Mutation::LateAnswerDropped,
    Mutation::DoubtForgotten,
    Mutation::AnswerForgotten,
    Mutation::StaleApplied,
    Mutation::GenerationReused,
    Mutation::ReplayDatedFromReplay,
    Mutation::WindowFromAnswer,
    Mutation::RetryAfterIgnored,
    Mutation::RefusalForgotten,
    Mutation::GapDropped,
    Mutation::LeastAgeIgnored,
    Mutation::HoldIgnored,
    Mutation::ReplayWhereAnew,
    Mutation::FirstComeFirstServed,
    Mutation::CapIgnored,
    Mutation::ClockStepTrusted,
    Mutation::FailedBeginIgnored,
    Mutation::IntentEndedEarly,
    Mutation::IntentLeft,
    Mutation::PublishBeforeDurable,
    Mutation::CandidateDropped,
    Mutation::TwoFlights,
    Mutation::FenceIgnored,
    Mutation::StaleWishGranted,
    Mutation::RejectionForgotten,
    Mutation::RestoreBelowPublished,
    Mutation::RestoreUndoubted,
    Mutation::TwinTaken,
    Mutation::SeedTakenAgain,
    Mutation::BindingFollowed,
    Mutation::UnreadDropped,
    Mutation::KeptAnswerRisked,
    Mutation::WindowCapIgnored,
    Mutation::HealingForgotten,
    Mutation::ClockNotBroughtBack,
    Mutation::ChanceOfAnother,
    Mutation::SuspectServed,
    Mutation::AnswerBoundAnew,
    Mutation::FlightNotReckoned,
    Mutation::LimitsNotBroughtBack,
    Mutation::RelicTrusted,
    Mutation::SupersededForgotten,
    Mutation::ChanceElsewhere,
    Mutation::WindowNotLookedAtAgain,
    Mutation::RenamedForgotten,
];

/// Those of the brakes: a world of its own finds them.
#[cfg(feature = "mutation")]
pub const BRAKES: [Mutation; 16] = [
    Mutation::ChainAlwaysSame,
    Mutation::HarmlessHeld,
    Mutation::DeadHaveFirstAttempts,
    Mutation::OneAttemptOnly,
    Mutation::EvidenceByEnd,
    Mutation::GivingBackFreesOwn,
    Mutation::ReadOnUncapped,
    Mutation::RefusedRetriedForEver,
    Mutation::UnitIsTemplate,
    Mutation::SuspicionAtEachRetry,
    Mutation::EndTimerOverwritten,
    Mutation::RefusalsPauseClient,
    Mutation::OneRejectionPausesClient,
    Mutation::UnavailableIsSlow,
    Mutation::HangingKeepPlaces,
    Mutation::TurnsForgotten,
];

#[cfg(feature = "mutation")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Does this wrong from now on, in this thread.
#[cfg(feature = "mutation")]
pub fn set(mutation: Option<Mutation>) {
    ON.set(mutation);
}

/// Whether that is to be done wrong.
#[cfg(feature = "mutation")]
#[must_use]
pub fn is(mutation: Mutation) -> bool {
    ON.get() == Some(mutation)
}

/// Whether that is to be done wrong: never.
#[cfg(not(feature = "mutation"))]
#[inline(always)]
#[must_use]
pub const fn is(_: Mutation) -> bool {
    false
}
