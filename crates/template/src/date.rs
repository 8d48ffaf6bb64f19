//! Moments and spans, as `utcNow` and `dateTimeAdd` have them.

use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};

use crate::fault::{Fault, Result};

/// Formats a moment: the usual form, or a custom one (`yyyy-MM-dd`, `u`, `d`).
pub fn format(ms: i64, form: &str) -> Result<String> {
    let at =
        Timestamp::from_millisecond(ms).map_err(|_| Fault::wrong("The moment is out of range."))?;
    let at = at.to_zoned(TimeZone::UTC);
    let pattern = match form {
        "" => "yyyyMMddTHHmmssZ",
        "u" => "yyyy-MM-dd HH:mm:ssZ",
        "s" => "yyyy-MM-ddTHH:mm:ss",
        "o" | "O" => "yyyy-MM-ddTHH:mm:ss.fffffffZ",
        "d" => "M/d/yyyy",
        "D" => "dddd, dd MMMM yyyy",
        "r" | "R" => "ddd, dd MMM yyyy HH:mm:ss GMT",
        "y" | "Y" => "yyyy MMMM",
        "m" | "M" => "MMMM dd",
        "t" => "h:mm tt",
        "T" => "h:mm:ss tt",
        "g" => "M/d/yyyy h:mm tt",
        "G" => "M/d/yyyy h:mm:ss tt",
        custom => custom,
    };
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches(first).len();
        let token = rest.get(..run).unwrap_or_default();
        if let Some(quoted) = rest.strip_prefix('\'')
            && let Some(end) = quoted.find('\'')
        {
            out.push_str(quoted.get(..end).unwrap_or_default());
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        match directive(first, run) {
            Some("%f7") => {
                let digits = format!("{:03}0000", at.millisecond());
                out.push_str(digits.get(..run.min(7)).unwrap_or_default());
            }
            Some(directive) => out.push_str(&at.strftime(directive).to_string()),
            None => out.push_str(token),
        }
        rest = rest.get(run..).unwrap_or_default();
    }
    Ok(out)
}

fn directive(letter: char, run: usize) -> Option<&'static str> {
    Some(match (letter, run) {
        ('y', 1 | 2) => "%y",
        ('y', _) => "%Y",
        ('M', 1) => "%-m",
        ('M', 2) => "%m",
        ('M', 3) => "%b",
        ('M', _) => "%B",
        ('d', 1) => "%-d",
        ('d', 2) => "%d",
        ('d', 3) => "%a",
        ('d', _) => "%A",
        ('H', 1) => "%-H",
        ('H', _) => "%H",
        ('h', 1) => "%-I",
        ('h', _) => "%I",
        ('m', 1) => "%-M",
        ('m', _) => "%M",
        ('s', 1) => "%-S",
        ('s', _) => "%S",
        ('f' | 'F', _) => "%f7",
        ('t', _) => "%p",
        ('z', 1 | 2) => "+00",
        ('z', _) => "+00:00",
        ('K', _) => "Z",
        _ => return None,
    })
}

/// Reads a moment: ISO 8601 in the long or the short form, or `yyyy-MM-dd HH:mm:ssZ`.
pub fn parse(text: &str) -> Result<i64> {
    let tidy = text.trim().replacen(' ', "T", 1);
    let zoned = tidy.parse::<Timestamp>().map(Timestamp::as_millisecond);
    let local = || {
        let bare = tidy.trim_end_matches('Z');
        let at = bare.parse::<jiff::civil::DateTime>().ok()?;
        Some(
            at.to_zoned(TimeZone::UTC)
                .ok()?
                .timestamp()
                .as_millisecond(),
        )
    };
    zoned.ok().or_else(local).ok_or_else(|| {
        Fault::wrong(format!(
            "The moment '{text}' cannot be read: it must be in the form of ISO 8601."
        ))
    })
}

/// Adds a span in the form of ISO 8601, `P3Y` or `-PT1H`.
pub fn add(ms: i64, span: &str) -> Result<i64> {
    let wrong = || {
        Fault::wrong(format!(
            "The duration '{span}' cannot be used: it must be in the form of ISO 8601."
        ))
    };
    let at = Timestamp::from_millisecond(ms)
        .map_err(|_| wrong())?
        .to_zoned(TimeZone::UTC);
    if !span.trim_start_matches(['-', '+']).starts_with('P') {
        return Err(wrong());
    }
    let parsed: Span = span.parse().map_err(|_| wrong())?;
    let moved = at.checked_add(parsed).map_err(|_| wrong())?;
    Ok(moved.timestamp().as_millisecond())
}

/// Returns a span of time in the form of ISO 8601, as `duration` of a deployment has it.
pub fn span(ms: i64) -> String {
    let span = SignedDuration::from_millis(ms.max(0));
    let (hours, rest) = (span.as_hours(), span.as_millis() % 3_600_000);
    let (minutes, millis) = (rest / 60_000, rest % 60_000);
    let mut out = "PT".to_owned();
    if hours > 0 {
        out.push_str(&format!("{hours}H"));
    }
    if minutes > 0 {
        out.push_str(&format!("{minutes}M"));
    }
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    if fraction > 0 {
        out.push_str(format!("{seconds}.{fraction:03}").trim_end_matches('0'));
    } else {
        out.push_str(&seconds.to_string());
    }
    out.push('S');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_the_usual_and_in_custom_forms() {
        let ms = 1_767_229_445_678; // 2026-01-01T01:04:05.678Z
        for (form, wanted) in [
            ("", "20260101T010405Z"),
            ("u", "2026-01-01 01:04:05Z"),
            ("yyyy-MM-dd", "2026-01-01"),
            ("d", "1/1/2026"),
            ("yyMMddHHmmssfff", "260101010405678"),
            ("'at' h:mm tt", "at 1:04 AM"),
            ("yyyyMMddTHHmmssZ", "20260101T010405Z"),
        ] {
            assert_eq!(format(ms, form).unwrap(), wanted, "{form}");
        }
        assert!(format(i64::MAX, "").is_err());
    }

    #[test]
    fn spans_are_added_and_moments_read_back() {
        let at = parse("2020-04-07 14:53:14Z").unwrap();
        for (span, wanted) in [
            ("P3Y", "2023-04-07 14:53:14Z"),
            ("-P9D", "2020-03-29 14:53:14Z"),
            ("PT1H", "2020-04-07 15:53:14Z"),
        ] {
            assert_eq!(format(add(at, span).unwrap(), "u").unwrap(), wanted);
        }
        assert_eq!(parse("20200407T145314Z").unwrap(), at);
        assert!(parse("yesterday").is_err() && add(at, "1 day").is_err());
        assert_eq!(span(5_000), "PT5S");
        assert_eq!(span(3_723_450), "PT1H2M3.45S");
    }
}
