//! Typed identifiers. All are `UUIDv7` made by us, so that rows are written at the end of their index and no database
//! sequence is needed; outside they are opaque strings such as `req_018f…`.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::time::Timestamp;

/// The text is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form {0}_ and 32 hexadecimal digits")]
pub struct IdError(&'static str);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier for this instant; `random` makes it unique.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.as_millis()).unwrap_or_default();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// Wraps an identifier read from the store.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The identifier as the store keeps it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32)
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or(IdError($prefix))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

ids! {
    /// One tenant.
    DeskId = "dsk";
    /// One API key.
    KeyId = "key";
    /// One ask for one resolution.
    RequestId = "req";
    /// One reply as it came back.
    ReplyId = "rep";
    /// One rating.
    RatingId = "rat";
    /// One showing of the rating page.
    ViewId = "vie";
    /// One event of the outbox.
    EventId = "evt";
    /// One address that a desk wants its events sent to.
    WebhookId = "whk";
    /// What is done about one low score.
    FollowUpId = "fol";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back_and_refuses_another_kind() {
        let id = RequestId::new(Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        assert!(id.to_string().starts_with("req_018bcfe5"));
        assert_eq!(id.to_string().parse::<RequestId>().unwrap(), id);
        assert!(id.to_string().parse::<RatingId>().is_err());
        assert!("req_12".parse::<RequestId>().is_err());
        assert!(
            "req_018f-018f-018f-018f-018f-018f-0"
                .parse::<RequestId>()
                .is_err()
        );
    }
}
