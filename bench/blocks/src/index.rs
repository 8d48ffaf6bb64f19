//! The index of a store of 1 TiB.

use std::time::Instant;

use blocks::simulation::{SEGMENT_BLOCKS, Simulation};

use crate::{Clock, Done, next};

/// Unique blocks of 4 KiB in 1 TiB.
const BLOCKS: u64 = 1 << 28;
const LOOKUPS: u64 = 20_000_000;

pub fn measure(bytes: usize) -> Done<()> {
    let before = resident()?;
    let clock = Clock::start();
    let mut index = Simulation::new(BLOCKS, bytes);
    let (_, cpu) = clock.seconds();
    // What a store has in memory besides: 72 bytes a segment.
    let directories = BLOCKS / SEGMENT_BLOCKS * 72;
    println!(
        "{{\"index_of_tib\":1,\"hooks_mib\":{},\"hooks\":{},\"one_in\":{},\"resident_mib\":{},\"directories_mib\":{:.1},\"fill_per_cpu_s\":{:.0}}}",
        bytes >> 20,
        index.hooks(),
        1_u64 << index.shift(),
        (resident()? - before) >> 20,
        directories as f64 / f64::from(1 << 20),
        BLOCKS as f64 / cpu
    );
    for (name, from) in [("stored", 0), ("unknown", BLOCKS)] {
        let (mut state, mut found, start) = (5, 0_u64, Instant::now());
        for _ in 0..LOOKUPS {
            found += u64::from(index.is_hooked(from + next(&mut state) % BLOCKS));
        }
        println!(
            "{{\"lookups\":\"{name}\",\"per_s\":{:.0},\"hooked\":{found}}}",
            LOOKUPS as f64 / start.elapsed().as_secs_f64()
        );
    }
    for length in [16_u64, 64, 256, 1024, 4096] {
        let (mut state, runs) = (9, 2000);
        let (clock, loads) = (Clock::start(), index.loads);
        let found: u64 = (0..runs)
            .map(|_| index.find_run(next(&mut state) % (BLOCKS - length), length))
            .sum();
        let (_, cpu) = clock.seconds();
        println!(
            "{{\"run_of\":{length},\"found_percent\":{:.1},\"segments_read\":{},\"blocks_per_cpu_s\":{:.0}}}",
            100.0 * found as f64 / (runs * length) as f64,
            index.loads - loads,
            (runs * length) as f64 / cpu
        );
    }
    println!("{{\"resident_mib_at_the_end\":{}}}", (resident()? - before) >> 20);
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> Done<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).ok_or("statm has no second number")?;
    Ok(pages.parse::<u64>()? * 4096)
}
