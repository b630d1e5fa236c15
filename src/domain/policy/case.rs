//! One trigger as the rules look at it, and what can be said of it before the store is asked. Used when a trigger comes, when it
//! is decided again because it waited, and when past triggers are replayed with other rules.

use sha2::{Digest, Sha256};

use super::{Given, QuietAction, Rules, country, quiet};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::desk::DeskSettings;
use crate::domain::id::DeskId;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Context;

const HOUR_MS: i64 = 3_600_000;

/// One trigger, with whatever a rule may ask about.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Whose it is.
    pub desk: DeskId,
    /// The channel's name.
    pub channel: &'a str,
    /// It is asked at once or not at all: a chat, or a call that is going on.
    pub live: bool,
    /// Whether something carries the channel to this address.
    pub reachable: bool,
    /// Our address on the channel; empty if it needs none.
    pub sender: &'a str,
    /// Where the contact is.
    pub address: &'a Address,
    /// The desk's id of the contact; empty if it said none.
    pub contact: &'a str,
    /// The address of the agent who served; empty if it is not known.
    pub agent: &'a str,
    /// The contact's time zone; empty if it is not known.
    pub timezone: &'a str,
    /// The conversation.
    pub conversation: &'a str,
    /// Which closing of it.
    pub resolution: &'a str,
    /// What the desk said about restraint.
    pub context: &'a Context,
    /// When the trigger came.
    pub came_at: Timestamp,
    /// When the ask is due, before quiet hours move it.
    pub due_at: Timestamp,
}

/// What the rules say of a trigger before the store is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// What speaks against asking.
    pub given: Given,
    /// When the ask is due: moved to the end of the quiet hours if they delay it.
    pub due_at: Timestamp,
    /// The day on which it is due, in the desk's time zone, as days since 1970.
    pub day: i64,
}

