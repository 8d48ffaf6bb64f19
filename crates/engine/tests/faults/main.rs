//! The laws of the engine when things go wrong or happen at once.

#[path = "../common/world.rs"]
mod world;

/// Makes one test of every law for each database: attributes are what no function can make.
macro_rules! on_both {
    ($($law:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $law() {
                super::$law(crate::world::World::new().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $law() {
                super::$law(crate::world::World::on_postgres().await).await;
            })+
        }
    };
}

mod artifacts;
mod blob_bytes;
mod crash;
mod deletion;
mod machines;
mod moment;
mod network;
mod operations;
mod overtaken;
mod quotas;
mod regions;
mod scale_sets;
mod set_limits;
mod snapshots;
mod soft_delete;
mod sources;
mod uploads;
