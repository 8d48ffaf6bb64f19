//! A disk in memory to serve and a client that can say anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use disk::nbd::{Answer, Export, ExportError, Exports, NbdError, Piece, serve};
use disk::{Extent, ExtentKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const PAGE: usize = 4096;

/// A disk in a `Vec`. Pages that are zero are holes.
pub struct MemoryDisk {
    pub bytes: Mutex<Vec<u8>>,
    pub is_read_only: bool,
    /// Let operations wait once before they are done.
    pub is_slow: bool,
    /// Reads at odd offsets wait for a permit of the gate.
    pub is_gated: bool,
    pub gate: Semaphore,
    pub running: AtomicUsize,
    pub running_max: AtomicUsize,
    pub reads: AtomicUsize,
    pub flushes: AtomicUsize,
    pub fails_with: Option<ExportError>,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Mutex::new(bytes),
            is_read_only: false,
            is_slow: false,
            is_gated: false,
            gate: Semaphore::new(0),
            running: AtomicUsize::new(0),
            running_max: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            flushes: AtomicUsize::new(0),
            fails_with: None,
        }
    }

    async fn pause(&self) -> Result<(), ExportError> {
        if self.is_slow {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.running_max.fetch_max(running, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.running.fetch_sub(1, Ordering::SeqCst);
        }
        self.fails_with.map_or(Ok(()), Err)
    }

    /// Runs of pages that are all zero or not.
    fn runs(&self, offset: u64, length: u64) -> Vec<(u64, u64, bool)> {
        let bytes = self.bytes.lock().unwrap();
        let (mut at, end) = (size(offset), size(offset + length));
        let mut runs: Vec<(u64, u64, bool)> = Vec::new();
        while at < end {
            let next = ((at / PAGE + 1) * PAGE).min(bytes.len());
            let page = &bytes[at / PAGE * PAGE..next];
            let is_zero = page.iter().all(|b| *b == 0);
            let length = (next.min(end) - at) as u64;
            match runs.last_mut() {
                Some((_, run, known)) if *known == is_zero => *run += length,
                _ => runs.push((at as u64, length, is_zero)),
            }
            at = next;
        }
        runs
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

impl Export for MemoryDisk {
    fn size_bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            if self.is_gated && offset % 2 == 1 {
                self.gate.acquire().await.unwrap().forget();
            }
            self.pause().await?;
            let runs = self.runs(offset, u64::from(length));
            let bytes = self.bytes.lock().unwrap();
            let pieces = runs.into_iter().map(|(at, length, is_zero)| match is_zero {
                true => Piece::Zero(length),
                false => Piece::Data(Bytes::copy_from_slice(&bytes[size(at)..size(at + length)])),
            });
            Ok(pieces.collect())
        })
    }

    fn write(&self, offset: u64, data: Bytes) -> Answer<'_, ()> {
        Box::pin(async move {
            self.pause().await?;
            self.bytes.lock().unwrap()[size(offset)..][..data.len()].copy_from_slice(&data);
            Ok(())
        })
    }

    fn write_zeroes(&self, offset: u64, length: u32, _: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            self.pause().await?;
            self.bytes.lock().unwrap()[size(offset)..][..size(u64::from(length))].fill(0);
            Ok(())
        })
    }

    fn trim(&self, offset: u64, length: u32) -> Answer<'_, ()> {
        self.write_zeroes(offset, length, false)
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.flushes.fetch_add(1, Ordering::SeqCst);
            self.pause().await
        })
    }

    fn extents(&self, offset: u64, length: u32) -> Answer<'_, Vec<Extent>> {
        Box::pin(async move {
            self.pause().await?;
            let runs = self.runs(offset, u64::from(length)).into_iter();
            let extents = runs.map(|(offset, length, is_zero)| Extent {
                offset,
                length,
                kind: if is_zero {
                    ExtentKind::Zero
                } else {
                    ExtentKind::Data
                },
            });
            Ok(extents.collect())
        })
    }
}

/// The server of one connection and the client's end of it.
pub struct Client {
    pub stream: DuplexStream,
    pub server: JoinHandle<Result<(), NbdError>>,
    pub cookie: u64,
}

/// A chunk or a simple reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub cookie: u64,
    pub error: u32,
    pub data: Vec<u8>,
    /// Chunks of data and holes: offset, length, whether it is data.
    pub chunks: Vec<(u64, u32, bool)>,
    /// Lengths and flags of block status.
    pub status: Vec<(u32, u32)>,
}

impl Client {
    pub fn connect(exports: Exports) -> Self {
        Self::connect_with(exports, |stream, exports| {
            Box::pin(async move { serve(stream, &exports).await })
        })
    }

    pub fn connect_with(
        exports: Exports,
        serve: impl FnOnce(
            DuplexStream,
            Exports,
        )
            -> std::pin::Pin<Box<dyn Future<Output = Result<(), NbdError>> + Send>>,
    ) -> Self {
        let (stream, server) = tokio::io::duplex(256 << 10);
        let server = tokio::spawn(serve(server, exports));
        Self {
            stream,
            server,
            cookie: 0,
        }
    }

