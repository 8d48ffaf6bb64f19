//! The blob face as clients use it: signatures, pages, blocks, lists, URLs of disks.

#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

mod world;

mod disks;
mod limits;
mod lists;
mod objects;
mod proofs;
