//! The rules by which a desk asks or does not ask: its settings, their defaults and their bounds. What they come to for one
//! trigger is decided in the folder's other files.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::quiet::QuietHours;
use crate::domain::contact::Address;
use crate::domain::trigger::FieldError;

/// When a desk asks and when it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Rules {
    /// How often one contact is asked at most, over all channels of the desk; every one of the list holds. At most 4; none if the
    /// list is empty. The default is once in 7 days and 3 times in 30. The reason is `cap_contact`.
    pub caps: Vec<Cap>,
    /// Hours between two asks at the same address: 0 (off) to 2160, 24 by default. The reason is `cap_contact`.
    #[schema(maximum = 2160)]
    pub cooldown_hours: u32,
    /// Asks of the whole desk that fall due on one day of the desk's time zone: at most 10 million; 0, the default, is no cap. The
    /// reason is `cap_desk`.
    #[schema(maximum = 10_000_000)]
    pub daily_cap: u32,
    /// The share of resolutions that is asked about, 0 to 1; 1 by default. Decided by the conversation and the resolution, so
    /// that a repeated call is decided alike. The reason is `sampled_out`.
    pub sample_share: Share,
    /// The share of contacts that is never asked, 0 to 0.5, so that the effect of asking can be measured; 0 by default. Decided by
    /// the contact, who stays in it or out of it. The reason is `hold_out`.
    pub hold_out_share: Share,
    /// Addresses of the desk's own people, such as `sam@acme.com` or `+14155550100`, and mail domains, such as `@acme.com`. At
    /// most 500. Our own senders are internal anyway. The reason is `address_internal`.
    pub internal: Vec<String>,
    /// The countries whose telephone numbers are asked, as ISO 3166 codes such as `US`. Empty, as it is by default: those of the
    /// desk's own senders. `*` is every country. Premium-rate and shared-cost numbers are never asked. The reason is
    /// `country_not_allowed`.
    pub countries: Vec<String>,
    /// The hours in which nobody is disturbed.
    pub quiet_hours: QuietHours,
    /// Ask although the trigger says that nobody replied (`context.agent_replied` is false). The reason is `no_agent_reply`.
    pub ask_without_agent_reply: bool,
    /// Ask although the trigger says that a machine closed the conversation (`context.auto_resolved`). The reason is
    /// `auto_resolved`.
    pub ask_auto_resolved: bool,
    /// Hours after which a resolution is too old to be asked about, where `resolution` is an instant: 0 (never) to 8760, 168 by
    /// default. The reason is `window_closed`.
    #[schema(maximum = 8760)]
    pub stale_hours: u32,
}

/// So many asks in so many days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cap {
    /// Asks: 1 to 100.
    #[schema(minimum = 1, maximum = 100)]
    pub count: u32,
    /// In so many days, anywhere in time: 1 to 365.
    #[schema(minimum = 1, maximum = 365)]
    pub days: u32,
}

/// A share from 0 to 1, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schema(value_type = f64, minimum = 0, maximum = 1)]
pub struct Share(u32);

impl Share {
    /// Nothing of it.
    pub const NONE: Self = Self(0);
    /// Half of it.
    pub const HALF: Self = Self(500_000);
    /// All of it.
    pub const ALL: Self = Self(1_000_000);

    /// So many hundredths, at most all of it.
    pub const fn percent(hundredths: u32) -> Self {
        Self(if hundredths > 100 {
            1_000_000
        } else {
            hundredths * 10_000
        })
    }

    /// Whether a value that is evenly spread over all 64 bits falls into the share.
    pub const fn holds(self, even: u64) -> bool {
        even % 1_000_000 < self.0 as u64
    }
}

/// The number is not a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0 to 1")]
pub struct NoShare;

impl TryFrom<f64> for Share {
    type Error = NoShare;

    fn try_from(share: f64) -> Result<Self, NoShare> {
        if !(0.0..=1.0).contains(&share) {
            return Err(NoShare);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to a million, as was just seen"
        )]
        let millionths = (share * 1_000_000.0).round() as u32;
        Ok(Self(millionths))
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        Self::from(share.0) / 1_000_000.0
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            caps: vec![Cap { count: 1, days: 7 }, Cap { count: 3, days: 30 }],
            cooldown_hours: 24,
            daily_cap: 0,
            sample_share: Share::ALL,
            hold_out_share: Share::NONE,
            internal: Vec::new(),
            countries: Vec::new(),
            quiet_hours: QuietHours::default(),
            ask_without_agent_reply: false,
            ask_auto_resolved: false,
            stale_hours: 168,
        }
    }
}

/// The most entries of `internal`.
const INTERNAL_MAX: usize = 500;
/// The most entries of `countries`: there are fewer.
const COUNTRIES_MAX: usize = 300;
/// Every country, in the list of countries.
pub(super) const ANY_COUNTRY: &str = "*";

impl Rules {
    /// Rules that hold back nothing: for trying out, measuring and testing, where the same contact is asked all the time. What
    /// the contact wishes, and that a request is open already, still counts.
    pub fn permissive() -> Self {
        Self {
            caps: Vec::new(),
            cooldown_hours: 0,
            countries: vec![ANY_COUNTRY.to_owned()],
            quiet_hours: QuietHours::off(),
            stale_hours: 0,
            ..Self::default()
        }
    }

