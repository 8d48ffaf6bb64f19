//! What the operator offers in the marketplace.

use catalog::OfferedImage;
use domain::ResourceId;
use domain::platform_image::PlatformSku;

use crate::database::Database;

fn offer(names: &str, definition: &str, alias: Option<&str>) -> OfferedImage {
    let id = format!(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/x/images/{definition}"
    );
    OfferedImage {
        sku: PlatformSku::parse(names).unwrap(),
        definition: ResourceId::parse(&id).unwrap(),
        alias: alias.map(str::to_owned),
        offered_ms: 9,
    }
}

pub async fn one_definition_is_offered_under_a_publisher_an_offer_and_a_sku(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let (old, new) = (
        offer("Acme:linux:one", "a", None),
        offer("ACME:Linux:one", "B", Some("Linux1")),
    );
    let other = offer("Acme:linux:two", "b", None);
    let third = offer("Zoo:linux:two", "c", None);
    for offer in [&third, &old, &new, &other] {
        tx.put_offered_image(offer).await.unwrap();
    }
    let all = tx.list_offered_images().await.unwrap();
    assert_eq!(all, [new.clone(), other, third.clone()]);
    let found = tx.offered_image(&old.sku).await.unwrap();
    assert_eq!(found, Some(new.clone()));
    let nothing = PlatformSku::parse("Acme:linux:three").unwrap();
    assert_eq!(tx.offered_image(&nothing).await.unwrap(), None);
    assert!(!tx.delete_offered_image(&nothing).await.unwrap());

    tx.delete_offers_of(&new.definition).await.unwrap();
    assert_eq!(
        tx.list_offered_images().await.unwrap(),
        std::slice::from_ref(&third)
    );
    let again = PlatformSku::parse("ZOO:LINUX:TWO").unwrap();
    assert!(tx.delete_offered_image(&again).await.unwrap());
    assert_eq!(tx.list_offered_images().await.unwrap(), []);
}
