//! Serves an image file read-only over NBD on a unix socket, in the format that is named:
//! `nbd_serve SOCKET raw|vhd|dynamic-vhd|vhdx|qcow2|vmdk FILE`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::nbd::{Answer, Export, ExportError, Exports, Piece, serve};
use disk::raw::RawFile;
use disk::{Extent, ExtentKind, Format, Source};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// Extents in one answer.
const EXTENTS_MAX: usize = 1024;

/// A source as an export. Reads run where they are asked for: good for files in the page cache.
struct ReadOnly(Arc<dyn Source>);

impl ReadOnly {
    fn read_now(&self, offset: u64, length: u32) -> Result<Vec<Piece>, ExportError> {
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| ExportError::TooLarge)?];
        self.0
            .read_at(offset, &mut bytes)
            .map_err(|_| ExportError::Io)?;
        Ok(vec![Piece::Data(Bytes::from(bytes))])
    }

    fn extents_now(&self, offset: u64, length: u32) -> Result<Vec<Extent>, ExportError> {
        let (mut at, end) = (offset, offset + u64::from(length));
        let mut extents = Vec::new();
        while at < end && extents.len() < EXTENTS_MAX {
            let extent = self.0.extent_at(at).map_err(|_| ExportError::Io)?;
            at += extent.length;
            extents.push(extent);
        }
        Ok(extents)
    }
}

fn refused<'a>() -> Answer<'a, ()> {
    Box::pin(std::future::ready(Err(ExportError::ReadOnly)))
}

impl Export for ReadOnly {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>> {
        // A long read may be a hole: nothing has to be read or sent.
        let is_long = length > 64 << 10;
        let hole = is_long
            .then(|| self.0.extent_at(offset))
            .and_then(Result::ok);
        let answer = match hole {
            Some(e) if e.kind == ExtentKind::Zero && e.length >= u64::from(length) => {
                Ok(vec![Piece::Zero(u64::from(length))])
            }
            _ => self.read_now(offset, length),
        };
        Box::pin(std::future::ready(answer))
    }

    fn write(&self, _: u64, _: Bytes) -> Answer<'_, ()> {
        refused()
    }

    fn write_zeroes(&self, _: u64, _: u32, _: bool) -> Answer<'_, ()> {
        refused()
    }

    fn trim(&self, _: u64, _: u32) -> Answer<'_, ()> {
        refused()
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn extents(&self, offset: u64, length: u32) -> Answer<'_, Vec<Extent>> {
        Box::pin(std::future::ready(self.extents_now(offset, length)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, format, file] = arguments.as_slice() else {
        return Err("usage: nbd_serve SOCKET FORMAT FILE".into());
    };
    let format = match format.as_str() {
        "raw" => Format::Raw,
        "vhd" => Format::Vhd,
        "dynamic-vhd" => Format::DynamicVhd,
        "vhdx" => Format::Vhdx,
        "qcow2" => Format::Qcow2,
        "vmdk" => Format::Vmdk,
        other => return Err(format!("format {other} is not known").into()),
    };
    let disk = disk::open(format, Arc::new(RawFile::open(Path::new(file))?))?;
    let exports = Exports::one(Arc::new(ReadOnly(disk)));
    let listener = UnixListener::bind(socket)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let (stream, exports) = (accepted?.0, exports.clone());
                connections.spawn(async move { serve(stream, &exports).await });
            }
            Some(done) = connections.join_next() => {
                if let Err(error) = done? {
                    eprintln!("{error}");
                }
            }
        }
    }
}