    /// Checks every bound. The error's field begins with `prefix`, which ends with a dot.
    pub fn check(&self, prefix: &str) -> Result<(), FieldError> {
        let wrong = |field: String, message: String| {
            Err(FieldError::new(&format!("{prefix}{field}"), message))
        };
        if self.caps.len() > 4 {
            return wrong(
                "caps".to_owned(),
                "must not have more than 4 entries".to_owned(),
            );
        }
        for (at, cap) in self.caps.iter().enumerate() {
            within(&format!("{prefix}caps[{at}].count"), cap.count, 1, 100)?;
            within(&format!("{prefix}caps[{at}].days"), cap.days, 1, 365)?;
        }
        within(
            &format!("{prefix}cooldown_hours"),
            self.cooldown_hours,
            0,
            2160,
        )?;
        within(&format!("{prefix}daily_cap"), self.daily_cap, 0, 10_000_000)?;
        within(&format!("{prefix}stale_hours"), self.stale_hours, 0, 8760)?;
        if self.hold_out_share > Share::HALF {
            return wrong(
                "hold_out_share".to_owned(),
                "must be from 0 to 0.5".to_owned(),
            );
        }
        if self.internal.len() > INTERNAL_MAX {
            let message = format!("must not have more than {INTERNAL_MAX} entries");
            return wrong("internal".to_owned(), message);
        }
        for (at, entry) in self.internal.iter().enumerate() {
            let domain = entry
                .strip_prefix('@')
                .is_some_and(|domain| Address::mail(&format!("x@{domain}")).is_ok());
            if !(domain || Address::mail(entry).is_ok() || Address::phone(entry).is_ok()) {
                return wrong(
                    format!("internal[{at}]"),
                    "must be a mail address, a telephone number in E.164, or @ and a mail domain"
                        .to_owned(),
                );
            }
        }
        if self.countries.len() > COUNTRIES_MAX {
            let message = format!("must not have more than {COUNTRIES_MAX} entries");
            return wrong("countries".to_owned(), message);
        }
        for (at, code) in self.countries.iter().enumerate() {
            let iso = code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
            if !iso && code != ANY_COUNTRY {
                return wrong(
                    format!("countries[{at}]"),
                    "must be an ISO 3166 code of two capital letters such as US, or *".to_owned(),
                );
            }
        }
        self.quiet_hours.check(&format!("{prefix}quiet_hours."))
    }
}

fn within(field: &str, value: u32, low: u32, high: u32) -> Result<(), FieldError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(FieldError::new(
            field,
            format!("must be from {low} to {high}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(rules: &serde_json::Value) -> String {
        let read = serde_json::from_value::<Rules>(rules.clone());
        match read {
            Ok(rules) => rules.check("rules.").unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_defaults_are_within_their_bounds_and_read_back() {
        for rules in [Rules::default(), Rules::permissive()] {
            assert_eq!(rules.check("rules."), Ok(()));
            let json = serde_json::to_value(&rules).unwrap();
            assert_eq!(serde_json::from_value::<Rules>(json).unwrap(), rules);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (rules, field) in [
            (
                json!({"caps": [{"count": 1, "days": 7}, {"count": 0, "days": 7}]}),
                "rules.caps[1].count",
            ),
            (
                json!({"caps": [{"count": 1, "days": 366}]}),
                "rules.caps[0].days",
            ),
            (
                json!({"caps": vec![json!({"count": 1, "days": 1}); 5]}),
                "rules.caps",
            ),
            (json!({"cooldown_hours": 2161}), "rules.cooldown_hours"),
            (json!({"daily_cap": 10_000_001}), "rules.daily_cap"),
            (json!({"stale_hours": 8761}), "rules.stale_hours"),
            (json!({"sample_share": 1.5}), "from 0 to 1"),
            (json!({"hold_out_share": 0.6}), "rules.hold_out_share"),
            (json!({"internal": ["sam@acme.com", "@acme"]}), ""),
            (json!({"internal": ["sam"]}), "rules.internal[0]"),
            (
                json!({"internal": vec!["@acme.com"; 501]}),
                "rules.internal",
            ),
            (
                json!({"countries": ["US", "germany"]}),
                "rules.countries[1]",
            ),
            (json!({"quiet_hours": {"from": "25:00"}}), "hh:mm"),
            (
                json!({"quiet_hours": {"from": "08:00", "to": "07:00"}}),
                "rules.quiet_hours",
            ),
        ] {
            if !field.is_empty() {
                let error = refused(&rules);
                assert!(error.contains(field), "{error} should name {field}");
            }
        }
    }

    #[test]
    fn a_share_is_what_it_says() {
        let tenth = Share::try_from(0.1).unwrap();
        let held = (0..1_000_000_u64).filter(|n| tenth.holds(n * 7919)).count();
        assert_eq!(held, 100_000);
        assert!(Share::ALL.holds(u64::MAX) && !Share::NONE.holds(0));
        assert!(Share::try_from(f64::NAN).is_err() && Share::try_from(-0.1).is_err());
    }
}
