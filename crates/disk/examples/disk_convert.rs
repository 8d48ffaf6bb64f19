//! Writes an image in another format, to hold the writers against other programs:
//! `disk_convert raw|vhd|dynamic-vhd|vhdx|qcow2|vmdk FILE vhd|dynamic-vhd|qcow2 FILE`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use disk::raw::RawFile;
use disk::{Format, qcow2, vhd};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, from, wanted, to] = arguments.as_slice() else {
        return Err("usage: disk_convert FORMAT FILE FORMAT FILE".into());
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
    let source = disk::open(format, Arc::new(RawFile::open(Path::new(from))?))?;
    let file = File::create(to)?;
    match wanted.as_str() {
        "vhd" => vhd::write_fixed(&source, &file)?,
        "dynamic-vhd" => vhd::write_dynamic(&source, &file)?,
        "qcow2" => qcow2::write(&source, &file)?,
        other => return Err(format!("format {other} is not written").into()),
    }
    Ok(())
}
