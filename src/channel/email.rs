//! Mail: five links, each with its number and its word, to the rating page. A link only opens the page with the score chosen:
//! programs that follow links in mails cannot vote. The HTML part has no image, no script and nothing to load, and reads
//! well on a phone, in the dark and aloud.

use askama::Template;

use super::wording::{Wording, fill};
use super::{Address, AddressError, Ask, Carriage, Channel, Mail, Message, Tells};

/// The channel `email`.
#[derive(Debug, Clone, Copy)]
pub struct Email;

impl Channel for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    fn description(&self) -> &'static str {
        "a mail with five links to the rating page"
    }

    /// Two: the link, and the first touch on the page that it opens.
    fn taps(&self) -> u8 {
        2
    }

    fn address(&self, raw: &str) -> Result<Address, AddressError> {
        Address::mail(raw)
    }

    fn carriage(&self) -> Carriage {
        Carriage::Provider
    }

    /// Mail servers report what failed, and nothing else.
    fn tells(&self) -> Tells {
        Tells {
            delivered: false,
            reached: false,
        }
    }

    fn reply_names_request(&self) -> bool {
        true
    }

    fn render(&self, ask: &Ask<'_>) -> Message {
        let wording = ask.wording();
        let page = Html::of(ask, &wording);
        Message::Mail(Mail {
            subject: subject(ask, &wording),
            text: text(&page),
            // Rendering into memory has no way to fail; without its HTML part the mail would still be complete.
            html: page.render().unwrap_or_default(),
            in_reply_to: ask
                .mail
                .map(|thread| thread.message_id.clone())
                .filter(|id| !id.is_empty()),
            opt_out_url: ask.opt_out_url.to_owned(),
        })
    }
}

/// The thread's subject with one `Re:` before it, or our own.
fn subject(ask: &Ask<'_>, wording: &Wording) -> String {
    let thread = ask.mail.map_or("", |mail| mail.subject.trim());
    if thread.is_empty() {
        return fill(&wording.email.subject, &[("desk", ask.desk)]);
    }
    let is_reply = thread
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if is_reply {
        thread.to_owned()
    } else {
        format!("Re: {thread}")
    }
}

/// One of the five answers.
struct Choice<'a> {
    score: u8,
    word: &'a str,
    label: String,
    url: String,
}

