//! Numbering plans, made ready: the patterns of `phonenumber` compiled once and for good.
//!
//! The crate keeps a hundred patterns at most, looks each up by its text under a lock, and tries the patterns of all countries that
//! share a calling code twice for one number: more work than everything else that a trigger needs. Here each pattern is compiled when
//! the first number needs it, because those of all countries behind +1 take 10 ms together, in which no trigger is answered. What comes
//! out is what the crate says; a test compares the two. Numbers with something before them that is no part of them are left to the crate.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use phonenumber::metadata::{DATABASE, Descriptor, Metadata};
use regex::{Regex, RegexBuilder};

/// Digits of a calling code at most.
const CODE_MAX: usize = 3;

/// What a calling code says about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The country's code; "001" and the like stand for no country.
    pub(super) region: &'static str,
    /// The calling code.
    pub(super) code: u16,
    /// Whether whoever is called takes a share of what the caller pays.
    pub(super) costly: bool,
}

/// The countries that share a calling code, the largest one first.
struct Code {
    main: &'static str,
    /// A code with one country needs no pattern to tell it.
    single: bool,
    countries: Vec<Country>,
}

/// A country's own plan.
struct Country {
    region: &'static str,
    /// How numbers of the country begin; without it, those are the country's that are of some sort there.
    leading: Option<Pattern>,
    general: Option<Sort>,
    sorts: Vec<Sort>,
    costly: Vec<Sort>,
    /// What may be dialled before a number within the country.
    prefix: Option<String>,
    prefixes: Option<Pattern>,
}

/// Numbers of one sort: how long they are (any, if it is not said), and what they look like.
struct Sort {
    lengths: Vec<u16>,
    pattern: Pattern,
}

/// A pattern that has to match from the first digit on; nothing if it does not compile: then the crate is asked.
struct Pattern {
    text: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

/// What the plans say about a number; `Err` if the crate has to be asked.
pub(super) fn find(number: &str) -> Result<Option<Found>, ()> {
    let digits = number.strip_prefix('+').ok_or(())?;
    let split = (1..=CODE_MAX).find_map(|length| {
        let (code, national) = digits.split_at_checked(length)?;
        let code: u16 = code.parse().ok()?;
        Some((code, national, of(code)?))
    });
    let Some((number, national, code)) = split else {
        return Ok(None);
    };
    let significant = national.trim_start_matches('0');
    if significant.is_empty() {
        return Err(());
    }
    let country = code.country_of(significant)?;
    let costly = match country {
        Some(country) => {
            if country.has_prefix(national)? {
                return Err(());
            }
            any(&country.costly, significant)?
        }
        None => false,
    };
    Ok(Some(Found {
        region: country.map_or(code.main, |country| country.region),
        code: number,
        costly,
    }))
}

/// The plans of a calling code.
fn of(code: u16) -> Option<&'static Code> {
    static CODES: OnceLock<BTreeMap<u16, OnceLock<Code>>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        // Not by its list of countries: there, those that are no country have one entry together.
        let codes = (1..1000_u16).filter(|code| DATABASE.region(code).is_some());
        codes.map(|code| (code, OnceLock::new())).collect()
    });
    Some(codes.get(&code)?.get_or_init(|| Code::of(code)))
}

impl Code {
    fn of(code: u16) -> Self {
        let regions = DATABASE.region(&code).unwrap_or_default();
        let plans = DATABASE.by_code(&code).unwrap_or_default();
        let single = regions.len() == 1;
        let main = regions.first().copied().unwrap_or_default();
        // A country that the crate has no name for has no plan either.
        let named = main == "001" || main.parse::<phonenumber::country::Id>().is_ok();
        let countries = plans.into_iter().filter(|_| named);
        Self {
            main,
            single,
            countries: countries.map(|plan| Country::of(plan, single)).collect(),
        }
    }

    /// The country of a number without its leading zeros.
    fn country_of(&self, significant: &str) -> Result<Option<&Country>, ()> {
        if self.single {
            return Ok(self.countries.first());
        }
        for country in &self.countries {
            let is_theirs = match &country.leading {
                Some(leading) => leading.begins(significant)?,
                None => country.knows(significant)?,
            };
            if is_theirs {
                return Ok(Some(country));
            }
        }
        Ok(None)
    }
}

impl Country {
    fn of(plan: &'static Metadata, single: bool) -> Self {
        let all = plan.descriptors();
        let costly = [all.premium_rate(), all.shared_cost()];
        let others = [
            all.fixed_line(),
            all.mobile(),
            all.toll_free(),
            all.voip(),
            all.personal_number(),
            all.pager(),
            all.uan(),
            all.voicemail(),
        ];
        let leading = plan.leading_digits();
        let ready = |sorts: &[Option<&'static Descriptor>]| {
            sorts.iter().flatten().map(|sort| Sort::of(sort)).collect()
        };
        // Most patterns are the largest and only tell countries apart.
        let told_by_sort = !single && leading.is_none();
        Self {
            region: plan.id(),
            leading: leading.map(|leading| Pattern::of(leading.as_str())),
            general: told_by_sort.then(|| Sort::of(all.general())),
            sorts: if told_by_sort {
                ready(&others)
            } else {
                Vec::new()
            },
            costly: ready(&costly),
            prefix: plan.national_prefix().map(str::to_owned),
            prefixes: plan
                .national_prefix_for_parsing()
                .map(|prefixes| Pattern::of(prefixes.as_str())),
        }
    }

    /// Whether a number is of some sort in this country.
    fn knows(&self, significant: &str) -> Result<bool, ()> {
        let general = self.general.as_ref().ok_or(())?;
        Ok(general.holds(significant)?
            && (any(&self.sorts, significant)? || any(&self.costly, significant)?))
    }

    /// Whether a number begins with what would be dialled before it within the country.
    fn has_prefix(&self, national: &str) -> Result<bool, ()> {
        let plain = self.prefix.as_ref();
        let plain = plain.is_some_and(|prefix| national.starts_with(prefix.as_str()));
        Ok(plain
            || match &self.prefixes {
                Some(prefixes) => prefixes.begins(national)?,
                None => false,
            })
    }
}

impl Sort {
    fn of(descriptor: &'static Descriptor) -> Self {
        Self {
            lengths: descriptor.possible_length().to_vec(),
            pattern: Pattern::of(descriptor.national_number().as_str()),
        }
    }

    fn holds(&self, significant: &str) -> Result<bool, ()> {
        let long = u16::try_from(significant.len()).map_err(|_| ())?;
        Ok((self.lengths.is_empty() || self.lengths.contains(&long))
            && self.pattern.begins(significant)?)
    }
}

fn any(sorts: &[Sort], significant: &str) -> Result<bool, ()> {
    for sort in sorts {
        if sort.holds(significant)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Pattern {
    const fn of(text: &'static str) -> Self {
        Self {
            text,
            compiled: OnceLock::new(),
        }
    }

    fn begins(&self, digits: &str) -> Result<bool, ()> {
        let compiled = self.compiled.get_or_init(|| {
            // The plans are written with blanks in them.
            let pattern = RegexBuilder::new(&format!("^(?:{}\n)", self.text))
                .ignore_whitespace(true)
                .build();
            pattern.ok()
        });
        let compiled = compiled.as_ref().ok_or(())?;
        Ok(compiled.is_match(digits))
    }
}
