//! URLs of this gallery's blobs, taken apart: nothing is ever fetched.
//!
//! Two forms are known: `https://{account}.blob.{suffix}/{container}/{blob}` and
//! `https://{host}/blob/{account}/{container}/{blob}`. What follows `?` (a SAS) is not looked at.

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 4096;
/// Where the blobs of sovereign clouds are: an account here that has the name of one there is another account.
const OTHER_CLOUDS: [&str; 3] = [
    ".blob.core.chinacloudapi.cn",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.cloudapi.de",
];

/// What a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BlobUri {
    pub account: String,
    pub container: String,
    pub blob: String,
}

/// Takes a URL apart; `None` when it cannot be a blob of this gallery.
pub(super) fn parse(uri: &str) -> Option<BlobUri> {
    if uri.len() > URL_BYTES_MAX
        || uri
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return None;
    }
    let (scheme, rest) = uri.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/')?;
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let host = authority.split(':').next().unwrap_or_default();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if OTHER_CLOUDS.iter().any(|suffix| host.ends_with(suffix)) {
        return None;
    }
    let mut labels = authority.split('.');
    let (first, second) = (labels.next().unwrap_or_default(), labels.next());
    let (account, path) = if second.is_some_and(|l| l.eq_ignore_ascii_case("blob")) {
        (first.to_ascii_lowercase(), path)
    } else {
        let below = path.strip_prefix("blob/")?;
        let (account, path) = below.split_once('/')?;
        (account.to_owned(), path)
    };
    let (container, blob) = path.split_once('/')?;
    let (container, blob) = (decode(container)?, decode(blob)?);
    domain::storage_account::check_name(&account).ok()?;
    let is_safe = !blob.is_empty()
        && !blob
            .split('/')
            .any(|segment| segment == ".." || segment == ".");
    is_safe.then_some(BlobUri {
        account,
        container,
        blob,
    })
}

/// Decodes `%xx`; `None` for broken escapes, control characters and what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let pair = [bytes.next()?, bytes.next()?];
            let hex = std::str::from_utf8(&pair).ok()?;
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            out.push(u8::from_str_radix(hex, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_blob_and_a_sas_does_not_matter() {
        for uri in [
            "https://localhost:8443/blob/acct1/vhds/a%20b/c.vhd?sv=1&sig=x",
            "https://acct1.blob.core.windows.net/vhds/a b/c.vhd"
                .replace(' ', "%20")
                .as_str(),
            "HTTPS://ACCT1.blob.localhost:8443/vhds/a%20b/c.vhd#x",
        ] {
            let found = parse(uri).unwrap_or_else(|| panic!("{uri}"));
            assert_eq!(
                (
                    found.account.as_str(),
                    found.container.as_str(),
                    found.blob.as_str()
                ),
                ("acct1", "vhds", "a b/c.vhd")
            );
        }
    }

    #[test]
    fn hostile_urls_name_nothing() {
        for uri in [
            "http://localhost/blob/acct1/c/b",
            "file:///blob/acct1/c/b",
            "https://user@localhost/blob/acct1/c/b",
            "https://user:p@acct1.blob.x/c/b",
            "https://localhost/blob/acct1/c/../b",
            "https://localhost/blob/acct1/c/%2e%2e/b",
            "https://localhost/blob/acct1/c/a%00b",
            "https://localhost/blob/acct1/c/a%0ab",
            "https://localhost/blob/acct1/c/a%zz",
            "https://localhost/blob/acct1/c/%ff",
            "https://localhost/blob/acct1/c/",
            "https://localhost/blob/acct1/c",
            "https://localhost/x/acct1/c/b",
            "https://localhost/blob/../c/b",
            "https://localhost/blob/disk-access/abc/disk.vhd",
            "https://169.254.169.254/c/b",
            "https:///blob/acct1/c/b",
            "https://localhost/blob/acct1/c/a\\b",
            "https://acct1.blob.core.chinacloudapi.cn/c/b",
            "https://ACCT1.Blob.Core.UsGovCloudApi.net./c/b",
            "https://acct1.blob.core.cloudapi.de:443/c/b",
            "",
        ] {
            assert_eq!(parse(uri), None, "{uri}");
        }
    }
}
