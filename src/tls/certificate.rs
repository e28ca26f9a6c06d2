//! The fields of a certificate that rustls does not show: its validity and its name (X.509, RFC 5280).
//!
//! In: a certificate in DER (X.690). Out: the seconds since 1970 between which it is valid; the name of its subject. Promise: a
//! malformed certificate gives `None`, never a wrong field. Whether it can be trusted is decided elsewhere.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Kinds of alternative names: a mail address, a name of DNS.
const MAIL: u8 = 0x81;
const DNS: u8 = 0x82;

/// Object identifiers: 2.5.4.3, 2.5.29.17.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// Fields of a certificate, in DER.
struct Fields<'a> {
    validity: &'a [u8],
    subject: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut rest = certificate;
        let mut outer = expect(&mut rest, SEQUENCE)?;
        let mut signed = expect(&mut outer, SEQUENCE)?;
        optional(&mut signed, VERSION);
        let _serial_number = expect(&mut signed, INTEGER)?;
        let _signature = expect(&mut signed, SEQUENCE)?;
        let _issuer = expect(&mut signed, SEQUENCE)?;
        let validity = expect(&mut signed, SEQUENCE)?;
        let subject = expect(&mut signed, SEQUENCE)?;
        let _public_key = expect(&mut signed, SEQUENCE)?;
        let mut extensions = &[][..];
        while !signed.is_empty() {
            let (tag, content) = element(&mut signed)?;
            if tag == EXTENSIONS {
                extensions = expect(&mut { content }, SEQUENCE)?;
            }
        }
        Some(Self {
            validity,
            subject,
            extensions,
        })
    }
}

/// Returns the first and the last second at which a certificate is valid, since 1970.
pub fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let mut validity = Fields::of(certificate)?.validity;
    Some((time(&mut validity)?, time(&mut validity)?))
}

/// Returns the common name of the subject; where there is none, the first alternative name that is a name of DNS or a mail address.
pub fn name(certificate: &[u8]) -> Option<String> {
    let fields = Fields::of(certificate)?;
    common_name(fields.subject).or_else(|| alternative_name(fields.extensions))
}

fn common_name(mut subject: &[u8]) -> Option<String> {
    while !subject.is_empty() {
        let mut set = expect(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            if expect(&mut attribute, OBJECT_IDENTIFIER)? == COMMON_NAME {
                let (tag, text) = element(&mut attribute)?;
                let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                return text_of(text).filter(|_| is_text);
            }
        }
    }
    None
}

fn alternative_name(mut extensions: &[u8]) -> Option<String> {
    while !extensions.is_empty() {
        let mut extension = expect(&mut extensions, SEQUENCE)?;
        if expect(&mut extension, OBJECT_IDENTIFIER)? != ALTERNATIVE_NAMES {
            continue;
        }
        // Whether it is critical, if that is said, comes before it.
        let mut value = loop {
            if let (OCTET_STRING, value) = element(&mut extension)? {
                break value;
            }
        };
        let mut names = expect(&mut value, SEQUENCE)?;
        while !names.is_empty() {
            if let (MAIL | DNS, text) = element(&mut names)? {
                return text_of(text);
            }
        }
    }
    None
}

fn text_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_plain = !text.is_empty() && !text.contains(char::is_control);
    is_plain.then(|| text.to_owned())
}

/// Takes a time, in one of its two forms, both of them in UTC: `YYMMDDhhmmssZ`, `YYYYMMDDhhmmssZ`.
fn time(input: &mut &[u8]) -> Option<i64> {
    let (tag, text) = element(input)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // RFC 5280, 4.1.2.5.1.
        UTC_TIME if *text >= *"50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let is_digits = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let year = text.get(..4).filter(|_| is_digits)?.parse().ok()?;
    let time = DateTime::new(
        year,
        number(4, 6)?,
        number(6, 8)?,
        number(8, 10)?,
        number(10, 12)?,
        number(12, 14)?,
        0,
    );
    let timestamp = TimeZone::UTC.to_timestamp(time.ok()?);
    Some(timestamp.ok()?.as_second())
}

/// Takes an element of this tag.
fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, content) = element(input)?;
    (found == tag).then_some(content)
}

/// Takes an element of this tag, if it comes next.
fn optional(input: &mut &[u8], tag: u8) {
    if input.first() == Some(&tag) {
        element(input);
    }
}

/// Takes an element: its tag, of one byte, and its content.
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The number of bytes of the length.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = length.iter();
            (
                length.fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, content))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(names: &[&str], common_name: Option<&str>) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names of DNS");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "PyKV");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        } else {
            let mail = "ann@example.com".try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::Rfc822Name(mail));
        }
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2051, 1, 2);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        certificate.der().to_vec()
    }

    #[test]
    fn the_validity_is_read_in_both_forms() {
        let days = (946_598_400, 2_556_230_400);
        assert_eq!(validity(&certificate(&[], Some("a"))), Some(days));
    }

    #[test]
    fn the_name_is_the_common_name_or_the_first_alternative_name() {
        let named = |names: &[&str], common_name| name(&certificate(names, common_name));
        assert_eq!(
            named(&["b.example"], Some("Ann Ä")).as_deref(),
            Some("Ann Ä")
        );
        assert_eq!(named(&["b.example"], None).as_deref(), Some("b.example"));
        assert_eq!(named(&[], None).as_deref(), Some("ann@example.com"));
    }

    #[test]
    fn what_is_cut_or_damaged_gives_no_field_and_no_panic() {
        let whole = certificate(&["b.example"], Some("Ann"));
        for end in 0..whole.len() {
            assert_eq!(validity(&whole[..end]), None);
            assert_eq!(name(&whole[..end]), None);
        }
        for at in 0..whole.len() {
            for byte in [0, 0x30, 0x7f, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = (validity(&damaged), name(&damaged));
            }
        }
    }
}
