//! Which country a telephone number belongs to, and whether calling it costs the called one's friends money.
//!
//! The numbering plans are those of Google's libphonenumber, in the crate `phonenumber`. It is loaded at the first number, and
//! is given nothing but numbers that passed the check of E.164. It is never asked whether a number is valid: it refuses numbers
//! that exist. Countries become time zones by `zone1970.tab` of the tz database (2025b; in the public domain, as the file says).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use phonenumber::metadata::DATABASE;

use super::plans;
use super::rules::ANY_COUNTRY;
use crate::domain::contact::{Address, AddressKind};

/// Where a number belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The ISO 3166 code of its country; that of the largest one where several share a calling code and its digits do not tell;
    /// empty for what belongs to no country, such as satellite telephones.
    pub(crate) region: String,
    /// Its calling code.
    pub(crate) code: u16,
    /// Whoever is called takes a share of what the caller pays: a premium-rate or shared-cost number.
    pub(crate) costly: bool,
}

/// Where a telephone number belongs; `None` for other addresses and for numbers of no known calling code.
pub(crate) fn origin(address: &Address) -> Option<Origin> {
    if address.kind() != AddressKind::Phone {
        return None;
    }
    let Ok(found) = plans::find(address.expose()) else {
        return looked_up(address);
    };
    let found = found?;
    Some(Origin {
        region: country(found.region.to_owned()),
        code: found.code,
        costly: found.costly,
    })
}

/// "001" and the like stand for no country.
fn country(region: String) -> String {
    if region.bytes().all(|b| b.is_ascii_uppercase()) {
        region
    } else {
        String::new()
    }
}

/// What the crate says, at its own pace.
fn looked_up(address: &Address) -> Option<Origin> {
    let number = phonenumber::parse(None, address.expose()).ok()?;
    let code = number.code().value();
    // Looked up once: each look tries the patterns of every country that shares the calling code.
    let plan = number.metadata(&DATABASE);
    let region = plan
        .map(|plan| plan.id().to_owned())
        .or_else(|| DATABASE.region(&code)?.first().map(|&main| main.to_owned()))
        .map_or_else(String::new, country);
    let costly = plan.is_some_and(|plan| {
        let national = number.national().value().to_string();
        let ranges = [
            plan.descriptors().premium_rate(),
            plan.descriptors().shared_cost(),
        ];
        ranges
            .into_iter()
            .flatten()
            .any(|range| range.is_match(&national))
    });
    Some(Origin {
        region,
        code,
        costly,
    })
}

/// The ISO 3166 code of a telephone number's country; empty if it has none or is no telephone number.
pub fn region(address: &Address) -> String {
    origin(address).map_or_else(String::new, |origin| origin.region)
}

/// Whether a number with this origin may be asked, by the list of countries or, if that is empty, by our sender's number.
pub(super) fn is_allowed(countries: &[String], sender: &str, to: Option<&Origin>) -> bool {
    if to.is_some_and(|to| to.costly) {
        return false;
    }
    if !countries.is_empty() {
        return countries
            .iter()
            .any(|country| country == ANY_COUNTRY || to.is_some_and(|to| to.region == *country));
    }
    let Some(from) = Address::phone(sender).ok().and_then(|ours| origin(&ours)) else {
        // A Messaging Service or a short code names no country. There is nothing to compare with.
        return true;
    };
    to.is_some_and(|to| {
        if to.region.is_empty() || from.region.is_empty() {
            to.code == from.code
        } else {
            to.region == from.region
        }
    })
}

