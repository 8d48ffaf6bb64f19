//! Dates as the service writes and reads them.
//!
//! Written with seven fraction digits and an offset, `2024-08-26T09:05:29.0460000+00:00`; read from
//! any ISO-8601 date or date-time. A date-time without an offset is UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// The longest text that is read as a date.
const TEXT_BYTES_MAX: usize = 40;

/// Returns the milliseconds since the epoch that a date or date-time means.
pub fn parse(text: &str) -> Option<i64> {
    let is_part = |c: char| {
        c.is_ascii_digit() || matches!(c, '-' | '+' | ':' | '.' | 'T' | 'Z' | 't' | 'z' | ' ')
    };
    let text = text.trim();
    // jiff reads more (weeks, time zone names, bare times): only the plain forms are the service's.
    let is_plain = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    if text.len() > TEXT_BYTES_MAX || !is_plain || !text.chars().all(is_part) {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let local = if text.len() == 10 {
        text.parse::<Date>().ok()?.at(0, 0, 0, 0)
    } else {
        text.parse::<DateTime>().ok()?
    };
    Some(
        local
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_millisecond(),
    )
}

/// Returns the date-time with seven fraction digits, as in operations and `publishedDate`.
pub fn format(ms: i64) -> String {
    let (seconds, fraction) = split(ms);
    format!("{seconds}.{fraction:03}0000+00:00")
}

/// Returns the date-time ending in `Z`, as ARM itself writes `createdTime`.
pub fn format_zulu(ms: i64) -> String {
    format(ms).replace("+00:00", "Z")
}

/// Returns the date-time without a fraction when it has none, as dates that users gave are echoed.
pub fn format_given(ms: i64) -> String {
    let (seconds, fraction) = split(ms);
    if fraction == 0 {
        format!("{seconds}+00:00")
    } else {
        format(ms)
    }
}

/// Returns `2024-08-26T09:05:29` and the milliseconds beyond it.
fn split(ms: i64) -> (String, i64) {
    let instant = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    let civil = Offset::UTC.to_datetime(instant);
    (
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        ),
        i64::from(civil.millisecond()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_with_seven_digits_and_read_back() {
        assert_eq!(
            format(1_724_663_129_046),
            "2024-08-26T09:05:29.0460000+00:00"
        );
        assert_eq!(format(-1), "1969-12-31T23:59:59.9990000+00:00");
        assert_eq!(format_given(1_724_663_129_000), "2024-08-26T09:05:29+00:00");
        for ms in [0, 1, 1_724_663_129_046, -62_000_000_000_000] {
            assert_eq!(parse(&format(ms)), Some(ms));
            assert_eq!(parse(&format_given(ms)), Some(ms));
        }
    }

    #[test]
    fn all_forms_of_clients_are_read() {
        let wanted = parse("2030-12-01T12:59:59.000Z");
        for text in [
            "2030-12-01T12:59:59",
            "2030-12-01T12:59:59+00:00",
            "2030-12-01T13:59:59+01:00",
            "2030-12-01 12:59:59Z",
            "2030-12-01T12:59:59.0000000Z",
        ] {
            assert_eq!(parse(text), wanted, "{text}");
        }
        assert_eq!(parse("2030-12-01"), parse("2030-12-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2030-13-01",
            "2030-02-30",
            "2030-12-01T25:00:00Z",
            "12:00:00",
            "1733011200",
            "2030-W01-1",
            "2030-12-01T00:00[Europe/Paris]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
