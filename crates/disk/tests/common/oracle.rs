//! What must be true of every image that opens and of every NBD client, however hostile: used by
//! the fuzz targets and by the random tests.

use std::sync::Arc;

use bytes::Bytes;
use disk::memory::Memory;
use disk::nbd::{Answer, Export, Exports, Piece, serve};
use disk::{DISK_BYTES_MAX, DiskError, Extent, ExtentKind, Format, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Extents that are walked at most.
const EXTENTS_MAX: usize = 2000;
const READ_BYTES: u64 = 64 << 10;

/// Opens bytes as an image. If that works, extents cover the disk, `Zero` is true, reads agree
/// with each other and nothing outside the disk can be read. Tells whether it opened.
pub fn image(format: Format, bytes: Vec<u8>) -> bool {
    let disk = match disk::open(format, Arc::new(Memory(bytes))) {
        Ok(disk) => disk,
        Err(DiskError::Malformed { .. } | DiskError::Refused { .. }) => return false,
        Err(other) => panic!("opening gives another error: {other}"),
    };
    let size = disk.size_bytes();
    assert!(size <= DISK_BYTES_MAX);
    let mut at = 0;
    for _ in 0..EXTENTS_MAX {
        if at == size {
            break;
        }
        let extent = disk.extent_at(at).unwrap();
        assert!(extent.offset == at && extent.length > 0 && extent.length <= size - at);
        for from in [at, at + extent.length - extent.length.min(READ_BYTES)] {
            let length = (at + extent.length - from).min(READ_BYTES);
            read(disk.as_ref(), from, length, extent.kind);
        }
        at += extent.length;
    }
    for (offset, length) in [(size, 1), (size - 1, 2), (u64::MAX, 1), (u64::MAX - 1, 2)] {
        let error = disk.read_at(offset, &mut vec![0; length]).unwrap_err();
        assert!(matches!(error, DiskError::OutOfBounds { .. }), "{error}");
    }
    assert!(disk.extent_at(size).is_err());
    true
}

/// Reads a range whole and in two parts; what fails must say that the image is bad.
fn read(disk: &dyn Source, offset: u64, length: u64, kind: ExtentKind) {
    let mut whole = vec![0xA5; usize::try_from(length).unwrap()];
    let result = disk.read_at(offset, &mut whole);
    if let Err(error) = result {
        assert!(matches!(error, DiskError::Malformed { .. }), "{error}");
        assert_eq!(kind, ExtentKind::Data, "zeroes can always be read");
        return;
    }
    if kind == ExtentKind::Zero {
        assert!(whole.iter().all(|b| *b == 0), "zero at {offset}");
    }
    let mut parts = vec![0x5A; whole.len()];
    let (first, second) = parts.split_at_mut(whole.len() / 3);
    disk.read_at(offset, first).unwrap();
    disk.read_at(offset + first.len() as u64, second).unwrap();
    assert!(whole == parts, "reads at {offset} differ");
}

/// A disk of zeroes that checks what the server lets through.
struct Strict;

const STRICT_BYTES: u64 = 1 << 20;

impl Strict {
    fn inside(&self, offset: u64, length: u64) {
        assert!(length > 0 && offset < STRICT_BYTES && length <= STRICT_BYTES - offset);
    }
}

impl Export for Strict {
    fn size_bytes(&self) -> u64 {
        STRICT_BYTES
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>> {
        self.inside(offset, u64::from(length));
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(vec![Piece::Zero(u64::from(length))])
        })
    }

    fn write(&self, offset: u64, data: Bytes) -> Answer<'_, ()> {
        self.inside(offset, data.len() as u64);
        Box::pin(std::future::ready(Ok(())))
    }

    fn write_zeroes(&self, offset: u64, length: u32, _: bool) -> Answer<'_, ()> {
        self.inside(offset, u64::from(length));
        Box::pin(std::future::ready(Ok(())))
    }

    fn trim(&self, offset: u64, length: u32) -> Answer<'_, ()> {
        self.write_zeroes(offset, length, false)
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn extents(&self, offset: u64, length: u32) -> Answer<'_, Vec<Extent>> {
        self.inside(offset, u64::from(length));
        Box::pin(std::future::ready(Ok(vec![Extent {
            offset,
            length: u64::from(length),
            kind: ExtentKind::Zero,
        }])))
    }
}

/// Turns data into what a client sends: by the first byte raw bytes, or a handshake and requests
/// whose marks are right.
fn client(data: &[u8]) -> Vec<u8> {
    let [mode, data @ ..] = data else {
        return Vec::new();
    };
    let mut out = vec![0, 0, 0, 3];
    let option = |number: u32, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap();
        [
            &b"IHAVEOPT"[..],
            &number.to_be_bytes(),
            &length.to_be_bytes(),
            data,
        ]
        .concat()
    };
    match mode % 4 {
        0 => return data.to_vec(),
        // Options with right marks.
        1 => {
            for piece in data.chunks(24) {
                out.extend(option(u32::from(piece[0] % 13), &piece[1..]));
            }
            return out;
        }
        2 => {}
        _ => {
            out.extend(option(8, &[]));
            out.extend(option(10, b"\0\0\0\0\0\0\0\x01\0\0\0\x0fbase:allocation"));
        }
    }
    out.extend(option(7, &[0; 6]));
    let mut rest = data;
    while let [command, flags, offset, length, behind @ ..] = rest {
        let wild = [0, 1, STRICT_BYTES - 1, STRICT_BYTES, 1 << 32, u64::MAX];
        let offset = match offset & 0x80 {
            0 => u64::from(*offset) << 12,
            _ => wild[usize::from(offset % 6)],
        };
        let length = match length & 0x80 {
            0 => u32::from(*length) << 8,
            _ => [0, 1, 1 << 20, 32 << 20, (32 << 20) + 1, u32::MAX][usize::from(length % 6)],
        };
        out.extend_from_slice(&0x2560_9513_u32.to_be_bytes());
        out.extend_from_slice(&u16::from(flags % 37).to_be_bytes());
        out.extend_from_slice(&u16::from(command % 10).to_be_bytes());
        out.extend_from_slice(&[7; 8]);
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        if command % 10 == 1 && length < 1 << 16 {
            out.resize(out.len() + usize::try_from(length).unwrap(), 1);
        }
        rest = behind;
    }
    out
}

/// Lets a client send data and leave: the server ends, gives the export only what is inside, and
/// answers with frames and nothing else.
pub fn nbd(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sent = client(data);
        let (mine, theirs) = tokio::io::duplex(64 << 10);
        let (mut reader, mut writer) = tokio::io::split(mine);
        let exports = Exports::one(Arc::new(Strict));
        let server = serve(theirs, &exports);
        let sending = async {
            // The server may leave before it has read all.
            _ = writer.write_all(&sent).await;
            _ = writer.shutdown().await;
        };
        let receiving = async {
            let mut greeting = [0; 18];
            reader.read_exact(&mut greeting).await.unwrap();
            tokio::io::copy(&mut reader, &mut tokio::io::sink())
                .await
                .unwrap()
        };
        let (_, (), received) = tokio::join!(server, sending, receiving);
        // A request of 28 bytes is answered by its data and little more.
        let most = (sent.len() as u64 / 28 + 2) * ((1 << 20) + 65536) + 65536;
        assert!(
            received <= most,
            "{received} bytes for {} bytes",
            sent.len()
        );
    });
}