/// The names of a country's time zones.
pub(super) fn zones_of(region: &str) -> &'static [&'static str] {
    static ZONES: OnceLock<BTreeMap<&str, Vec<&str>>> = OnceLock::new();
    let zones = ZONES.get_or_init(|| {
        let mut zones: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let lines = include_str!("zone1970.tab").lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            let (Some(regions), Some(zone)) = (columns.next(), columns.nth(1)) else {
                continue;
            };
            for region in regions.split(',') {
                zones.entry(region).or_default().push(zone);
            }
        }
        zones
    });
    zones.get(region).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(number: &str) -> Option<Origin> {
        origin(&Address::phone(number).unwrap())
    }

    fn allowed(countries: &[&str], sender: &str, number: &str) -> bool {
        let countries: Vec<String> = countries.iter().map(|&c| c.to_owned()).collect();
        is_allowed(&countries, sender, at(number).as_ref())
    }

    #[test]
    fn a_number_tells_its_country() {
        for (number, region) in [
            ("+14155550123", "US"),
            ("+15005550006", "US"),
            ("+16135550123", "CA"),
            ("+18765551234", "JM"),
            ("+18095551234", "DO"),
            ("+4930123456", "DE"),
            ("+447400123456", "GB"),
            ("+393491234567", "IT"),
            ("+390236618300", "IT"),
            ("+77011234567", "KZ"),
            ("+79161234567", "RU"),
            // Leading zeros, and the old form of Mexican mobile numbers.
            ("+2250707123456", "CI"),
            ("+5215512345678", "MX"),
            // A satellite telephone.
            ("+881612345678", ""),
        ] {
            assert_eq!(at(number).unwrap().region, region, "{number}");
        }
        assert_eq!(origin(&Address::mail("ana@example.com").unwrap()), None);
        assert_eq!(at("+999123456789"), None, "no such calling code");
    }

    #[test]
    fn without_a_list_the_senders_country_is_the_only_one() {
        let us = "+14155550100";
        assert!(allowed(&[], us, "+12125550123"));
        for other in [
            "+18765551234",
            "+16135550123",
            "+4930123456",
            "+881612345678",
            "+999123456789",
        ] {
            assert!(!allowed(&[], us, other), "{other}");
        }
        assert!(allowed(
            &[],
            "MG0123456789abcdef0123456789abcdef",
            "+4930123456"
        ));
        assert!(allowed(&["DE", "US"], us, "+4930123456"));
        assert!(!allowed(&["DE"], us, "+14155550123"));
        assert!(allowed(&["*"], us, "+881612345678"));
    }

    #[test]
    fn what_costs_more_than_a_call_is_never_asked() {
        for costly in ["+19005551234", "+499001234567", "+448712345678"] {
            assert!(!allowed(&["*"], "", costly), "{costly}");
            assert!(!allowed(&["US", "DE", "GB"], "", costly), "{costly}");
        }
    }

    #[test]
    fn every_country_of_the_table_has_zones_that_exist() {
        assert_eq!(zones_of("DE"), ["Europe/Zurich", "Europe/Berlin"]);
        assert!(zones_of("US").len() > 20);
        assert!(zones_of("").is_empty());
        for region in ["US", "AU", "BR", "RU", "CA", "KZ", "FR", "GB", "IN"] {
            for zone in zones_of(region) {
                assert!(jiff::tz::TimeZone::get(zone).is_ok(), "{zone}");
            }
        }
    }

    /// Random numbers behind calling codes of every sort: shared by many, by few and by none, of countries where something may be
    /// dialled before a number, and of no country.
    #[test]
    fn plans_that_were_made_ready_say_what_the_crate_says() {
        let mut random = 15_u64;
        for code in [
            1_u16, 7, 39, 44, 47, 49, 52, 54, 55, 61, 225, 262, 599, 881, 883, 979,
        ] {
            let mut ready = 0;
            for n in 0..120_usize {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let digits = (random % 1_000_000_000_000).to_string();
                let length = (7 + n % 6).min(digits.len());
                let Ok(address) = Address::phone(&format!("+{code}{}", &digits[..length])) else {
                    continue;
                };
                ready += usize::from(plans::find(address.expose()).is_ok());
                assert_eq!(origin(&address), looked_up(&address), "+{code}{digits}");
            }
            // Where a number may begin with anything, the crate is asked.
            assert!(
                ready > 30 || [52, 54, 55].contains(&code),
                "{code}: {ready}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_number_makes_it_panic(number in "\\+[1-9][0-9]{6,14}") {
            let _ = at(&number);
        }
    }
}
