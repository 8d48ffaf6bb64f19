//! Clocks that jump (37).

use serde_json::json;

use crate::world::{GALLERY, GROUP, NOW_MS, World, page, version_body};

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;

#[tokio::test]
async fn threat_37_a_clock_that_jumps_ten_years_opens_nothing_and_loses_nothing() {
    for jump in [10 * YEAR_MS, -10 * YEAR_MS] {
        let world = World::at(NOW_MS).await;
        let owner = world.owner.clone();
        let group = world.group(&owner, "rg").await;
        let gallery = format!("{group}/providers/Microsoft.Compute/galleries/sig");
        let policy = json!({ "location": "eastus", "properties": { "softDeletePolicy": { "isSoftDeleteEnabled": true } } });
        world
            .done(&owner, "PUT", &gallery, GALLERY, Some(policy))
            .await;
        let definition = format!("{gallery}/images/debian");
        world
            .done(
                &owner,
                "PUT",
                &definition,
                GALLERY,
                Some(crate::world::definition_body()),
            )
            .await;
        let disk = world.disk(&owner, &group, "source", &page("secret")).await;
        let version = format!("{definition}/versions/1.0.0");
        world
            .done(&owner, "PUT", &version, GALLERY, Some(version_body(&disk)))
            .await;
        let url = world.access(&owner, &disk, "Read").await;
        world.clock.advance_ms(jump);
        // Tokens are neither eternal nor from the future.
        let old = world.send(&owner, "GET", &group, GROUP, None).await;
        assert_eq!(old.status(), 401, "{jump}: {}", old.text());
        if jump > 0 {
            let late = world.blob("", "GET", &url, &[], &[]).await;
            late.expect(403, "AuthenticationFailed");
        }
        // The server goes on: sign-in, reads, writes, new URLs.
        let owner = world.signed_in(owner).await;
        world
            .send(&owner, "GET", &version, GALLERY, None)
            .await
            .expect(200, "");
        world.close(&owner, &disk).await;
        assert_eq!(world.head_of(&owner, &disk).await, page("secret"));
        let body = json!({ "location": "eastus", "tags": { "after": "the jump" } });
        world.done(&owner, "PUT", &group, GROUP, Some(body)).await;
        let next = format!("{definition}/versions/1.0.1");
        world
            .done(&owner, "PUT", &next, GALLERY, Some(version_body(&disk)))
            .await;
        // What is deleted now is kept for its days, counted from now.
        world.done(&owner, "DELETE", &next, GALLERY, None).await;
        let deleted =
            format!("{gallery}/softDeletedArtifactTypes/Images/artifacts/debian/versions");
        let listed = world
            .send(&owner, "GET", &deleted, GALLERY, None)
            .await
            .expect(200, "");
        assert_eq!(
            listed.body["value"].as_array().unwrap().len(),
            1,
            "{}",
            listed.text()
        );
        world.clock.advance_ms(-jump);
        let back = world.signed_in(owner).await;
        world
            .send(&back, "GET", &version, GALLERY, None)
            .await
            .expect(200, "");
        let report = world.engine.verify_audit(None).await.unwrap();
        assert_eq!(report.broken, None, "{report:?}");
    }
}
