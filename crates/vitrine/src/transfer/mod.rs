//! Moving disks between files and a server, through access URLs of managed disks.
//!
//! The URL speaks the page-blob protocol: ranges up, ranges down, a list of the ranges that hold
//! data. So a hole costs nothing in either direction, and an interrupted upload knows what is there.

pub mod download;
mod progress;
pub mod upload;

/// Bytes of one request; the most that Put Page takes.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// Requests under way at once.
pub const PARALLEL: usize = 4;
/// The footer of a fixed VHD.
pub const VHD_FOOTER_BYTES: u64 = 512;
/// The service version that requests name.
pub const STORAGE_VERSION: &str = "2021-12-02";

/// Reads `<PageRange><Start>…</Start><End>…</End></PageRange>` items of a page list; ends inclusive.
pub fn parse_page_list(xml: &str) -> Vec<(u64, u64)> {
    let number = |text: &str, tag: &str| -> Option<u64> {
        let from = text.find(&format!("<{tag}>"))? + tag.len() + 2;
        let to = text[from..].find('<')? + from;
        text[from..to].trim().parse().ok()
    };
    xml.split("<PageRange>")
        .skip(1)
        .filter_map(|item| Some((number(item, "Start")?, number(item, "End")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_lists_are_read_in_order() {
        let xml = "<?xml version=\"1.0\"?><PageList><PageRange><Start>0</Start><End>511</End></PageRange><ClearRange><Start>1</Start><End>2</End></ClearRange><PageRange><Start>4096</Start><End>8191</End></PageRange></PageList>";
        assert_eq!(parse_page_list(xml), [(0, 511), (4096, 8191)]);
        assert_eq!(parse_page_list("<PageList/>"), []);
    }
}