/// The HTML part. The template escapes every value.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<!DOCTYPE html>
<html lang="{{ tag }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{{ question }}</title>
<style>
:root { color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
.page { background-color: #16181d !important; }
.card { background-color: #22252c !important; }
.words { color: #f1f3f6 !important; }
.small, .small a { color: #b4bac4 !important; }
.choice { background-color: #13866c !important; }
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background-color:#f5f4ef;">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" border="0" style="background-color:#f5f4ef;">
<tr><td align="center" style="padding:16px 8px;">
<table role="presentation" class="card" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:480px;background-color:#ffffff;border-radius:8px;">
<tr><td class="words" style="padding:24px 24px 0;font:16px/1.5 Arial,Helvetica,sans-serif;color:#1b1f27;">{{ greeting }}</td></tr>
<tr><td style="padding:8px 24px 0;"><h1 class="words" style="margin:0;font:bold 20px/1.3 Arial,Helvetica,sans-serif;color:#1b1f27;">{{ question }}</h1></td></tr>
<tr><td class="words" style="padding:8px 24px;font:16px/1.5 Arial,Helvetica,sans-serif;color:#1b1f27;">{{ instruction }}</td></tr>
{%- for choice in choices %}
<tr><td style="padding:4px 24px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"><tr><td class="choice" bgcolor="#0b6b57" style="background-color:#0b6b57;border-radius:6px;">
<a href="{{ choice.url }}" aria-label="{{ choice.label }}" style="display:block;padding:12px 16px;font:bold 16px/20px Arial,Helvetica,sans-serif;color:#ffffff;text-decoration:none;"><span style="display:inline-block;width:28px;">{{ choice.score }}</span>{{ choice.word }}</a>
</td></tr></table>
</td></tr>
{%- endfor %}
<tr><td class="small" style="padding:20px 24px 24px;font:13px/1.5 Arial,Helvetica,sans-serif;color:#4b5563;">{{ footer }}<br><a href="{{ opt_out_url }}" style="color:#4b5563;text-decoration:underline;">{{ opt_out }}</a></td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"##
)]
struct Html<'a> {
    tag: &'a str,
    greeting: String,
    question: String,
    instruction: &'a str,
    choices: Vec<Choice<'a>>,
    footer: String,
    opt_out: &'a str,
    opt_out_url: &'a str,
}

impl<'a> Html<'a> {
    fn of(ask: &Ask<'a>, wording: &'a Wording) -> Self {
        let words = &wording.email;
        let name = ask.contact.name.trim();
        let choice = |(score, word): (u8, &'a String)| Choice {
            score,
            word,
            label: wording.with_score(&words.link, score),
            url: format!("{}?s={score}", ask.rating_url),
        };
        Self {
            tag: &wording.tag,
            greeting: if name.is_empty() {
                words.greeting.clone()
            } else {
                fill(&words.greeting_name, &[("contact", name)])
            },
            question: words.question.about(ask.agent, ask.desk),
            instruction: &words.instruction,
            choices: (1..).zip(&wording.scale).map(choice).collect(),
            footer: fill(&words.footer, &[("desk", ask.desk)]),
            opt_out: &words.opt_out,
            opt_out_url: ask.opt_out_url,
        }
    }
}

/// The plain text part: the same words, each link on a line of its own.
fn text(page: &Html<'_>) -> String {
    let links: Vec<String> = page
        .choices
        .iter()
        .map(|choice| format!("{}\n{}", choice.label, choice.url))
        .collect();
    format!(
        "{}\n\n{}\n{}\n\n{}\n\n--\n{}\n{}: {}\n",
        page.greeting,
        page.question,
        page.instruction,
        links.join("\n\n"),
        page.footer,
        page.opt_out,
        page.opt_out_url
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ask, contact};
    use super::super::wording;
    use super::*;
    use crate::domain::trigger::MailThread;

    fn mail(ask: &Ask<'_>) -> Mail {
        let Message::Mail(mail) = Email.render(ask) else {
            panic!("a mail is rendered")
        };
        mail
    }

    #[test]
    fn both_parts_have_five_links_with_number_and_word() {
        let contact = contact();
        let mail = mail(&ask(&contact));
        assert_eq!(mail.subject, "Acme IT: how was our service?");
        for (score, word) in (1..).zip(&wording::of("en").scale) {
            let url = format!("https://r.example.com/r/TOKEN?s={score}");
            assert!(
                mail.text.contains(&format!("{score} - {word}\n{url}\n")),
                "{}",
                mail.text
            );
            assert!(
                mail.html.contains(&format!("href=\"{url}\"")),
                "{}",
                mail.html
            );
            assert!(
                mail.html.contains(&format!(">{score}</span>{word}</a>")),
                "{}",
                mail.html
            );
        }
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("https://r.example.com/u/TOKEN"));
            assert!(part.contains("How was your service with Sam from Acme IT?"));
            assert!(part.contains("Hello Ana,"));
        }
        assert!(mail.html.contains("<html lang=\"en\">"));
    }

    #[test]
    fn the_mail_loads_nothing_and_runs_nothing() {
        let contact = contact();
        let html = mail(&ask(&contact)).html;
        for forbidden in [
            "<img", "<script", "<link", "src=", "url(", "@import", "http://",
        ] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn values_are_text_and_never_html() {
        let mut contact = contact();
        contact.name = "<script>alert(1)</script>".into();
        let mail = mail(&Ask {
            agent: "\"><img src=x>",
            desk: "A&B </title>",
            rating_url: "https://r/\"x",
            ..ask(&contact)
        });
        for forbidden in ["<script", "<img", "A&B", "B </title", "r/\"x"] {
            assert!(
                !mail.html.contains(forbidden),
                "{forbidden} in {}",
                mail.html
            );
        }
        assert!(mail.text.contains("A&B </title>"));
    }

    #[test]
    fn a_threads_subject_gets_one_re() {
        let contact = contact();
        for (given, made) in [
            ("VPN is down", "Re: VPN is down"),
            ("Re: VPN is down", "Re: VPN is down"),
            ("RE:VPN", "RE:VPN"),
            ("", "Acme IT: how was our service?"),
            ("é", "Re: é"),
            ("Restore", "Re: Restore"),
        ] {
            let thread = MailThread {
                message_id: "<t1@example.com>".into(),
                subject: given.into(),
            };
            let mail = mail(&Ask {
                mail: Some(&thread),
                ..ask(&contact)
            });
            assert_eq!(mail.subject, made);
            assert_eq!(mail.in_reply_to.as_deref(), Some("<t1@example.com>"));
        }
    }

    #[test]
    fn a_mail_speaks_the_contacts_language() {
        let contact = contact();
        let mail = mail(&Ask {
            language: "de-AT",
            ..ask(&contact)
        });
        assert!(mail.html.contains("<html lang=\"de\">") && mail.html.contains("sehr gut"));
        assert!(mail.text.starts_with("Guten Tag Ana,"));
    }
}
