//! The serial console's log: bounded on disk, and text to whoever shows it.
//!
//! The emulator appends to `run/serial.log`. While a server watches, what is beyond
//! [`LOG_BYTES_MAX`] moves to `serial.1` of the server, which is replaced each time; while none
//! does, the emulator's limit of file size stops the log, never the guest. What is not kept is said
//! where it is missing: at the start, how much (counted in `serial.dropped`); in the middle, that.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::directory::Directory;
use crate::sandbox::FILE_BYTES_MAX;

pub(crate) const LOG: &str = "serial.log";
const OLDER: &str = "serial.1";
const DROPPED: &str = "serial.dropped";

/// Bytes in each of the two parts of a log.
pub const LOG_BYTES_MAX: u64 = 1 << 20;

/// Moves the log aside when it is long.
pub(crate) fn trim(directory: &Directory) -> io::Result<()> {
    let mut file = match directory.open_untrusted(LOG, true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    if length <= LOG_BYTES_MAX {
        return Ok(());
    }
    file.seek(SeekFrom::Start(length - LOG_BYTES_MAX))?;
    let mut bytes = Vec::new();
    (&file).take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let replaced = match std::fs::metadata(directory.path().join(OLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        found => found?.len(),
    };
    let gone = dropped(directory.path())? + replaced + (length - LOG_BYTES_MAX);
    let lost = file.metadata()?.len() - length;
    if length >= FILE_BYTES_MAX {
        bytes.extend_from_slice(b"\n[the log was full: what the guest said then is lost]\n");
    } else if lost > 0 {
        bytes.extend_from_slice(format!("\n[{lost} bytes of a flood are lost here]\n").as_bytes());
    }
    put(directory.path(), DROPPED, gone.to_string().as_bytes())?;
    put(directory.path(), OLDER, &bytes)?;
    // The emulator appends: it goes on at the start.
    file.set_len(0)
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let next = dir.join(format!("{name}.next"));
    std::fs::write(&next, bytes)?;
    std::fs::rename(&next, dir.join(name))
}

/// Returns how many bytes at the start of a log are not kept.
fn dropped(dir: &Path) -> io::Result<u64> {
    match std::fs::read_to_string(dir.join(DROPPED)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        // Torn by a crash of the host: nobody knows how many they were.
        read => Ok(read?.trim().parse().unwrap_or(0)),
    }
}

/// Makes sure that the emulator can append to a log; what earlier starts have said stays.
pub(crate) fn ensure(directory: &Directory) -> io::Result<()> {
    match directory.open_untrusted(LOG, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory.put(LOG, b""),
        Err(error) => Err(error),
        Ok(_) => trim(directory),
    }
}

/// Returns the end of a machine's log, at most `bytes_max` bytes of what is kept, after a line that says
/// how much came before.
///
/// These are the guest's bytes: show them through [`printable`].
pub fn read(dir: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let directory = Directory::new(dir, None);
    let newer = directory.tail(LOG, bytes_max)?;
    let mut older = match std::fs::read(dir.join(OLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let room = bytes_max.saturating_sub(newer.len() as u64);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let cut = older.len().saturating_sub(room);
    // It may have grown since: what is beyond is not "before".
    let length = match directory.open_untrusted(LOG, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        opened => opened?.metadata()?.len(),
    };
    let unread = match newer.len() as u64 >= bytes_max {
        true => length.saturating_sub(newer.len() as u64),
        false => 0,
    };
    let gone = dropped(dir)? + cut as u64 + unread;
    let mut shown = match gone {
        0 => Vec::new(),
        gone => format!("[{gone} bytes before this are not kept or not shown]\n").into_bytes(),
    };
    shown.extend(older.drain(cut..));
    shown.extend(newer);
    Ok(shown)
}

/// Returns a guest's bytes as text that does nothing to whoever shows it.
///
/// Line ends become `\n`, tabs stay; colours and cursor movements are left out; every other control
/// character, and those that are invisible or turn the direction of writing, are spelt out. HTML is not escaped here.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => {
                // Terminals get "\r\r\n" too; a lone one begins a line anew.
                while rest.next_if_eq(&'\r').is_some() {}
                if rest.peek() != Some(&'\n') {
                    shown.push('\n');
                }
            }
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => skip_sequence(&mut rest),
            '\n' | '\t' => shown.push(c),
            c if c.is_control() || is_treacherous(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Skips a control sequence (ECMA-48 5.4): parameters, intermediates, one final byte.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars>) {
    while rest.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
    rest.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
}

/// Directions and invisible characters can make a line look like another.
fn is_treacherous(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{FILE_BYTES_MAX, LOG, LOG_BYTES_MAX, ensure, printable, read, trim};
    use crate::directory::Directory;

    #[test]
    fn a_guest_cannot_reach_the_terminal_of_who_reads_its_log() {
        for (bytes, shown) in [
            (&b"plain\ttext\n"[..], "plain\ttext\n"),
            (b"a\r\nb\r\r\nc\rd", "a\nb\nc\nd"),
            (b"\x1b[1;31mred\x1b[0m\x1b[2J\x1b[Hx", "redx"),
            (b"\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            (b"\x1bP+q\x1b\\", "\\u{1b}P+q\\u{1b}\\"),
            (b"\x1b[", ""),
            (b"\x1b[12\x1b[3mx", "x"),
            (b"\x00\x08\x7f", "\\u{0}\\u{8}\\u{7f}"),
            (
                "\u{9b}31m \u{202e}abc\u{2066}".as_bytes(),
                "\\u{9b}31m \\u{202e}abc\\u{2066}",
            ),
            ("pay\u{200b}pal".as_bytes(), "pay\\u{200b}pal"),
            (b"\xff\xc3", "\u{fffd}\u{fffd}"),
            ("gr\u{fc}\u{df}e <b>".as_bytes(), "gr\u{fc}\u{df}e <b>"),
        ] {
            assert_eq!(printable(bytes), shown, "{bytes:?}");
        }
    }

    #[test]
    fn no_control_character_is_left_whatever_the_bytes() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(4096).collect();
        let shown = printable(&bytes);
        assert!(
            !shown
                .chars()
                .any(|c| c.is_control() && c != '\n' && c != '\t')
        );
    }

    #[test]
    fn a_flood_keeps_its_end_and_a_bounded_size() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(home.path(), None);
        directory.ensure().expect("made");
        ensure(&directory).expect("made");
        let mut log = std::fs::OpenOptions::new()
            .append(true)
            .open(directory.run().join(LOG))
            .expect("there");
        let line = [b'x'; 1023];
        for number in 0..5 * LOG_BYTES_MAX / 1024 {
            log.write_all(&line)
                .and_then(|()| log.write_all(b"\n"))
                .expect("written");
            if number % 100 == 0 {
                trim(&directory).expect("trimmed");
            }
        }
        log.write_all(b"the end\n").expect("written");
        trim(&directory).expect("trimmed");
        let text = |bytes_max| {
            String::from_utf8(read(home.path(), bytes_max).expect("read")).expect("text")
        };
        let kept = text(u64::MAX);
        let (first, kept) = kept.split_once('\n').expect("a line");
        assert!(kept.len() as u64 <= 2 * LOG_BYTES_MAX, "{}", kept.len());
        assert!(kept.len() as u64 > LOG_BYTES_MAX, "{}", kept.len());
        assert!(kept.ends_with("x\nthe end\n"));
        let said = 5 * LOG_BYTES_MAX + 8;
        assert_eq!(
            first,
            format!(
                "[{} bytes before this are not kept or not shown]",
                said - kept.len() as u64
            )
        );
        for _ in 0..2 {
            let end = text(8);
            assert!(end.ends_with("not shown]\nthe end\n"), "{end}");
            ensure(&directory).expect("there");
        }
    }

    #[test]
    fn a_log_that_was_full_while_nobody_watched_says_so() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(home.path(), None);
        directory.ensure().expect("made");
        directory.put(LOG, b"short\n").expect("written");
        trim(&directory).expect("trimmed");
        assert_eq!(
            read(home.path(), 99).expect("read"),
            b"short\n",
            "nothing is missing"
        );
        let full = usize::try_from(FILE_BYTES_MAX).expect("small");
        directory.put(LOG, &vec![b'x'; full]).expect("written");
        trim(&directory).expect("trimmed");
        directory.put(LOG, b"later\n").expect("written");
        let shown = read(home.path(), u64::MAX).expect("read");
        let shown = String::from_utf8(shown).expect("text");
        assert!(
            shown.ends_with("x\n[the log was full: what the guest said then is lost]\nlater\n")
        );
    }
}
