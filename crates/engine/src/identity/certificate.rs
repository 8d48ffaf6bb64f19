//! The public key in a certificate: programs that sign in with one register it as it is.
//!
//! Reads only the frame of DER (X.690, 8.1) down to the key (RFC 5280, 4.1). What the certificate
//! says about names and times does not count: registering it is what makes the key trusted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Returns the public key of the first certificate in a text, as PEM; `None` when there is none.
pub(super) fn public_key_of(pem: &str) -> Option<String> {
    let (_, after) = pem.split_once(BEGIN)?;
    let (body, _) = after.split_once(END)?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    let encoded = STANDARD.encode(key_info(&der)?);
    let mut out = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END PUBLIC KEY-----");
    Some(out)
}

/// Returns the `SubjectPublicKeyInfo`, whole.
fn key_info(certificate: &[u8]) -> Option<&[u8]> {
    let whole = element(certificate)?.content_of(SEQUENCE)?;
    let mut fields = element(whole)?.content_of(SEQUENCE)?;
    let first = element(fields)?;
    if first.tag == VERSION {
        fields = first.rest;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        fields = element(fields)?.rest;
    }
    let key = element(fields)?;
    (key.tag == SEQUENCE).then_some(key.whole)
}

/// One element of DER and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn content_of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

fn element(input: &[u8]) -> Option<Element<'_>> {
    let (&tag, after) = input.split_first()?;
    let (&short, after) = after.split_first()?;
    let (length, header) = if short < 0x80 {
        (usize::from(short), 2)
    } else {
        let count = usize::from(short & 0x7f);
        if !(1..=3).contains(&count) {
            return None;
        }
        let length = after
            .get(..count)?
            .iter()
            .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        (length, 2 + count)
    };
    let end = header + length;
    Some(Element {
        tag,
        content: input.get(header..end)?,
        whole: input.get(..end)?,
        rest: input.get(end..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_certificate_is_the_key_that_made_it() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["x.test".to_owned()]).unwrap();
            let pem = params.self_signed(&pair).unwrap().pem();
            let found = public_key_of(&pem).unwrap();
            let bare = |text: &str| text.split_ascii_whitespace().collect::<String>();
            assert_eq!(bare(&found), bare(&pair.public_key_pem()));
        }
    }

    #[test]
    fn cut_and_bent_certificates_are_refused() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let der = rcgen::CertificateParams::default()
            .self_signed(&pair)
            .unwrap()
            .der()
            .to_vec();
        assert!(key_info(&der).is_some());
        for end in 0..der.len() {
            assert!(key_info(&der[..end]).is_none(), "{end}");
        }
        for at in 0..der.len() {
            let mut bent = der.clone();
            bent[at] ^= 0xff;
            // No panic, whatever it finds.
            let _ = key_info(&bent);
        }
        assert!(public_key_of("no certificate").is_none());
    }
}
