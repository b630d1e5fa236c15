//! The double's REST API: messages are listed and shown, page by page.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::Full;
use serde_json::{Value, json};

use super::api::{Form, Lost, Refused, answer, error, get, too_many};
use super::ledger::{Filter, iso};
use super::{ACCOUNT, Listing, State};

impl State {
    /// Shows messages.
    pub(super) fn look(&self, parts: &Parts) -> Result<Response<Full<Bytes>>, Lost> {
        let listing = self.with(|ledger| {
            ledger.looks += 1;
            ledger.listings.pop_front().unwrap_or(ledger.listing)
        });
        let shown = match listing {
            Listing::Truth | Listing::EmptyLie => self.shown(parts, listing),
            Listing::Fail500 => Ok(error(500, 20500)),
            Listing::TooMany { retry_after } => Ok(too_many(retry_after)),
            Listing::Malformed => Ok(answer(200, "{\"messages\": {}}".to_owned())),
            Listing::LoseAnswer => {
                self.changed.send_modify(|changes| *changes += 1);
                return Err(Lost);
            }
        };
        self.changed.send_modify(|changes| *changes += 1);
        Ok(shown.unwrap_or_else(|refused| self.refuse(parts, refused)))
    }

    fn shown(&self, parts: &Parts, listing: Listing) -> Result<Response<Full<Bytes>>, Refused> {
        let resource = Self::resource(parts)?;
        let query = parts.uri.query().unwrap_or_default();
        if let Some(sid) = resource
            .strip_prefix("Messages/")
            .and_then(|name| name.strip_suffix(".json"))
        {
            let all = self.with(|ledger| ledger.listed(&Filter::default(), self.now()));
            let found = all.into_iter().find(|message| message["sid"] == sid);
            return Ok(found.map_or_else(
                || error(404, 20404),
                |message| answer(200, message.to_string()),
            ));
        }
        if resource != "Messages.json" {
            return Err((404, 20404));
        }
        let params: Form = serde_urlencoded::from_str(query).map_err(|_| (400, 20001))?;
        let page = self.page(&params, listing)?;
        Ok(answer(200, page.to_string()))
    }

    /// One page of a list. The next one begins after the last message of this one, whatever came meanwhile.
    fn page(&self, params: &Form, listing: Listing) -> Result<Value, Refused> {
        let time = |name: &str| match get(params, name) {
            None => Ok(None),
            Some(text) => iso(&text).map(Some).ok_or((400, 20001)),
        };
        let number = |name: &str, default: usize| match get(params, name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| (400, 20001)),
        };
        let (size, page) = (number("PageSize", 50)?.clamp(1, 1000), number("Page", 0)?);
        let filter = Filter {
            to: get(params, "To"),
            from: get(params, "From"),
            sent_since: time("DateSent>")?,
            sent_until: time("DateSent<")?,
        };
        let now = self.now();
        let mut all = self.with(|ledger| ledger.listed(&filter, now));
        if listing == Listing::EmptyLie {
            all.clear();
        }
        let begin = match get(params, "PageToken") {
            None => page * size,
            Some(token) => all
                .iter()
                .position(|message| format!("PA{}", message["sid"].as_str().unwrap()) == token)
                .map_or(all.len(), |last| last + 1),
        };
        let rest = all.len().saturating_sub(begin);
        let messages: Vec<Value> = all.into_iter().skip(begin).take(size).collect();
        let next = (rest > size).then(|| {
            let mut onward: Form = params
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "Page" | "PageToken" | "PageSize"))
                .cloned()
                .collect();
            let last = messages[size - 1]["sid"].as_str().unwrap();
            onward.push(("PageSize".to_owned(), size.to_string()));
            onward.push(("Page".to_owned(), (page + 1).to_string()));
            onward.push(("PageToken".to_owned(), format!("PA{last}")));
            list_uri(&onward)
        });
        Ok(json!({
            "messages": messages, "page": page, "page_size": size, "start": begin, "end": begin + messages.len().saturating_sub(1),
            "uri": list_uri(params), "first_page_uri": list_uri(params), "next_page_uri": next, "previous_page_uri": null,
        }))
    }
}

fn list_uri(params: &Form) -> String {
    let query = serde_urlencoded::to_string(params).unwrap();
    format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?{query}")
}
