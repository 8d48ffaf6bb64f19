//! A world for tests: the real `vitrine` binary on a free port of 127.0.0.1, and clients for it.
//!
//! A [`Gallery`] is ended by its process id when it is dropped. Nothing here sleeps for a fixed
//! time: [`until`] asks again until the answer is yes or a limit is over.

mod arm;
mod database;
mod gallery;
mod image;
mod scene;

pub use arm::{Answer, Arm};
pub use database::Database;
pub use gallery::{Gallery, Options};
pub use image::{random_disk, write_vhd};
pub use scene::{DISK_VERSION, GALLERY_VERSION, GROUP_VERSION, Scene, definition_body};

use std::future::Future;
use std::time::{Duration, Instant};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks until `look` returns something; panics with `what` after `limit`.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
