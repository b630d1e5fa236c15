//! Who may bring us mail: whoever knows the key, as a Bearer token or as the password of a Basic sign-in, which is all that the
//! webhooks of some mail services can send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::provider::{Hook, HookError};

/// Lets a hook in or says why not. Without a key the door is closed.
pub(super) fn check(hook: &Hook<'_>, key: Option<&SecretString>) -> Result<(), HookError> {
    let Some(key) = key.filter(|_| hook.path == "mail" && hook.method == "POST") else {
        return Err(HookError::Unknown);
    };
    if !presented(hook).is_some_and(|given| is_same(&given, key.expose_secret())) {
        return Err(HookError::Forged);
    }
    let kind = text(hook, &header::CONTENT_TYPE).split(';').next();
    let kind = kind.unwrap_or_default().trim();
    if !["message/rfc822", "message/global"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
    {
        return Err(HookError::Malformed {
            field: "content-type",
            message: "must be message/rfc822: the mail itself, with its headers",
        });
    }
    Ok(())
}

/// The key in the header `Authorization`.
fn presented(hook: &Hook<'_>) -> Option<String> {
    let (scheme, value) = text(hook, &header::AUTHORIZATION).split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    pair.split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Compared by their hashes, so that the time tells neither where they differ nor how long the key is.
fn is_same(given: &str, key: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(key)).into()
}

fn text<'a>(hook: &Hook<'a>, name: &header::HeaderName) -> &'a str {
    let value = hook.headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn checked(
        path: &str,
        method: &str,
        headers: &[(&'static str, &str)],
        key: &str,
    ) -> Result<(), HookError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let hook = Hook {
            method,
            path,
            target: "/hooks/smtp/mail",
            query: "",
            headers: &map,
            body: b"",
        };
        let key = (!key.is_empty()).then(|| SecretString::from(key));
        check(&hook, key.as_ref())
    }

    const MAIL: (&str, &str) = ("content-type", "message/rfc822; charset=utf-8");
    const KEY: &str = "0123456789abcdef";

    #[test]
    fn only_the_key_opens_the_door() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for good in [
            format!("Bearer {KEY}"),
            format!("bearer  {KEY} "),
            basic(&format!("mail:{KEY}")),
            basic(&format!(":{KEY}")),
        ] {
            assert_eq!(
                checked("mail", "POST", &[MAIL, ("authorization", &good)], KEY),
                Ok(()),
                "{good}"
            );
        }
        let forged = [
            String::new(),
            "Bearer".into(),
            "Bearer ".into(),
            format!("Bearer {}", &KEY[1..]),
            format!("Bearer {KEY}0"),
            KEY.to_owned(),
            format!("Digest {KEY}"),
            basic(KEY),
            basic(&format!("{KEY}:")),
            "Basic !".into(),
            basic("mail:"),
            format!("Basic {KEY}"),
        ];
        for wrong in forged {
            assert_eq!(
                checked("mail", "POST", &[MAIL, ("authorization", &wrong)], KEY),
                Err(HookError::Forged),
                "{wrong}"
            );
        }
    }

    #[test]
    fn there_is_no_door_without_a_key_nor_elsewhere() {
        let bearer = format!("Bearer {KEY}");
        let headers = [MAIL, ("authorization", bearer.as_str())];
        for (path, method, key) in [
            ("mail", "POST", ""),
            ("mail", "GET", KEY),
            ("status", "POST", KEY),
            ("mail/x", "POST", KEY),
        ] {
            assert_eq!(
                checked(path, method, &headers, key),
                Err(HookError::Unknown),
                "{method} {path}"
            );
        }
        // An empty key cannot be set, and presenting none opens nothing.
        assert_eq!(
            checked("mail", "POST", &[MAIL, ("authorization", "Bearer ")], ""),
            Err(HookError::Unknown)
        );
    }

    #[test]
    fn a_body_that_is_no_mail_is_named() {
        let bearer = format!("Bearer {KEY}");
        for kind in ["application/json", "", "message/delivery-status"] {
            let refused = checked(
                "mail",
                "POST",
                &[("content-type", kind), ("authorization", &bearer)],
                KEY,
            );
            assert!(
                matches!(
                    refused,
                    Err(HookError::Malformed {
                        field: "content-type",
                        ..
                    })
                ),
                "{kind}"
            );
        }
    }
}
