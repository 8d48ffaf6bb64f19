//! A writer of small ISO 9660 images: one directory, a handful of files.
//!
//! ECMA-119 with the names as they are in the primary tree, and a Joliet tree beside it with the
//! same files, so that every system sees `user-data` and not `USER_DAT`. No clock: dates are left
//! open, and the same files give the same bytes.
//!
//! ```text
//! sector 0..16  16      17     18   19 20     21 22     23       24      25..
//!        empty  primary joliet end  tables L,M (twice)  root     root    files
//!                                   primary   joliet    primary  joliet
//! ```

use crate::error::VmError;

const SECTOR: usize = 2048;
const PRIMARY: usize = 16;
const JOLIET: usize = 17;
const TERMINATOR: usize = 18;
const PRIMARY_TABLES: usize = 19;
const JOLIET_TABLES: usize = 21;
const PRIMARY_ROOT: usize = 23;
const JOLIET_ROOT: usize = 24;
const FILES: usize = 25;
/// Bytes of a path table that holds the root alone.
const TABLE_BYTES: u32 = 10;
/// Longest name of a file (Joliet).
const NAME_CHARS_MAX: usize = 64;

/// Where a file or directory lies.
#[derive(Clone, Copy)]
struct Place {
    sector: u32,
    bytes: u32,
}

/// Returns an image with these files, whose names are ASCII and sorted.
pub(super) fn image(label: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>, VmError> {
    let mut image = vec![0; FILES * SECTOR];
    let mut places = Vec::new();
    for (name, bytes) in files {
        let is_fine = name.is_ascii() && (1..=NAME_CHARS_MAX).contains(&name.len());
        if !is_fine {
            return Err(VmError::Invalid(format!("{name:?} cannot be on a disc")));
        }
        places.push(Place {
            sector: narrow(image.len() / SECTOR)?,
            bytes: narrow(bytes.len())?,
        });
        image.extend_from_slice(bytes);
        image.resize(image.len().next_multiple_of(SECTOR), 0);
    }
    let sectors = narrow(image.len() / SECTOR)?;

    let root = directory(PRIMARY_ROOT, files, &places, |name| {
        name.as_bytes().to_vec()
    })?;
    put(&mut image, PRIMARY_ROOT, &root);
    let root = directory(JOLIET_ROOT, files, &places, utf16)?;
    put(&mut image, JOLIET_ROOT, &root);
    for (tables, root) in [(PRIMARY_TABLES, PRIMARY_ROOT), (JOLIET_TABLES, JOLIET_ROOT)] {
        let root: u32 = narrow(root)?;
        put(
            &mut image,
            tables,
            &table(root.to_le_bytes(), 1_u16.to_le_bytes()),
        );
        put(
            &mut image,
            tables + 1,
            &table(root.to_be_bytes(), 1_u16.to_be_bytes()),
        );
    }
    put(&mut image, PRIMARY, &descriptor(label, sectors, false)?);
    put(&mut image, JOLIET, &descriptor(label, sectors, true)?);
    put(&mut image, TERMINATOR, b"\xffCD001\x01");
    Ok(image)
}

fn narrow(number: usize) -> Result<u32, VmError> {
    u32::try_from(number).map_err(|_| VmError::Invalid("a disc has at most 4 GiB".to_owned()))
}

fn put(image: &mut [u8], sector: usize, bytes: &[u8]) {
    image[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A number in both byte orders (7.3.3).
fn both(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A short number in both byte orders (7.2.3).
fn both_short(number: u16) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// One entry of a directory (9.1).
fn record(name: &[u8], place: Place, is_directory: bool) -> Result<Vec<u8>, VmError> {
    let length = (33 + name.len()).next_multiple_of(2);
    let narrow = |number: usize| {
        u8::try_from(number).map_err(|_| VmError::Invalid("a name is too long".to_owned()))
    };
    let mut record = vec![narrow(length)?, 0];
    record.extend(both(place.sector));
    record.extend(both(place.bytes));
    // The date, left open.
    record.extend([0; 7]);
    record.push(if is_directory { 2 } else { 0 });
    record.extend([0; 2]);
    record.extend(both_short(1));
    record.push(narrow(name.len())?);
    record.extend(name);
    record.resize(length, 0);
    Ok(record)
}

fn directory(
    sector: usize,
    files: &[(&str, &[u8])],
    places: &[Place],
    name: fn(&str) -> Vec<u8>,
) -> Result<Vec<u8>, VmError> {
    let own = Place {
        sector: narrow(sector)?,
        bytes: narrow(SECTOR)?,
    };
    // Itself, and what is above: itself again.
    let mut records = record(&[0], own, true)?;
    records.extend(record(&[1], own, true)?);
    for ((file, _), place) in files.iter().zip(places) {
        records.extend(record(&name(file), *place, false)?);
    }
    if records.len() > SECTOR {
        return Err(VmError::Invalid("too many files for a disc".to_owned()));
    }
    Ok(records)
}

/// A path table that holds the root alone (9.4).
fn table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut table = vec![1, 0];
    table.extend(root);
    table.extend(parent);
    table.extend([0, 0]);
    table
}

/// A volume descriptor (8.4, 8.5), primary or Joliet.
fn descriptor(label: &str, sectors: u32, is_joliet: bool) -> Result<Vec<u8>, VmError> {
    let (tables, root) = if is_joliet {
        (JOLIET_TABLES, JOLIET_ROOT)
    } else {
        (PRIMARY_TABLES, PRIMARY_ROOT)
    };
    let spaces = |bytes: usize| {
        if is_joliet {
            utf16(&" ".repeat(bytes / 2))
        } else {
            vec![b' '; bytes]
        }
    };
    let mut out = vec![if is_joliet { 2 } else { 1 }];
    out.extend(b"CD001\x01\0");
    out.extend(spaces(32));
    let mut volume = if is_joliet {
        utf16(label)
    } else {
        label.as_bytes().to_vec()
    };
    if volume.len() > 32 {
        return Err(VmError::Invalid(format!("{label:?} cannot be a label")));
    }
    volume.extend(&spaces(32)[volume.len()..]);
    out.extend(volume);
    out.extend([0; 8]);
    out.extend(both(sectors));
    // Escape sequences: UCS-2 level 3, or none.
    let mut escape = [0; 32];
    if is_joliet {
        escape[..3].copy_from_slice(b"%/E");
    }
    out.extend(escape);
    out.extend(both_short(1));
    out.extend(both_short(1));
    out.extend(both_short(2048));
    out.extend(both(TABLE_BYTES));
    out.extend(narrow(tables)?.to_le_bytes());
    out.extend([0; 4]);
    out.extend(narrow(tables + 1)?.to_be_bytes());
    out.extend([0; 4]);
    let own = Place {
        sector: narrow(root)?,
        bytes: narrow(SECTOR)?,
    };
    out.extend(record(&[0], own, true)?);
    // Volume set, publisher, preparer, application; copyright, abstract, bibliography.
    out.extend(spaces(4 * 128));
    let names = spaces(3 * 37);
    out.extend(&names);
    out.resize(813, 0);
    // Four dates that are not given (8.4.26.1).
    for _ in 0..4 {
        out.extend([b'0'; 16]);
        out.push(0);
    }
    out.push(1);
    Ok(out)
}
