//! The formats by name. The caller chooses; the bytes only have to agree.

use std::sync::Arc;

use crate::bytes::index;
use crate::source::{DiskError, Source};
use crate::{qcow2, vhd, vhdx, vmdk};

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The bytes of the disk and nothing else.
    Raw,
    /// Fixed VHD: the bytes of the disk and a footer of 512 bytes.
    Vhd,
    /// Dynamic VHD: blocks that hold data, behind a table.
    DynamicVhd,
    /// qcow2, versions 2 and 3, that needs no other file.
    Qcow2,
    /// VMDK in one file: `monolithicSparse` or `streamOptimized`.
    Vmdk,
    /// VHDX that needs no other file; a log that was not replayed is replayed in memory.
    Vhdx,
}

/// Opens a disk in the named format.
///
/// A file of another format is an error that says what the file looks like; no other format is
/// ever tried. `Raw` takes any bytes: what a guest wrote into its disk chooses nothing.
pub fn open(format: Format, inner: Arc<dyn Source>) -> Result<Arc<dyn Source>, DiskError> {
    let seen = inner.clone();
    let opened: Result<Arc<dyn Source>, DiskError> = match format {
        Format::Raw => return Ok(inner),
        Format::Vhd => vhd::FixedVhd::new(inner).map(|disk| Arc::new(disk) as _),
        Format::DynamicVhd => vhd::DynamicVhd::new(inner).map(|disk| Arc::new(disk) as _),
        Format::Qcow2 => qcow2::Qcow2::new(inner).map(|disk| Arc::new(disk) as _),
        Format::Vmdk => vmdk::Vmdk::new(inner).map(|disk| Arc::new(disk) as _),
        Format::Vhdx => vhdx::Vhdx::new(inner).map(|disk| Arc::new(disk) as _),
    };
    opened.map_err(|error| with_hint(error, format, seen.as_ref()))
}

/// Adds what the file looks like to an error about a file that is of another format.
fn with_hint(error: DiskError, wanted: Format, file: &dyn Source) -> DiskError {
    match (error, looks_like(file)) {
        (DiskError::Malformed { format, reason }, Some(found)) if found != wanted.name() => {
            DiskError::malformed(format, format!("{reason}; the file looks like {found}"))
        }
        (error, _) => error,
    }
}

impl Format {
    /// Returns the name in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Vhd => "fixed VHD",
            Self::DynamicVhd => "dynamic VHD",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "VMDK",
            Self::Vhdx => "VHDX",
        }
    }
}

/// Names what the bytes look like, for error texts and nothing else: a guest can write any of
/// these marks into its own disk, so no decision may follow from it.
pub fn looks_like(file: &dyn Source) -> Option<&'static str> {
    let mut first = [0; 512];
    let length = index(file.size_bytes().min(512));
    file.read_at(0, &mut first[..length]).ok()?;
    let known: [(&[u8], &str); 9] = [
        (b"QFI\xfb", "qcow2"),
        (b"vhdxfile", "VHDX"),
        (b"KDMV", "VMDK"),
        (b"COWD", "VMDK (old sparse extent)"),
        (b"# Disk DescriptorFile", "VMDK descriptor"),
        (b"conectix", "dynamic VHD"),
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
    ];
    let found = known.iter().find(|(mark, _)| first.starts_with(mark));
    if let Some((_, name)) = found {
        return Some(name);
    }
    let footer_at = file.size_bytes().checked_sub(vhd::FOOTER_BYTES)?;
    file.read_at(footer_at, &mut first).ok()?;
    first.starts_with(b"conectix").then_some("fixed VHD")
}
