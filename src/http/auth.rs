//! Who calls: `Authorization: Bearer o5_…`. The key is looked up by its handle and compared by its hash.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::Doors;
use super::error::Problem;
use crate::domain::desk::{Desk, KeyText, Scope};

impl Doors {
    /// The desk whose key is presented, if the key has `scope`.
    pub(super) async fn caller(&self, headers: &HeaderMap, scope: Scope) -> Result<Desk, Problem> {
        let unauthorized = || {
            Problem::new(
                "unauthorized",
                "Send Authorization: Bearer and an API key of yours.",
            )
        };
        let presented = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, key)| KeyText::parse(key.trim()))
            .ok_or_else(unauthorized)?;
        let known = self
            .journey
            .store
            .find_key(presented.handle())
            .await?
            .ok_or_else(unauthorized)?;
        let genuine: bool = known.hash.ct_eq(&presented.hash()).into();
        if !genuine {
            return Err(unauthorized());
        }
        if !known.scopes.contains(&scope) {
            return Err(Problem::new(
                "forbidden",
                format!("The key needs the scope {}.", scope.as_str()),
            ));
        }
        self.journey
            .store
            .desk(known.desk)
            .await?
            .ok_or_else(unauthorized)
    }
}
