//! What can be wrong.

/// Defines [`Kind`] by a table: what each is, its name, its word, and whether it is an
/// `error`, which does not end by itself or leaves something unserved meanwhile, or a mere
/// `warning`.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $word:literal $weight:ident,)*) => {
        /// What is wrong. The list is closed: each word stands in logs, in `status --json`
        /// and in the store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// One word, the same everywhere.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Kind::$name => $word,)*
                }
            }

            /// Whether it is an error, and no mere warning.
            #[must_use]
            pub fn is_grave(self) -> bool {
                match self {
                    $(Kind::$name => kinds!($weight),)*
                }
            }
        }
    };
    (error) => { true };
    (warning) => { false };
}

kinds! {
    /// A grant: an exchange ended without an answer that could be read.
    InDoubt: "in-doubt" warning,
    /// A grant: an answer came that could not be read; its bytes are kept.
    Unread: "unread" warning,
    /// A grant: its access token may be dead before its expiry.
    Suspect: "suspect" warning,
    /// A grant: the provider refused its refresh token.
    Refused: "refused" error,
    /// A grant: its refresh token has outlived its life.
    RefreshTokenOver: "refresh-token-over" error,
    /// A grant: a person must authorize again before a certain day.
    NeedsAuthorization: "needs-authorization" warning,
    /// A grant: its client or token endpoint changed, and nobody has confirmed it.
    BindingChanged: "binding-changed" error,
    /// A grant: its access token is over, and the tries to replace it fail.
    Expired: "expired" error,
    /// A grant: the provider gave it a refresh token that another grant has had.
    DuplicateRefreshToken: "duplicate-refresh-token" error,
    /// A grant: a refresh could not even begin.
    NotStarted: "not-started" error,
    /// A grant: what an exchange brought is in memory, since the database does not take it.
    NotSaved: "not-saved" error,
    /// A client: its provider does not accept it.
    ClientNotAccepted: "client-not-accepted" error,
    /// A client: many of its grants were refused at once.
    MassRefusal: "mass-refusal" error,
    /// An endpoint: exchanges in a row got no answer.
    EndpointFailing: "endpoint-failing" error,
    /// An output cannot be written.
    OutputFailing: "output-failing" warning,
    /// An output was overwritten or replaced by somebody else.
    ForeignWrite: "foreign-write" warning,
    /// The state was put back or copied; nothing is refreshed.
    Fenced: "fenced" error,
    /// The system's wall clock was set back and is not followed.
    ClockDistrusted: "clock-distrusted" error,
    /// The database cannot be written; nothing is refreshed.
    StoreUnwritable: "store-unwritable" error,
    /// The database does not pass SQLite's check.
    DatabaseDamaged: "database-damaged" error,
    /// The last backup by the configuration was not made.
    BackupFailed: "backup-failed" error,
    /// The configuration is broken; the last sound one is in force.
    ConfigurationBroken: "configuration-broken" error,
    /// Few file descriptors are left.
    DescriptorsScarce: "descriptors-scarce" error,
}

impl Kind {
    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.word() == word)
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

const _: () = assert!(Kind::ALL.len() <= 32, "each has a bit");

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
        Kind::ALL.iter().copied().filter(here)
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
