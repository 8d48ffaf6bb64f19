//! The audit chain.

use catalog::AuditFilter;
use domain::audit::Entry;

use crate::database::Database;

fn entry(sequence: i64, subscription: &str) -> Entry {
    let text = |name: &str| format!("{name}{sequence}");
    Entry {
        sequence,
        at_ms: sequence * 10,
        tenant: text("tenant"),
        subscription: subscription.to_owned(),
        principal: text("principal"),
        caller: text("caller"),
        action: text("action"),
        scope: text("scope"),
        code: text("code"),
        correlation: text("correlation"),
        client: text("client"),
        before: text("before"),
        after: text("after"),
        repeats: sequence - 1,
    }
}

pub async fn entries_stand_in_their_order_and_are_read_from_both_ends(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(tx.last_audit().await.unwrap(), None);
    let all = [entry(1, "s"), entry(2, "t"), entry(3, "s"), entry(4, "s")];
    for entry in &all {
        tx.insert_audit(entry, &format!("h{}", entry.sequence))
            .await
            .unwrap();
    }
    let [one, _, three, four] = all;
    assert_eq!(
        tx.last_audit().await.unwrap(),
        Some((four.clone(), "h4".to_owned()))
    );
    let after = tx.audit_after(2, 1).await.unwrap();
    assert_eq!(after, [(three.clone(), "h3".to_owned())]);
    let filter = |from_ms, to_ms, before| AuditFilter {
        subscription: "s".to_owned(),
        from_ms,
        to_ms,
        before,
    };
    for (wanted, limit, found) in [
        (
            filter(0, 100, 100),
            9,
            vec![four.clone(), three.clone(), one.clone()],
        ),
        (filter(0, 100, 100), 1, vec![four.clone()]),
        (filter(0, 100, 4), 9, vec![three.clone(), one.clone()]),
        (filter(20, 30, 100), 9, vec![three]),
    ] {
        assert_eq!(
            tx.audit_of(&wanted, limit).await.unwrap(),
            found,
            "{wanted:?}"
        );
    }
    // A place in the chain is taken once. Last: PostgreSQL ends a transaction at the first refusal.
    assert!(tx.insert_audit(&one, "h").await.is_err());
}
