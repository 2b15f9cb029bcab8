//! Labels whose values are known: enums whose variants each have the word for it in the metrics.

use std::time::Duration;

use crate::domain::fleet::WaitReason;
use crate::domain::{Denial, Entry, Permission};

/// A label with a fixed set of values.
pub trait Label: Copy {
    /// The words for all values.
    const WORDS: &'static [&'static str];

    /// The place of this value's word in [`Label::WORDS`].
    fn index(self) -> usize;

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::WORDS[self.index()]
    }
}

/// Declares an enum and the word for each of its variants.
macro_rules! label {
    (
        $(#[$meta:meta])*
        pub enum $label:ident {
            $($(#[$about:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $label {
            $($(#[$about])* $variant,)+
        }

        impl $label {
            /// The word for this value.
            pub fn as_str(self) -> &'static str {
                self.word()
            }
        }

        impl Label for $label {
            const WORDS: &'static [&'static str] = &[$($word),+];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

impl Label for Entry {
    // In the order of the enum, whose variants are the indexes; a test holds it so.
    const WORDS: &'static [&'static str] =
        &[Entry::Smtp.as_str(), Entry::Api.as_str(), Entry::Web.as_str(), Entry::Console.as_str()];

    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

impl Label for WaitReason {
    // In the order of the enum, as above.
    const WORDS: &'static [&'static str] = &[
        WaitReason::Nothing.as_str(),
        WaitReason::Acknowledgements.as_str(),
        WaitReason::SilentNode.as_str(),
        WaitReason::UnsettledEra.as_str(),
        WaitReason::Unknown.as_str(),
    ];

    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

/// The outcome of a decision, as the metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionOutcome {
    /// Allowed.
    Allowed,
    /// Denied.
    Denied(Denial),
    /// The credential was valid, and was not that of the account holder.
    NotHolder,
    /// The store could not be asked.
    Unavailable,
    /// The cookie was of no session, or of one that has ended.
    NoSession,
}

impl Label for DecisionOutcome {
    const WORDS: &'static [&'static str] = &[
        "allowed",
        Denial::Unknown.as_str(),
        Denial::Wrong.as_str(),
        Denial::Suspended.as_str(),
        Denial::Lacks(Permission::Email).as_str(),
        Denial::Throttled(Duration::ZERO).as_str(),
        "unavailable",
        "no_session",
    ];

    #[inline]
    fn index(self) -> usize {
        self.place()
    }
}

impl DecisionOutcome {
    /// The place of its word.
    pub(super) const fn place(self) -> usize {
        match self {
            DecisionOutcome::Allowed => 0,
            DecisionOutcome::Denied(Denial::Unknown) => 1,
            DecisionOutcome::Denied(Denial::Wrong) => 2,
            DecisionOutcome::Denied(Denial::Suspended) => 3,
            DecisionOutcome::Denied(Denial::Lacks(_)) | DecisionOutcome::NotHolder => 4,
            DecisionOutcome::Denied(Denial::Throttled(_)) => 5,
            DecisionOutcome::Unavailable => 6,
            DecisionOutcome::NoSession => 7,
        }
    }
}

label! {
    /// The result of a cache lookup.
    pub enum Lookup {
        /// A fresh entry decided.
        Hit = "hit",
        /// The entry had been ended by a mutation or by its age.
        Stale = "stale",
        /// The entry was verified with another secret.
        Other = "other",
        /// Absence of an entry.
        Miss = "miss",
    }
}

label! {
    /// The reason for which a check was throttled.
    pub enum ThrottledBy {
        /// Failures from its source.
        Source = "source",
        /// Failures for its username.
        Username = "username",
    }
}

label! {
    /// The outcome of a password check.
    pub enum PasswordCheck {
        /// A match.
        Right = "right",
        /// Absence of a match.
        Wrong = "wrong",
        /// Joined a check of the same that was running or waiting.
        Joined = "joined",
        /// Lack of room in the queue.
        Refused = "refused",
        /// Nobody waited for it any more.
        Abandoned = "abandoned",
        /// Made a stored form, for a new password or in place of an outdated one.
        Hashed = "hashed",
    }
}

label! {
    /// The outcome of a message that a client began to send.
    pub enum MessageOutcome {
        /// The backend took it.
        Accepted = "accepted",
        /// The backend doesn't take it: 5yz.
        Rejected = "rejected",
        /// The backend doesn't take it now: 4yz.
        Deferred = "deferred",
        /// The gateway doesn't pass it on: too large, malformed, in a loop.
        Refused = "refused",
        /// The backend was lost.
        Lost = "lost",
        /// The client was lost before its end.
        Aborted = "aborted",
    }
}

label! {
    /// A limit that a client of the SMTP entry ran into.
    pub enum SmtpLimit {
        /// Connections in all.
        Connections = "connections",
        /// Connections from one source.
        Source = "source",
        /// Connections from networks that a listener does not admit.
        Network = "network",
        /// Errors of one session.
        Errors = "errors",
        /// Failed logins of one session.
        Logins = "logins",
        /// Messages of one session.
        Messages = "messages",
        /// Recipients of one message.
        Recipients = "recipients",
        /// The size of a message, announced or real.
        Size = "size",
        /// Time.
        Time = "time",
    }
}

label! {
    /// The outcome of a recipient.
    pub enum RecipientOutcome {
        /// Accepted by a backend.
        Accepted = "accepted",
        /// Rejected for good, by its own reply or by that to the sender.
        Rejected = "rejected",
        /// Put off, by a backend or because none could be had.
        Deferred = "deferred",
    }
}

label! {
    /// A limit of the connections of clients.
    pub enum ConnectionLimit {
        /// Connections in all.
        Connections = "connections",
        /// Connections from one source.
        Source = "source",
        /// Descriptors: the rest is for operators and for connections to backends.
        Descriptors = "descriptors",
    }
}

label! {
    /// A part of a running gateway that is reloaded.
    pub enum Reloaded {
        /// The configuration.
        Configuration = "configuration",
        /// The certificate.
        Certificate = "certificate",
    }
}

label! {
    /// The outcome of a reload.
    pub enum ReloadOutcome {
        /// Success: it is in use.
        Done = "done",
        /// Failure: the old one stays in use.
        Failed = "failed",
    }
}
