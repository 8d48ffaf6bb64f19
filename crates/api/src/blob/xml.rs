//! XML as the blob service writes and reads it.

use domain::{Error, ErrorKind, Result};
use engine::blob::BlockChoice;
use quick_xml::Reader;
use quick_xml::events::Event;

/// A document being written.
pub(super) struct Xml(String);

impl Xml {
    pub fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"utf-8\"?>".to_owned())
    }

    /// Opens an element; `tag` may hold attributes made with [`escape`].
    pub fn open(&mut self, tag: &str) {
        self.0.push('<');
        self.0.push_str(tag);
        self.0.push('>');
    }

    pub fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// Writes an element with text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.0.push_str(&escape(text));
        self.close(name);
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// Escapes text; what XML cannot hold is left out.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{FFFE}' | '\u{FFFF}' => {}
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => {}
            c => out.push(c),
        }
    }
    out
}

/// 400: the body is not the document that is asked for.
pub(super) fn invalid() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidXmlDocument",
        "The specified XML is not syntactically valid.",
    )
}

/// Reads `<BlockList>`: which block, looked for where.
pub(super) fn block_list(text: &str) -> Result<Vec<(BlockChoice, String)>> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let mut list = Vec::new();
    let mut choice: Option<(BlockChoice, String)> = None;
    let mut depth = 0;
    loop {
        match reader.read_event().map_err(|_| invalid())? {
            Event::Start(start) => {
                depth += 1;
                let name = start.name();
                match (depth, AsRef::<str>::as_ref(&name)) {
                    (1, "BlockList") => {}
                    (2, "Committed") => choice = Some((BlockChoice::Committed, String::new())),
                    (2, "Uncommitted") => choice = Some((BlockChoice::Uncommitted, String::new())),
                    (2, "Latest") => choice = Some((BlockChoice::Latest, String::new())),
                    _ => return Err(invalid()),
                }
            }
            Event::Text(piece) => {
                let piece = piece.xml10_content();
                match &mut choice {
                    Some((_, id)) => id.push_str(piece.trim()),
                    None if piece.trim().is_empty() => {}
                    None => return Err(invalid()),
                }
            }
            Event::End(_) => {
                depth -= 1;
                list.extend(choice.take());
            }
            Event::Empty(empty)
                if depth == 0 && AsRef::<str>::as_ref(&empty.name()) == "BlockList" => {}
            Event::Eof if depth == 0 => return Ok(list),
            Event::Decl(_) | Event::Comment(_) => {}
            // References, DTDs and processing instructions have no place here.
            _ => return Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lists_keep_their_order_and_hostile_ones_are_refused() {
        let good = "<?xml version=\"1.0\"?>\n<BlockList>\n<Latest>QQ==</Latest><Committed>Qg==</Committed><Uncommitted>Qw==</Uncommitted></BlockList>";
        let ids: Vec<String> = block_list(good)
            .unwrap()
            .into_iter()
            .map(|(_, id)| id)
            .collect();
        assert_eq!(ids, ["QQ==", "Qg==", "Qw=="]);
        assert!(block_list("<BlockList/>").unwrap().is_empty());
        for bad in [
            "<BlockList><Latest>QQ==</Latest>",
            "<BlockList><Other>QQ==</Other></BlockList>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><BlockList><Latest>&a;</Latest></BlockList>",
            "<BlockList><Latest><Latest>QQ==</Latest></Latest></BlockList>",
            "text",
        ] {
            assert!(block_list(bad).is_err(), "{bad}");
        }
    }
}
