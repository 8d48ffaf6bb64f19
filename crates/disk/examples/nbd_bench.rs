//! Random 4 KiB reads against any NBD server on a unix socket:
//! `nbd_bench SOCKET DEPTH SECONDS` prints requests per second and latencies.

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const READ_BYTES: u32 = 4096;
const REPLY_BYTES: usize = 16;

fn connect(socket: &str) -> Result<(UnixStream, u64), Box<dyn Error>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.read_exact(&mut [0; 18])?;
    stream.write_all(&[0, 0, 0, 3])?;
    // The old option: an export of the empty name, simple replies.
    stream.write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\0")?;
    let mut described = [0; 10];
    stream.read_exact(&mut described)?;
    let mut size = [0; 8];
    size.copy_from_slice(&described[..8]);
    Ok((stream, u64::from_be_bytes(size)))
}

fn request(cookie: u64, page: u64) -> [u8; 28] {
    let mut out = [0; 28];
    out[..4].copy_from_slice(&0x2560_9513_u32.to_be_bytes());
    out[8..16].copy_from_slice(&cookie.to_be_bytes());
    out[16..24].copy_from_slice(&(page * u64::from(READ_BYTES)).to_be_bytes());
    out[24..].copy_from_slice(&READ_BYTES.to_be_bytes());
    out
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, depth, seconds] = arguments.as_slice() else {
        return Err("usage: nbd_bench SOCKET DEPTH SECONDS".into());
    };
    let (depth, seconds): (usize, u64) = (depth.parse()?, seconds.parse()?);
    let (mut stream, size) = connect(socket)?;
    let pages = size / u64::from(READ_BYTES);
    let mut state = 1_u64;
    let mut page = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 20) % pages
    };
    let mut sent = vec![Instant::now(); depth];
    let mut latencies = Vec::new();
    let begin = Instant::now();
    let mut frames = Vec::new();
    for slot in 0..depth {
        frames.extend_from_slice(&request(slot as u64, page()));
    }
    stream.write_all(&frames)?;
    let mut input = vec![0; depth * (REPLY_BYTES + READ_BYTES as usize)];
    let mut filled = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        filled += stream.read(&mut input[filled..])?;
        frames.clear();
        let whole = filled / (REPLY_BYTES + READ_BYTES as usize);
        let now = Instant::now();
        for reply in input.chunks(REPLY_BYTES + READ_BYTES as usize).take(whole) {
            if reply[..8] != [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0] {
                return Err("the server answers with an error".into());
            }
            let slot = usize::from(reply[15]);
            latencies.push(now - sent[slot]);
            sent[slot] = now;
            frames.extend_from_slice(&request(slot as u64, page()));
        }
        let used = whole * (REPLY_BYTES + READ_BYTES as usize);
        input.copy_within(used..filled, 0);
        filled -= used;
        stream.write_all(&frames)?;
    }
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100].as_micros();
    println!("{rate:.0} per second, p50 {} µs, p99 {} µs", at(50), at(99));
    Ok(())
}
