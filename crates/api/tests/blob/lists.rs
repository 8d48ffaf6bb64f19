//! Lists of containers and blobs, and the names that can be in them.

use crate::world::World;

#[tokio::test]
async fn lists_are_in_byte_order_and_go_on_where_they_stopped() {
    let world = World::new().await;
    world
        .signed(
            "PUT",
            "/con1?restype=container",
            &[("x-ms-meta-k", "v<&>")],
            b"",
        )
        .await
        .expect(201);
    for name in ["b/1", "b/2", "B", "a", "b/c/3", "z", "b&x"] {
        let path = format!("/con1/{name}");
        world
            .signed("PUT", &path, &[("x-ms-blob-type", "BlockBlob")], b"x")
            .await
            .expect(201);
    }
    let names = |text: &str| -> Vec<String> {
        text.split("<Name>")
            .skip(1)
            .map(|rest| rest.split("</Name>").next().unwrap().to_owned())
            .collect()
    };
    let flat = world
        .signed("GET", "/con1?restype=container&comp=list", &[], b"")
        .await
        .expect(200)
        .text();
    assert_eq!(
        names(&flat),
        ["B", "a", "b&amp;x", "b/1", "b/2", "b/c/3", "z"]
    );
    let mut found = Vec::new();
    let mut marker = String::new();
    loop {
        let path =
            format!("/con1?restype=container&comp=list&delimiter=%2F&maxresults=1&marker={marker}");
        let page = world
            .signed("GET", &path, &[], b"")
            .await
            .expect(200)
            .text();
        found.extend(names(&page));
        marker = page
            .split("<NextMarker>")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap()
            .to_owned();
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["B", "a", "b&amp;x", "b/", "z"]);
    let below = "/con1?restype=container&comp=list&delimiter=%2F&prefix=b%2F";
    let below = world
        .signed("GET", below, &[], b"")
        .await
        .expect(200)
        .text();
    assert_eq!(names(&below), ["b/1", "b/2", "b/c/"]);
    let all = world
        .signed("GET", "/?comp=list&include=metadata", &[], b"")
        .await
        .expect(200)
        .text();
    assert!(
        all.contains("<Name>con1</Name>") && all.contains("<k>v&lt;&amp;&gt;</k>"),
        "{all}"
    );
    world
        .signed("DELETE", "/con1?restype=container", &[], b"")
        .await
        .expect(202);
    world
        .signed("GET", "/con1?restype=container&comp=list", &[], b"")
        .await
        .expect_error(404, "ContainerNotFound");
    let store = world.engine.store("eastus").await.unwrap();
    assert!(
        store.layers().await.unwrap().is_empty(),
        "layers of a removed container are gone"
    );
}

#[tokio::test]
async fn names_that_could_be_paths_are_refused() {
    let world = World::new().await;
    world
        .signed("PUT", "/con1?restype=container", &[], b"")
        .await
        .expect(201);
    for path in [
        "/con1/a/../b",
        "/con1/%2e%2e/b",
        "/con1/a%00b",
        "/con1/a%0Ab",
    ] {
        let answer = world
            .signed("PUT", path, &[("x-ms-blob-type", "BlockBlob")], b"x")
            .await;
        answer.expect_error(400, "InvalidResourceName");
    }
    for name in ["Upper", "ab", "a--b", "-ab", "a_b", "a.b.c"] {
        let path = format!("/{name}?restype=container");
        world
            .signed("PUT", &path, &[], b"")
            .await
            .expect_error(400, "InvalidResourceName");
    }
}
