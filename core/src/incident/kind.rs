//! What can be wrong.

/// What is wrong. The list is closed: each word stands in logs, in `status --json`
/// and in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A grant: an exchange ended without an answer that could be read.
    InDoubt,
    /// A grant: an answer came that could not be read; its bytes are kept.
    Unread,
    /// A grant: its access token may be dead before its expiry.
    Suspect,
    /// A grant: the provider refused its refresh token.
    Refused,
    /// A grant: its refresh token has outlived its life.
    RefreshTokenOver,
    /// A grant: a person must authorize again before a certain day.
    NeedsAuthorization,
    /// A grant: its client or token endpoint changed, and nobody has confirmed it.
    BindingChanged,
    /// A grant: its access token is over, and the tries to replace it fail.
    Expired,
    /// A grant: the provider gave it a refresh token that another grant has had.
    DuplicateRefreshToken,
    /// A grant: a refresh could not even begin.
    NotStarted,
    /// A grant: what an exchange brought is in memory, since the database does not take it.
    NotSaved,
    /// A client: its provider does not accept it.
    ClientNotAccepted,
    /// A client: many of its grants were refused at once.
    MassRefusal,
    /// An endpoint: exchanges in a row got no answer.
    EndpointFailing,
    /// An output cannot be written.
    OutputFailing,
    /// An output was overwritten or replaced by somebody else.
    ForeignWrite,
    /// The state was put back or copied; nothing is refreshed.
    Fenced,
    /// The system's wall clock was set back and is not followed.
    ClockDistrusted,
    /// The database cannot be written; nothing is refreshed.
    StoreUnwritable,
    /// The database does not pass SQLite's check.
    DatabaseDamaged,
    /// The last backup by the configuration was not made.
    BackupFailed,
    /// The configuration is broken; the last sound one is in force.
    ConfigurationBroken,
    /// Few file descriptors are left.
    DescriptorsScarce,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 23] = [
        Kind::InDoubt,
        Kind::Unread,
        Kind::Suspect,
        Kind::Refused,
        Kind::RefreshTokenOver,
        Kind::NeedsAuthorization,
        Kind::BindingChanged,
        Kind::Expired,
        Kind::DuplicateRefreshToken,
        Kind::NotStarted,
        Kind::NotSaved,
        Kind::ClientNotAccepted,
        Kind::MassRefusal,
        Kind::EndpointFailing,
        Kind::OutputFailing,
        Kind::ForeignWrite,
        Kind::Fenced,
        Kind::ClockDistrusted,
        Kind::StoreUnwritable,
        Kind::DatabaseDamaged,
        Kind::BackupFailed,
        Kind::ConfigurationBroken,
        Kind::DescriptorsScarce,
    ];

    /// One word, the same everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::InDoubt => "in-doubt",
            Kind::Unread => "unread",
            Kind::Suspect => "suspect",
            Kind::Refused => "refused",
            Kind::RefreshTokenOver => "refresh-token-over",
            Kind::NeedsAuthorization => "needs-authorization",
            Kind::BindingChanged => "binding-changed",
            Kind::Expired => "expired",
            Kind::DuplicateRefreshToken => "duplicate-refresh-token",
            Kind::NotStarted => "not-started",
            Kind::NotSaved => "not-saved",
            Kind::ClientNotAccepted => "client-not-accepted",
            Kind::MassRefusal => "mass-refusal",
            Kind::EndpointFailing => "endpoint-failing",
            Kind::OutputFailing => "output-failing",
            Kind::ForeignWrite => "foreign-write",
            Kind::Fenced => "fenced",
            Kind::ClockDistrusted => "clock-distrusted",
            Kind::StoreUnwritable => "store-unwritable",
            Kind::DatabaseDamaged => "database-damaged",
            Kind::BackupFailed => "backup-failed",
            Kind::ConfigurationBroken => "configuration-broken",
            Kind::DescriptorsScarce => "descriptors-scarce",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether it is an error, and no mere warning: it does not end by itself, or
    /// something is not served meanwhile.
    #[must_use]
    pub fn is_grave(self) -> bool {
        !matches!(
            self,
            Kind::InDoubt
                | Kind::Unread
                | Kind::Suspect
                | Kind::NeedsAuthorization
                | Kind::OutputFailing
                | Kind::ForeignWrite
        )
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Some kinds; usually none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// None.
    pub const NONE: Kinds = Kinds(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | Kinds::bit(kind))
    }

    /// These and one more, if it is so.
    #[must_use]
    pub fn with_if(self, kind: Kind, so: bool) -> Kinds {
        if so { self.with(kind) } else { self }
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(self, others: Kinds) -> Kinds {
        Kinds(self.0 & !others.0)
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & Kinds::bit(kind) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        let here = move |kind: &Kind| self.contains(*kind);
        Kind::ALL.into_iter().filter(here)
    }

    const fn bit(kind: Kind) -> u32 {
        1 << kind as u8
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Kinds::NONE, Kinds::with)
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