impl Case<'_> {
    /// Looks at the trigger by a desk's settings.
    pub fn plan(&self, settings: &DeskSettings) -> Plan {
        let rules = &settings.rules;
        let origin = country::origin(self.address);
        let mut given = Given {
            context_hold: self.context.hold,
            no_address: self.address.kind() == AddressKind::None,
            address_internal: self.is_internal(settings),
            channel_not_configured: !self.reachable,
            country_not_allowed: self.address.kind() == AddressKind::Phone
                && !country::is_allowed(&rules.countries, self.sender, origin.as_ref()),
            no_agent_reply: self.context.agent_replied == Some(false)
                && !rules.ask_without_agent_reply,
            auto_resolved: self.context.auto_resolved && !rules.ask_auto_resolved,
            hold_out: rules.hold_out_share.holds(self.contact_number()),
            sampled_out: !rules.sample_share.holds(self.resolution_number()),
            ..Given::default()
        };
        let mut due_at = self.due_at;
        if !self.live && rules.quiet_hours.hold_on(self.channel) {
            let region = origin.as_ref().map_or("", |origin| origin.region.as_str());
            let zones = quiet::zones(self.timezone, region, &settings.timezone);
            match rules.quiet_hours.clear(due_at, &zones) {
                Some(clear) if clear == due_at => {}
                Some(clear) if rules.quiet_hours.action == QuietAction::Delay => {
                    given.wait_until = Some(clear);
                    due_at = clear;
                }
                // There is no instant to wait for, or nobody wants to wait.
                Some(_) | None => given.quiet_hours = true,
            }
        }
        given.window_closed = self.is_stale(rules)
            || self
                .context
                .window_until
                .is_some_and(|until| due_at > until);
        let day = quiet::day(due_at, &settings.timezone);
        Plan { given, due_at, day }
    }

    /// One of our own senders, the agent, or one of those whom the desk named.
    fn is_internal(&self, settings: &DeskSettings) -> bool {
        let theirs = self.address.lookup_form();
        if theirs.is_empty() {
            return false;
        }
        let kind = self.address.kind();
        // A chat visitor may be called anything.
        if !matches!(kind, AddressKind::Phone | AddressKind::Mail) {
            return !self.sender.is_empty() && theirs == self.sender.to_lowercase();
        }
        let domain = theirs.rsplit_once('@').map_or("", |(_, domain)| domain);
        let senders = settings.senders.values().map(String::as_str);
        let own = senders.chain([self.sender, self.agent]);
        let named = settings.rules.internal.iter().map(String::as_str);
        own.chain(named).any(|entry| {
            let entry = entry.to_lowercase();
            match entry.strip_prefix('@') {
                Some(own_domain) => own_domain == domain,
                None => entry == theirs,
            }
        })
    }

    /// A resolution that says when it was, and that was too long ago.
    fn is_stale(&self, rules: &Rules) -> bool {
        let Ok(resolved) = self.resolution.parse::<jiff::Timestamp>() else {
            return false;
        };
        let age = self
            .came_at
            .as_millis()
            .saturating_sub(resolved.as_millisecond());
        rules.stale_hours > 0 && age > i64::from(rules.stale_hours) * HOUR_MS
    }

    /// A number that is the contact's own, evenly spread.
    fn contact_number(&self) -> u64 {
        let (kind, who) = if self.contact.is_empty() {
            ("address", self.address.lookup_form())
        } else {
            ("contact", self.contact.to_owned())
        };
        self.number(&["hold-out", kind, &who])
    }

    /// A number that is the resolution's own, evenly spread.
    fn resolution_number(&self) -> u64 {
        self.number(&["sample", self.conversation, self.resolution])
    }

    fn number(&self, parts: &[&str]) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.desk.uuid().as_bytes());
        for part in parts {
            // No part holds a control character, so none can reach into the next one.
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        u64::from_be_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::policy::{Cap, QuietHours, Share};

    /// A Saturday, 18:00 in UTC and noon in Chicago.
    const NOON: Timestamp = Timestamp::from_millis(1_795_284_000_000);
    const NOTHING: Context = Context {
        hold: false,
        agent_replied: None,
        auto_resolved: false,
        window_until: None,
    };

    fn case<'a>(address: &'a Address, context: &'a Context) -> Case<'a> {
        Case {
            desk: DeskId::from_uuid(uuid::Uuid::from_u128(7)),
            channel: "sms",
            live: false,
            reachable: true,
            sender: "+14155550100",
            address,
            contact: "",
            agent: "",
            timezone: "America/Chicago",
            conversation: "INC-1",
            resolution: "",
            context,
            came_at: NOON,
            due_at: NOON,
        }
    }

    fn phone() -> Address {
        Address::phone("+14155550123").unwrap()
    }

    fn settings(rules: Rules) -> DeskSettings {
        DeskSettings {
            rules: Arc::new(rules),
            ..DeskSettings::default()
        }
    }

    fn given(case: &Case<'_>, rules: Rules) -> Given {
        case.plan(&settings(rules)).given
    }

    #[test]
    fn by_the_defaults_nothing_stands_against_a_plain_trigger_at_noon() {
        let phone = phone();
        let plan = case(&phone, &NOTHING).plan(&DeskSettings::default());
        assert_eq!((plan.given, plan.due_at), (Given::default(), NOON));
    }

    #[test]
    fn what_the_desk_says_about_restraint_counts_unless_its_rules_say_otherwise() {
        let phone = phone();
        let said = |context: &Context, rules: Rules| given(&case(&phone, context), rules);
        let unanswered = Context {
            agent_replied: Some(false),
            ..NOTHING
        };
        let closed = Context {
            auto_resolved: true,
            ..NOTHING
        };
        let replied = Context {
            agent_replied: Some(true),
            ..NOTHING
        };
        assert!(said(&unanswered, Rules::default()).no_agent_reply);
        assert!(!said(&replied, Rules::default()).no_agent_reply);
        assert!(said(&closed, Rules::default()).auto_resolved);
        let bold = Rules {
            ask_without_agent_reply: true,
            ask_auto_resolved: true,
            ..Rules::default()
        };
        assert_eq!(said(&unanswered, bold.clone()), Given::default());
        assert_eq!(said(&closed, bold), Given::default());
    }

    #[test]
    fn the_desks_own_people_are_internal() {
        let own = |address: &Address, agent: &str| {
            let rules = Rules {
                internal: vec![
                    "Sam@acme.com".into(),
                    "@help.acme.com".into(),
                    "+14155550199".into(),
                ],
                ..Rules::default()
            };
            let mut settings = settings(rules);
            settings
                .senders
                .insert("voice".into(), "+14155550177".into());
            let case = Case {
                agent,
                ..case(address, &NOTHING)
            };
            case.plan(&settings).given.address_internal
        };
        for number in ["+14155550100", "+14155550177", "+14155550199"] {
            assert!(own(&Address::phone(number).unwrap(), ""), "{number}");
        }
        assert!(!own(&phone(), ""));
        assert!(own(&phone(), "+14155550123"));
        for (mail, internal) in [
            ("sam@ACME.com", true),
            ("ana@help.acme.com", true),
            ("ana@acme.com", false),
            ("ana@nothelp.acme.com", false),
        ] {
            assert_eq!(own(&Address::mail(mail).unwrap(), ""), internal, "{mail}");
        }
    }

    #[test]
    fn another_country_is_not_allowed_and_a_call_or_a_mail_has_none() {
        let of = |address: &Address| {
            given(&case(address, &NOTHING), Rules::default()).country_not_allowed
        };
        assert!(of(&Address::phone("+4930123456").unwrap()));
        assert!(!of(&phone()));
        assert!(!of(&Address::mail("ana@example.com").unwrap()));
        assert!(!of(
            &Address::call("CA0123456789abcdef0123456789abcdef").unwrap()
        ));
    }

    #[test]
    fn the_night_delays_or_suppresses_and_what_is_live_or_mail_does_not_care() {
        let phone = phone();
        let night = NOON.plus_millis(12 * HOUR_MS);
        let at_night = |change: &dyn Fn(&mut Case<'_>), action| {
            let mut case = Case {
                due_at: night,
                ..case(&phone, &NOTHING)
            };
            change(&mut case);
            let quiet_hours = QuietHours {
                action,
                ..QuietHours::default()
            };
            case.plan(&settings(Rules {
                quiet_hours,
                ..Rules::default()
            }))
        };
        let morning = NOON.plus_millis(20 * HOUR_MS);
        let delayed = at_night(&|_| {}, QuietAction::Delay);
        assert_eq!(
            (delayed.due_at, delayed.given.wait_until),
            (morning, Some(morning))
        );
        let suppressed = at_night(&|_| {}, QuietAction::Suppress);
        assert!(suppressed.given.quiet_hours && suppressed.due_at == night);
        let asked = Plan {
            given: Given::default(),
            due_at: night,
            day: delayed.day,
        };
        assert_eq!(at_night(&|_| {}, QuietAction::Off), asked);
        assert_eq!(
            at_night(&|case| case.live = true, QuietAction::Suppress),
            asked
        );
        assert_eq!(
            at_night(&|case| case.channel = "email", QuietAction::Suppress),
            asked
        );
    }

    #[test]
    fn a_window_that_closes_before_the_ask_is_due_and_an_old_resolution_are_too_late() {
        let phone = phone();
        let open_for = |millis: i64| Context {
            window_until: Some(NOON.plus_millis(millis)),
            ..NOTHING
        };
        let night = |context: &Context, due_at| {
            let case = Case {
                due_at,
                ..case(&phone, context)
            };
            given(&case, Rules::default()).window_closed
        };
        assert!(!night(&open_for(0), NOON));
        assert!(night(&open_for(-1), NOON));
        // Due in time, but moved to the morning by the quiet hours.
        assert!(night(
            &open_for(14 * HOUR_MS),
            NOON.plus_millis(12 * HOUR_MS)
        ));
        let resolved = |resolution: &str, stale_hours| {
            let case = Case {
                resolution,
                ..case(&phone, &NOTHING)
            };
            let rules = Rules {
                stale_hours,
                ..Rules::default()
            };
            given(&case, rules).window_closed
        };
        assert!(resolved("2026-11-14T17:59:59Z", 168));
        assert!(!resolved("2026-11-14T18:00:00Z", 168));
        assert!(!resolved("2020-01-01T00:00:00Z", 0));
        assert!(!resolved("closed twice", 168));
    }

    #[test]
    fn a_sample_is_stable_by_resolution_and_a_hold_out_by_contact() {
        let phone = phone();
        let rules = Rules {
            sample_share: Share::try_from(0.3).unwrap(),
            hold_out_share: Share::try_from(0.2).unwrap(),
            caps: vec![Cap { count: 1, days: 1 }],
            ..Rules::default()
        };
        let ask = |conversation: &str, contact: &str| {
            let case = Case {
                contact,
                conversation,
                ..case(&phone, &NOTHING)
            };
            given(&case, rules.clone())
        };
        let mut counted = (0, 0);
        for n in 0..2000 {
            let (conversation, contact) = (format!("INC-{n}"), format!("c-{n}"));
            let one = ask(&conversation, &contact);
            assert_eq!(one, ask(&conversation, &contact));
            assert_eq!(one.hold_out, ask("INC-other", &contact).hold_out);
            assert_eq!(one.sampled_out, ask(&conversation, "c-other").sampled_out);
            counted.0 += usize::from(!one.sampled_out);
            counted.1 += usize::from(one.hold_out);
        }
        assert!(
            (520..680).contains(&counted.0) && (330..470).contains(&counted.1),
            "{counted:?}"
        );
    }
}
