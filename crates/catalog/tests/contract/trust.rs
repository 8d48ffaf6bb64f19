//! Answers to invitations, verified publishers, allow-lists, subjects of other token services.

use catalog::{ExternalSubject, Principal, PrincipalKind, ShareAnswer, VerifiedPublisher};
use domain::allowed_images::{AllowedImages, Mode};

use crate::database::Database;

pub async fn the_last_answer_to_an_invitation_counts(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let answer = |gallery: &str, invitee: &str, is_accepted| ShareAnswer {
        gallery: gallery.to_owned(),
        invitee: invitee.to_owned(),
        is_accepted,
        answered_by: "p".to_owned(),
        answered_ms: 7,
    };
    let [a, b, other] = [
        answer("g", "subscriptions/a", false),
        answer("g", "tenants/b", true),
        answer("h", "subscriptions/a", true),
    ];
    for answer in [&answer("g", "subscriptions/a", true), &a, &b, &other] {
        tx.put_share_answer(answer).await.unwrap();
    }
    assert_eq!(tx.share_answers("g").await.unwrap(), [a, b.clone()]);
    tx.delete_share_answers("g", Some("subscriptions/a"))
        .await
        .unwrap();
    assert_eq!(tx.share_answers("g").await.unwrap(), [b]);
    tx.delete_share_answers("g", None).await.unwrap();
    assert_eq!(tx.share_answers("g").await.unwrap(), []);
    assert_eq!(tx.share_answers("h").await.unwrap(), [other]);
}

pub async fn a_subscription_has_one_badge(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let badge = |subscription: &str, name: &str| VerifiedPublisher {
        subscription: subscription.to_owned(),
        name: name.to_owned(),
        verified_ms: 5,
    };
    for publisher in [badge("B", "Old"), badge("a", "Acme"), badge("b", "New")] {
        tx.put_verified_publisher(&publisher).await.unwrap();
    }
    let all = [badge("a", "Acme"), badge("b", "New")];
    assert_eq!(tx.list_verified_publishers().await.unwrap(), all);
    assert!(tx.delete_verified_publisher("B").await.unwrap());
    assert!(!tx.delete_verified_publisher("b").await.unwrap());
    assert_eq!(tx.list_verified_publishers().await.unwrap(), all[..1]);
}

pub async fn what_a_subscription_allows_comes_back(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let rules = |name: &str| AllowedImages {
        mode: Mode::Enforce,
        galleries: vec!["/CommunityGalleries/x".to_owned()],
        subscriptions: vec!["s".to_owned()],
        publishers: vec![name.to_owned()],
    };
    assert_eq!(tx.allowed_images("S").await.unwrap(), None);
    tx.put_allowed_images("S", &rules("a"), 1).await.unwrap();
    tx.put_allowed_images("s", &rules("b"), 2).await.unwrap();
    assert_eq!(tx.allowed_images("S").await.unwrap(), Some(rules("b")));
    assert!(tx.delete_allowed_images("s").await.unwrap());
    assert!(!tx.delete_allowed_images("s").await.unwrap());
    assert_eq!(tx.allowed_images("s").await.unwrap(), None);
}

pub async fn a_subject_stands_for_one_principal(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let subject = |issuer: &str, subject: &str, principal: &str| ExternalSubject {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        principal: principal.to_owned(),
    };
    let [a, b, c] = [
        subject("i", "S", "p"),
        subject("j", "S", "p"),
        subject("i", "s", "q"),
    ];
    for one in [&a, &b, &c, &a] {
        assert!(tx.put_external_subject(one).await.unwrap());
    }
    // What stands for one is not taken for another.
    assert!(
        !tx.put_external_subject(&subject("i", "S", "q"))
            .await
            .unwrap()
    );
    assert_eq!(
        tx.external_subject("i", "S").await.unwrap().as_ref(),
        Some(&a)
    );
    assert_eq!(tx.external_subject("k", "S").await.unwrap(), None);
    assert_eq!(tx.external_subjects_of("p").await.unwrap(), [a, b.clone()]);
    // Of those only what stands for a group names a group.
    for (id, kind) in [("p", PrincipalKind::Group), ("q", PrincipalKind::User)] {
        let principal = Principal {
            object_id: id.to_owned(),
            tenant: "t".to_owned(),
            kind,
            app_id: String::new(),
            name: id.to_owned(),
            secret_hash: None,
            enabled: true,
            created_ms: 1,
        };
        tx.put_principal(&principal).await.unwrap();
    }
    let groups = tx.external_groups("i").await.unwrap();
    assert_eq!(groups, [subject("i", "S", "p")]);
    assert!(tx.delete_external_subject("i", "S").await.unwrap());
    assert!(!tx.delete_external_subject("i", "S").await.unwrap());
    assert_eq!(tx.external_subjects_of("p").await.unwrap(), [b]);
    tx.delete_external_subjects_of("p").await.unwrap();
    assert_eq!(tx.external_subjects_of("p").await.unwrap(), []);
    assert_eq!(tx.external_subjects_of("q").await.unwrap(), [c]);
}
