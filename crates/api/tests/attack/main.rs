//! The attacker's view: who may call what, and every threat tried through the whole server.
//!
//! Requests go through the real router over a real catalog and real stores; only TLS is left out.
//! `SECURITY.md` lists every threat with the test that tries it ([`listed`] reads that table).

#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests and tables of cases"
)]

mod content;
mod data;
mod doors;
mod listed;
mod matrix;
mod names;
mod never;
mod races;
mod roles;
mod sources;
mod text;
mod time;
mod tokens;
mod world;
