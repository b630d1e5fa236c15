//! The writer's own words in a mail: without what they quote, without their signature and without what their telephone adds.
//!
//! Nothing marks such places for sure, so this knows how the usual mail programs write them in the languages that we ask in.
//! What stands above such a place is kept; what may be a quotation never is, because our own mail is full of digits.

use mail_parser::decoders::html::html_to_text;
use mail_parser::{Message, PartType};

/// The most characters that are kept.
const WORDS_MAX: usize = 4_000;
/// The most lines that are looked at.
const LINES_MAX: usize = 2_000;

/// The words of a mail; empty if it has none.
pub(super) fn of(mail: &Message<'_>) -> String {
    let mut written = mail
        .text_body
        .iter()
        .chain(&mail.html_body)
        .filter_map(|at| match &mail.parts.get(*at as usize)?.body {
            PartType::Text(text) => Some(own(text)),
            PartType::Html(html) => Some(own(&html_to_text(above_quote(html)))),
            PartType::Binary(_)
            | PartType::InlineBinary(_)
            | PartType::Message(_)
            | PartType::Multipart(_) => None,
        });
    // Some programs leave the plain part empty and write into the other.
    written.find(|words| !words.is_empty()).unwrap_or_default()
}

/// The HTML above the place where a mail program puts what is quoted.
fn above_quote(html: &str) -> &str {
    const PLACES: &[&str] = &[
        "<blockquote",
        "class=\"gmail_quote",
        "class=\"yahoo_quoted",
        "class=\"moz-cite-prefix",
        "class=\"moz-signature",
        "class=\"gmail_signature",
        "id=\"divrplyfwdmsg",
        "id=\"appendonsend",
        "id=\"reply-intro",
        "id=\"mail-editor-reference-message-container",
        "border-top:solid #e1e1e1 1.0pt",
        "border-top:solid #b5c4df 1.0pt",
    ];
    let lower = html.to_ascii_lowercase();
    let place = PLACES.iter().filter_map(|place| lower.find(place)).min();
    let Some(place) = place else { return html };
    let above = html.get(..place).unwrap_or_default();
    // The place is inside of its tag, and half a tag would be text.
    above
        .get(
            ..above
                .rfind('<')
                .filter(|_| !lower[place..].starts_with('<'))
                .unwrap_or(place),
        )
        .unwrap_or(above)
}

/// The words of plain text.
fn own(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(plain).take(LINES_MAX).collect();
    let mut kept: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(rest) = lines.get(at..).filter(|rest| !rest.is_empty()) {
        if is_quoted(rest[0]) {
            at += 1;
        } else if let Some(length) = attribution(rest) {
            let next = rest.iter().skip(length).find(|line| !line.is_empty());
            // Marked quotations may have the answer below or between them; of others nobody knows where they end.
            if !next.is_some_and(|line| is_quoted(line)) {
                break;
            }
            at += length;
        } else if ends(rest) {
            break;
        } else {
            kept.push(rest[0]);
            at += 1;
        }
    }
    let mut words = kept.join("\n");
    while words.contains("\n\n\n") {
        words = words.replace("\n\n\n", "\n\n");
    }
    words.trim().chars().take(WORDS_MAX).collect()
}

/// A line without blanks at its ends, in which some programs hide characters of no width.
fn plain(line: &str) -> &str {
    line.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}')
    })
}

fn is_quoted(line: &str) -> bool {
    line.starts_with('>')
}

/// How many lines say who wrote what is quoted below: `On Sat, Nov 21, 2026 at 6:00 PM Acme IT <…> wrote:`. Long ones are broken,
/// so up to three lines are looked at together; then the first must begin as such a line does.
fn attribution(lines: &[&str]) -> Option<usize> {
    const STARTS: &[&str] = &["on ", "am ", "le ", "el ", "il ", "op ", "em "];
    const WROTE: &[&str] = &[
        " wrote",
        " schrieb",
        " a écrit",
        " escribió",
        " ha scritto",
        " schreef",
        " escreveu",
    ];
    let mut together = String::new();
    for (count, line) in (1..=3).zip(lines) {
        if line.is_empty() || is_quoted(line) {
            return None;
        }
        together.push(' ');
        together.push_str(&line.to_lowercase());
        let begins = STARTS
            .iter()
            .any(|start| together.trim_start().starts_with(start));
        let says = together.ends_with(':')
            && WROTE.iter().any(|word| together.contains(word))
            && together.contains(|c: char| c.is_ascii_digit() || c == '@');
        if says && (count == 1 || begins) && together.len() < 500 {
            return Some(count);
        }
        if !begins {
            return None;
        }
    }
    None
}

/// Whether the writer's words end before these lines.
fn ends(lines: &[&str]) -> bool {
    let line = lines[0].to_lowercase();
    let line = line.as_str();
    is_signature(line) || is_separator(line) || is_header_block(lines) || is_valediction(line)
}

