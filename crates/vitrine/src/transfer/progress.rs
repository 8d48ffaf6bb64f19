//! How far a transfer is: a bar on a terminal, a line every ten seconds elsewhere; both on stderr.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

/// From one line to the next.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Begins to show a transfer of so many bytes, until its bar is finished or dropped.
pub fn progress(label: &'static str, total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(total_bytes);
    if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template(
            "{msg:>12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(label);
        bar.enable_steady_tick(Duration::from_millis(200));
        return bar;
    }
    bar.set_draw_target(ProgressDrawTarget::hidden());
    let (watched, started) = (bar.downgrade(), Instant::now());
    std::thread::spawn(move || {
        let wait = || {
            std::thread::sleep(LINE_EVERY);
            started.elapsed()
        };
        report(label, &watched, wait, &mut std::io::stderr());
    });
    bar
}

/// Writes a line after each wait, which says how long it has been since the beginning.
fn report(
    label: &str,
    watched: &WeakProgressBar,
    mut wait: impl FnMut() -> Duration,
    out: &mut impl Write,
) {
    let (mut since, mut before) = (Duration::ZERO, 0);
    loop {
        let now = wait();
        let Some(bar) = watched.upgrade().filter(|bar| !bar.is_finished()) else {
            return;
        };
        let (done, total) = (bar.position(), bar.length().unwrap_or(0));
        let moved = done.saturating_sub(before);
        let line = line(label, done, total, moved, now.saturating_sub(since));
        // Nobody reads it any more: the transfer goes on.
        if writeln!(out, "{line}").is_err() {
            return;
        }
        (since, before) = (now, done);
    }
}

/// Returns the line for `done` of `total` bytes, of which `moved` took `time`.
///
/// What an earlier run sent is done at once, so only the last lines' pace says when the rest will be.
fn line(label: &str, done: u64, total: u64, moved: u64, time: Duration) -> String {
    let (millis, moved) = (time.as_millis().max(1), u128::from(moved));
    let rate = match moved * 1000 / millis {
        slow if slow < 1 << 20 => format!("{} KiB/s", slow >> 10),
        fast => format!("{} MiB/s", fast >> 20),
    };
    let rest = u128::from(total.saturating_sub(done));
    let left = match moved {
        0 => "time left unknown".to_owned(),
        _ => format!("{} s left", (rest * millis).div_ceil(moved * 1000)),
    };
    format!(
        "{label}: {} of {} MiB, {rate}, {left}",
        done >> 20,
        total >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Plays a transfer of 100 MiB: at each of the moments so many bytes are done.
    fn told(moments: &[(u64, u64)]) -> String {
        let bar = ProgressBar::hidden();
        bar.set_length(100 * MIB);
        let (watched, mut out, mut next) = (bar.downgrade(), Vec::new(), moments.iter());
        let mut bar = Some(bar);
        let wait = || match (next.next(), &bar) {
            (Some((millis, done)), Some(bar)) => {
                bar.set_position(*done);
                Duration::from_millis(*millis)
            }
            _ => {
                bar = None;
                Duration::ZERO
            }
        };
        report("Uploading", &watched, wait, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_say_how_far_how_fast_and_how_long_still() {
        let lines = told(&[
            (10_000, 20 * MIB),
            (20_000, 60 * MIB),
            // The network is away.
            (30_000, 60 * MIB),
            (40_000, 60 * MIB + 5 * (MIB / 2)),
            (50_000, 100 * MIB),
        ]);
        let wanted = "Uploading: 20 of 100 MiB, 2 MiB/s, 40 s left\n\
                      Uploading: 60 of 100 MiB, 4 MiB/s, 10 s left\n\
                      Uploading: 60 of 100 MiB, 0 KiB/s, time left unknown\n\
                      Uploading: 62 of 100 MiB, 256 KiB/s, 150 s left\n\
                      Uploading: 100 of 100 MiB, 3 MiB/s, 0 s left\n";
        assert_eq!(lines, wanted);
    }

    #[test]
    fn what_an_earlier_run_sent_does_not_make_the_rest_look_fast() {
        let lines = told(&[(1, 80 * MIB), (10_001, 90 * MIB)]);
        let last = lines.lines().last().unwrap();
        assert_eq!(last, "Uploading: 90 of 100 MiB, 1 MiB/s, 10 s left");
    }

    #[test]
    fn nothing_is_said_when_it_is_over_before_the_first_line() {
        let bar = ProgressBar::hidden();
        let (watched, mut out) = (bar.downgrade(), Vec::new());
        bar.finish_and_clear();
        report("Uploading", &watched, || LINE_EVERY, &mut out);
        drop(bar);
        report("Uploading", &watched, || LINE_EVERY, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn numbers_at_their_limits_make_lines_too() {
        for (done, total, moved, millis, wanted) in [
            (0, 0, 0, 0, "0 of 0 MiB, 0 KiB/s, time left unknown"),
            (
                MIB - 1,
                MIB,
                MIB - 1,
                1000,
                "0 of 1 MiB, 1023 KiB/s, 1 s left",
            ),
            (MIB, MIB, MIB, 1000, "1 of 1 MiB, 1 MiB/s, 0 s left"),
            // More than was promised: the file grew.
            (2 * MIB, MIB, MIB, 500, "2 of 1 MiB, 2 MiB/s, 0 s left"),
            (
                1,
                u64::MAX,
                1,
                1_000_000,
                "0 of 17592186044415 MiB, 0 KiB/s, 18446744073709551614000 s left",
            ),
        ] {
            let said = line(
                "Uploading",
                done,
                total,
                moved,
                Duration::from_millis(millis),
            );
            assert_eq!(said, format!("Uploading: {wanted}"));
        }
    }
}
