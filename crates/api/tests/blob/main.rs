//! The blob face as clients use it: signatures, pages, blocks, lists, URLs of disks.

mod world;

mod disks;
mod objects;
mod proofs;
