//! The live board, `GET /board`. It is a page for desks, so it is served where the API is; its files stand below it, and every
//! address in it is relative, because that listener may be known by another name and path than the public one.

use askama::Template;

use super::beside;

/// The board. It holds no number: its scripts ask the API with the key of who looks at it.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "board.html", config = "src/web/askama.toml")]
pub struct BoardPage;

impl BoardPage {
    /// The address of a file of the page, from the page.
    #[expect(clippy::unused_self, reason = "the template calls it as a method")]
    fn file(self, name: &str) -> String {
        beside("board", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Suppression;
    use crate::web::{ASSETS, asset, asset_version};

    fn references(html: &str) -> Vec<&str> {
        let starts = ["href=\"", "src=\""];
        starts
            .iter()
            .flat_map(|start| html.split(start).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    #[test]
    fn every_file_of_the_board_is_there_and_every_address_is_relative() {
        let html = BoardPage.render().unwrap();
        let found = references(&html);
        for reference in &found {
            assert!(
                !reference.starts_with('/') && !reference.contains("//"),
                "{reference}"
            );
            if let Some(file) = reference.strip_prefix("board/") {
                let (name, version) = file.split_once("?v=").unwrap();
                assert_eq!(asset_version(name), Some(version), "{reference}");
            }
        }
        let mine = ASSETS
            .iter()
            .filter(|asset| asset.name.starts_with("board") || asset.name.starts_with("uplot."));
        for asset in mine.filter(|asset| !asset.content_type.starts_with("text/plain")) {
            let address = BoardPage.file(asset.name);
            assert!(
                found.contains(&address.as_str()),
                "{} is not loaded",
                asset.name
            );
        }
    }

    #[test]
    fn the_page_has_no_inline_script_style_or_handler_and_no_field_that_a_form_could_send_the_key_with()
     {
        let html = BoardPage.render().unwrap();
        assert!(
            !html.contains("<style") && !html.contains(" style=") && !html.contains("<script>")
        );
        for (at, _) in html.match_indices(" on") {
            assert!(
                !html[at..]
                    .split(['=', ' ', '>'])
                    .nth(1)
                    .unwrap_or_default()
                    .ends_with("click")
            );
        }
        let key = html
            .split("id=\"key\"")
            .nth(1)
            .unwrap()
            .split('>')
            .next()
            .unwrap();
        assert!(
            !key.contains("name="),
            "a form without JavaScript would send it"
        );
    }

    #[test]
    fn every_reason_for_asking_nobody_has_a_sentence() {
        let words = asset("board_words.js").unwrap().body;
        for reason in Suppression::ALL {
            assert!(
                words.contains(&format!("    {}: \"", reason.as_str())),
                "{}",
                reason.as_str()
            );
        }
    }

    #[test]
    fn nothing_on_the_board_becomes_html() {
        for asset in ASSETS
            .iter()
            .filter(|asset| asset.name.starts_with("board") || asset.name == "uplot.js")
        {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "DOMParser",
            ] {
                assert!(!asset.body.contains(way), "{way} in {}", asset.name);
            }
        }
    }
}