/// `-- `, and what telephones and programs write below a mail.
fn is_signature(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "sent from my ",
        "sent from outlook",
        "sent from mail for",
        "sent from yahoo",
        "get outlook for",
        "gesendet von meinem",
        "gesendet von mail",
        "gesendet von outlook",
        "gesendet mit der",
        "outlook für",
        "von meinem mobiltelefon",
        "diese nachricht wurde von meinem",
        "enviado desde mi",
        "enviado desde outlook",
        "enviado desde el",
        "obtener outlook",
        "envoyé de mon",
        "envoyé depuis",
        "télécharger outlook",
        "inviato da",
        "inviato dal",
        "scarica outlook",
        "ottieni outlook",
        "verstuurd vanaf",
        "verzonden vanaf",
        "verzonden met",
        "outlook voor",
        "download outlook",
        "enviado do meu",
        "enviado da minha",
        "enviado do outlook",
        "enviado a partir d",
        "obtenha o outlook",
        "obter o outlook",
    ];
    matches!(line, "--" | "—" | "---")
        || STARTS.iter().any(|start| line.starts_with(start))
        || (line.starts_with("von meinem ") || line.starts_with("von meiner "))
            && line.ends_with(" gesendet")
}

/// `-----Original Message-----` and a line of underscores.
fn is_separator(line: &str) -> bool {
    const NAMES: &[&str] = &[
        "original message",
        "forwarded message",
        "original appointment",
        "reply message",
        "ursprüngliche nachricht",
        "originalnachricht",
        "weitergeleitete nachricht",
        "mensaje original",
        "mensaje reenviado",
        "message d'origine",
        "messaggio originale",
        "messaggio inoltrato",
        "oorspronkelijk bericht",
        "doorgestuurd bericht",
        "mensagem original",
        "mensagem encaminhada",
        "message original",
    ];
    line.len() >= 10 && line.bytes().all(|b| b == b'_')
        || line.starts_with("--") && NAMES.iter().any(|name| line.contains(name))
}

/// The block of headers that Outlook puts above what is quoted: a sender, and soon a date or a subject.
fn is_header_block(lines: &[&str]) -> bool {
    const SENDER: &[&str] = &["from:", "von:", "de:", "de :", "da:", "van:"];
    const MORE: &[&str] = &[
        "sent:",
        "date:",
        "date :",
        "subject:",
        "gesendet:",
        "datum:",
        "betreff:",
        "enviado:",
        "enviado el:",
        "fecha:",
        "asunto:",
        "envoyé:",
        "envoyé :",
        "objet:",
        "objet :",
        "inviato:",
        "data:",
        "oggetto:",
        "verzonden:",
        "onderwerp:",
        "enviada em:",
        "enviado em:",
        "enviada:",
        "assunto:",
    ];
    let starts = |line: &str, words: &[&str]| {
        let line = line.trim_start_matches('*').to_lowercase();
        let line = line.replace('*', "");
        words.iter().any(|word| line.starts_with(word))
    };
    starts(lines[0], SENDER) && lines.iter().skip(1).take(5).any(|line| starts(line, MORE))
}

