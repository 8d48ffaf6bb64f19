//! URLs that open a disk are nowhere but with whom they were given to.

use std::path::Path;

use serde_json::json;

use super::world::{World, open};

fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

#[tokio::test]
async fn the_secret_of_a_disks_url_is_in_no_file() {
    let world = World::new().await;
    let disk = world.disk("d", "eastus", b"content").await;
    let body = json!({ "access": "Read", "durationInSeconds": 600 });
    let accepted = world
        .engine
        .begin_access(&world.ctx, &disk, &body)
        .await
        .unwrap();
    world.settle().await;
    let id = accepted.operation.unwrap().id;
    let (ctx, subscription) = (&world.ctx, &world.subscription);
    let read = |engine: engine::Engine| async move {
        let polled = engine.operation(ctx, subscription, id).await;
        let output = polled.unwrap().output.unwrap();
        output["accessSAS"].as_str().unwrap().to_owned()
    };
    let url = read(world.engine.clone()).await;
    let again = read(open(world.dir.path(), &world.clock).await).await;
    assert_eq!(url, again, "another node makes the same");
    let (_, secret) = url.split_once("&sig=").unwrap();
    let id = url.split("/disk-access/").nth(1).unwrap();
    let id = id.split('/').next().unwrap();
    let access = world.engine.open_disk_access(id, secret).await.unwrap();
    assert_eq!(access.size_bytes(), (1 << 30) + 512);
    assert!(secret.len() >= 43, "as long as before: {secret}");

    let mut all = Vec::new();
    files(world.dir.path(), &mut all);
    assert!(all.iter().any(|path| path.ends_with("catalog.db")));
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        for word in [secret, "sig="] {
            let is_there = bytes.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!is_there, "{word} in {}", path.display());
        }
    }
}