    /// Connects to one disk and goes into transmission.
    pub async fn go(disk: &Arc<MemoryDisk>, is_structured: bool) -> Self {
        let mut client = Self::connect(Exports::one(disk.clone()));
        client.greet().await;
        if is_structured {
            assert_eq!(client.option(8, &[]).await, [(1, vec![])]);
            let query = [
                &[0; 4][..],
                &1_u32.to_be_bytes(),
                &15_u32.to_be_bytes(),
                b"base:allocation",
            ];
            assert_eq!(client.option(10, &query.concat()).await[1], (1, vec![]));
        }
        let replies = client.option(7, &[0; 6]).await;
        assert_eq!(replies.last().unwrap().0, 1);
        client
    }

    pub async fn greet(&mut self) {
        let mut greeting = [0; 18];
        self.stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\0\x03");
        self.send(&3_u32.to_be_bytes()).await;
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends an option; returns the replies up to an ACK or an error: type and data.
    pub async fn option(&mut self, number: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send(&option(number, data)).await;
        let mut replies = Vec::new();
        loop {
            assert_eq!(self.stream.read_u64().await.unwrap(), 0x0003_E889_0455_65A9);
            assert_eq!(self.stream.read_u32().await.unwrap(), number);
            let kind = self.stream.read_u32().await.unwrap();
            let length = self.stream.read_u32().await.unwrap();
            let mut data = vec![0; size(u64::from(length))];
            self.stream.read_exact(&mut data).await.unwrap();
            if kind >> 31 == 1 {
                data.clear();
            }
            replies.push((kind, data));
            if kind == 1 || kind >> 31 == 1 {
                return replies;
            }
        }
    }

    /// Sends a request without waiting; returns its cookie.
    pub async fn request(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        payload: &[u8],
    ) -> u64 {
        self.cookie += 1;
        let frame = request(command, flags, self.cookie, offset, length);
        self.send(&[&frame, payload].concat()).await;
        self.cookie
    }

    /// Sends a request and waits for its answer.
    pub async fn call(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        payload: &[u8],
    ) -> Answered {
        let cookie = self.request(command, flags, offset, length, payload).await;
        let expected = if command == 0 { length } else { 0 };
        let answer = self.answer(offset, expected).await;
        assert_eq!(answer.cookie, cookie);
        answer
    }

    /// Reads one whole answer to a request of `length` bytes at `offset` (0: nothing to read).
    pub async fn answer(&mut self, offset: u64, length: u32) -> Answered {
        let mut out = Answered {
            cookie: 0,
            error: 0,
            data: vec![0xEE; size(u64::from(length))],
            chunks: Vec::new(),
            status: Vec::new(),
        };
        if self.stream.read_u32().await.unwrap() == 0x6744_6698 {
            out.error = self.stream.read_u32().await.unwrap();
            out.cookie = self.stream.read_u64().await.unwrap();
            if out.error == 0 {
                self.stream.read_exact(&mut out.data).await.unwrap();
            }
            return out;
        }
        loop {
            let flags = self.stream.read_u16().await.unwrap();
            let kind = self.stream.read_u16().await.unwrap();
            out.cookie = self.stream.read_u64().await.unwrap();
            let length = self.stream.read_u32().await.unwrap();
            let mut data = vec![0; size(u64::from(length))];
            self.stream.read_exact(&mut data).await.unwrap();
            self.chunk(&mut out, kind, &data, offset);
            if flags & 1 == 1 {
                return out;
            }
            assert_eq!(self.stream.read_u32().await.unwrap(), 0x668E_33EF);
        }
    }

    fn chunk(&self, out: &mut Answered, kind: u16, data: &[u8], offset: u64) {
        let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        let place = |data: &[u8]| u64::from_be_bytes(data[..8].try_into().unwrap());
        match kind {
            0 => {}
            1 => {
                let at = place(data);
                out.data[size(at - offset)..][..data.len() - 8].copy_from_slice(&data[8..]);
                out.chunks
                    .push((at, u32::try_from(data.len() - 8).unwrap(), true));
            }
            2 => {
                let at = place(data);
                out.data[size(at - offset)..][..size(u64::from(word(8)))].fill(0);
                out.chunks.push((at, word(8), false));
            }
            5 => {
                assert_eq!(word(0), 1);
                out.status = (4..data.len())
                    .step_by(8)
                    .map(|at| (word(at), word(at + 4)))
                    .collect();
            }
            _ => out.error = word(0),
        }
    }

    /// Closes the client's end; returns what the server says of the connection.
    pub async fn leave(self) -> Result<(), NbdError> {
        drop(self.stream);
        self.server.await.unwrap()
    }
}

pub fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [
        &b"IHAVEOPT"[..],
        &number.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

pub fn request(command: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    [
        &0x2560_9513_u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &cookie.to_be_bytes(),
        &offset.to_be_bytes(),
        &length.to_be_bytes(),
    ]
    .concat()
}