/// The greeting at the end, below which a name and an office follow.
fn is_valediction(line: &str) -> bool {
    const WORDS: &[&str] = &[
        "best regards",
        "kind regards",
        "warm regards",
        "with kind regards",
        "regards",
        "best wishes",
        "yours sincerely",
        "sincerely",
        "mit freundlichen grüßen",
        "mit freundlichem gruß",
        "mit besten grüßen",
        "freundliche grüße",
        "viele grüße",
        "liebe grüße",
        "beste grüße",
        "schöne grüße",
        "mfg",
        "lg",
        "vg",
        "saludos",
        "saludos cordiales",
        "un saludo",
        "un cordial saludo",
        "atentamente",
        "cordialement",
        "bien cordialement",
        "cordiali saluti",
        "distinti saluti",
        "un cordiale saluto",
        "met vriendelijke groet",
        "met vriendelijke groeten",
        "vriendelijke groet",
        "vriendelijke groeten",
        "hartelijke groet",
        "mvg",
        "atenciosamente",
        "cumprimentos",
        "com os melhores cumprimentos",
    ];
    let bare = line.trim_end_matches([',', '.', '!']);
    WORDS.contains(&bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quotation of our own mail: full of digits.
    const OURS: &str = "How was our service?\n1 - very poor\n5 - excellent\nhttps://feedback.example.com/r/TOKEN?s=5";

    fn quoted() -> String {
        format!("> {}\n", OURS.replace('\n', "\n> "))
    }

    #[test]
    fn what_is_quoted_is_not_said() {
        for above in [
            "On Sat, Nov 21, 2026 at 6:00 PM Acme IT <feedback@acme.example> wrote:",
            "On Sat, Nov 21, 2026 at 6:00 PM Acme IT Service Desk of Example\n<feedback@acme.example> wrote:",
            "Am Sa., 21. Nov. 2026 um 18:00 Uhr schrieb Acme IT <feedback@acme.example>:",
            "Am 21.11.26 um 18:00 schrieb Acme IT:",
            "Acme IT <feedback@acme.example> schrieb am Sa., 21. Nov. 2026, 18:00:",
            "Le sam. 21 nov. 2026 à 18:00, Acme IT <feedback@acme.example> a écrit :",
            "El sáb, 21 nov 2026 a las 18:00, Acme IT (<feedback@acme.example>) escribió:",
            "-----Original Message-----\nFrom: Acme IT",
            "-----Ursprüngliche Nachricht-----\nVon: Acme IT",
            "________________________________\nFrom: Acme IT",
            "From: Acme IT <feedback@acme.example>\nSent: Saturday, November 21, 2026 6:00 PM\nTo: Ben\nSubject: Re: VPN",
            "*Von:* Acme IT <feedback@acme.example>\n*Gesendet:* Samstag, 21. November 2026 18:00",
            "De : Acme IT <feedback@acme.example>\nEnvoyé : samedi 21 novembre 2026 18:00",
            "Da: Acme IT <feedback@acme.example>\nInviato: sabato 21 novembre 2026 18:00",
            "Van: Acme IT <feedback@acme.example>\nVerzonden: zaterdag 21 november 2026 18:00",
            "De: Acme IT <feedback@acme.example>\nEnviada em: sábado, 21 de novembro de 2026 18:00",
            "-----Messaggio originale-----\nDa: Acme IT",
            "-----Oorspronkelijk bericht-----\nVan: Acme IT",
            "-----Mensagem original-----\nDe: Acme IT",
        ] {
            for quote in [OURS.to_owned(), quoted()] {
                let text = format!("5 great help\n\n{above}\n\n{quote}");
                // Marks without blanks before them are found as well as line ends of every kind.
                assert_eq!(own(&text), "5 great help", "{text}");
                assert_eq!(own(&text.replace('\n', "\r\n")), "5 great help", "{text}");
            }
        }
    }

    #[test]
    fn an_answer_below_or_between_marked_lines_is_found() {
        let wrote = "On 21 Nov 2026, Acme IT wrote:";
        assert_eq!(
            own(&format!("{wrote}\n{}\n4\n\nslow at first", quoted())),
            "4\n\nslow at first"
        );
        assert_eq!(own(&format!("{}3\n{}", quoted(), quoted())), "3");
        assert_eq!(own(&quoted()), "");
        assert_eq!(own(&format!("{wrote}\n{OURS}")), "");
    }

    #[test]
    fn signatures_and_greetings_are_not_said() {
        for below in [
            "-- \nBen Example\nTel. 555 0123",
            "--\nBen",
            "Sent from my iPhone",
            "Von meinem iPhone gesendet",
            "Enviado desde mi iPhone",
            "Get Outlook for iOS",
            "Best regards,\nBen Example\nFloor 3",
            "Mit freundlichen Grüßen\nBen",
            "LG\nBen",
            "Inviato da iPhone",
            "Verstuurd vanaf mijn iPhone",
            "Enviado do meu iPhone",
            "Cordiali saluti,\nBen\nPiano 3",
            "Met vriendelijke groet,\nBen\nTel. 555 0123",
            "Atenciosamente,\nBen",
        ] {
            assert_eq!(own(&format!("4 thanks\n\n{below}")), "4 thanks", "{below}");
        }
    }

    #[test]
    fn a_persons_words_stay() {
        for words in [
            "5",
            "Am I the 5th to write? My boss wrote to you too.",
            "On Monday it broke.\nOn Tuesday it worked.",
            "From what I saw: 4 of 5.",
            "De nada, todo bien",
            "5 great\nOn time, too",
            "I wrote: nothing helps",
            "Regards the printer: it prints.",
        ] {
            assert_eq!(own(words), words);
        }
        assert_eq!(own(" 5 \n\n\n\n\n fine "), "5\n\nfine");
        assert_eq!(own(&"é\n".repeat(9_000)).chars().count(), 3_999);
    }

    #[test]
    fn html_is_read_above_its_quotation() {
        for html in [
            "<p>5 great</p><blockquote>1 2 3</blockquote>",
            "<div dir=\"ltr\">5 great</div><br><div class=\"gmail_quote gmail_quote_container\">On … 3</div>",
            "<div>5 great</div><div id=\"divRplyFwdMsg\" dir=\"ltr\">From: x</div>",
            "<p>5 great</p><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt'>From: 3</div>",
            "5 great",
        ] {
            assert_eq!(own(&html_to_text(above_quote(html))), "5 great", "{html}");
        }
    }
}
