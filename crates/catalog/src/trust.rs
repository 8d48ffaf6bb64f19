//! Whom people trust: answers to invitations, verified publishers, allow-lists, subjects of other token services.

use domain::allowed_images::AllowedImages;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{CatalogError, Result};
use crate::store::{Read, Tx};

/// What a subscription or tenant answered to the invitation of a gallery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareAnswer {
    /// Lower-case key of the gallery.
    pub gallery: String,
    /// Who was invited, as `domain::shared_image::Invitee::key` writes it.
    pub invitee: String,
    /// Whether it was accepted or rejected.
    pub is_accepted: bool,
    /// Object id of who answered.
    pub answered_by: String,
    /// Milliseconds since the epoch, UTC.
    pub answered_ms: i64,
}

/// A subscription whose public galleries the operator vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPublisher {
    /// The subscription, in lower case.
    pub subscription: String,
    /// The name that consumers read.
    pub name: String,
    /// Milliseconds since the epoch, UTC.
    pub verified_ms: i64,
}

/// Somebody whom another token service knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSubject {
    /// The service, as its tokens name it.
    pub issuer: String,
    /// The name there.
    pub subject: String,
    /// Object id of the principal here.
    pub principal: String,
}

impl Read {
    /// Returns what was answered to the invitations of a gallery, by its lower-case key.
    pub async fn share_answers(&mut self, gallery: &str) -> Result<Vec<ShareAnswer>> {
        let rows = sqlx::query("SELECT * FROM share_answers WHERE gallery = $1 ORDER BY invitee")
            .bind(gallery)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(answer).collect()
    }

    /// Returns all verified publishers, by subscription.
    pub async fn list_verified_publishers(&mut self) -> Result<Vec<VerifiedPublisher>> {
        let rows = sqlx::query("SELECT * FROM verified_publishers ORDER BY subscription")
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(publisher).collect()
    }

    /// Returns what images a subscription allows; none where it never said.
    pub async fn allowed_images(&mut self, subscription: &str) -> Result<Option<AllowedImages>> {
        let row = sqlx::query("SELECT rules FROM allowed_images WHERE subscription = $1")
            .bind(subscription.to_ascii_lowercase())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| {
            let text: String = row.try_get("rules")?;
            serde_json::from_str(&text).map_err(|error| CatalogError::Corrupt {
                table: "allowed_images",
                key: subscription.to_owned(),
                reason: error.to_string(),
            })
        })
        .transpose()
    }

    /// Returns the principal that a subject of another token service stands for.
    pub async fn external_subject(
        &mut self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<ExternalSubject>> {
        let row = sqlx::query("SELECT * FROM external_subjects WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(external).transpose()
    }

    /// Returns the names of a token service that stand for groups here.
    pub async fn external_groups(&mut self, issuer: &str) -> Result<Vec<ExternalSubject>> {
        const SQL: &str = "SELECT external_subjects.* FROM external_subjects JOIN principals \
             ON principals.object_id = external_subjects.principal \
             WHERE external_subjects.issuer = $1 AND principals.kind = $2 ORDER BY external_subjects.subject";
        let rows = sqlx::query(SQL)
            .bind(issuer)
            .bind(crate::identity::PrincipalKind::Group.as_str())
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(external).collect()
    }

    /// Returns the subjects that stand for a principal, by issuer and subject.
    pub async fn external_subjects_of(&mut self, principal: &str) -> Result<Vec<ExternalSubject>> {
        const SQL: &str =
            "SELECT * FROM external_subjects WHERE principal = $1 ORDER BY issuer, subject";
        let rows = sqlx::query(SQL)
            .bind(principal)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(external).collect()
    }
}

impl Tx {
    /// Stores an answer in place of an earlier one.
    pub async fn put_share_answer(&mut self, answer: &ShareAnswer) -> Result<()> {
        const SQL: &str = "INSERT INTO share_answers (gallery, invitee, is_accepted, answered_by, answered_ms) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gallery, invitee) DO UPDATE SET is_accepted = excluded.is_accepted, \
             answered_by = excluded.answered_by, answered_ms = excluded.answered_ms";
        sqlx::query(SQL)
            .bind(answer.gallery.clone())
            .bind(answer.invitee.clone())
            .bind(i64::from(answer.is_accepted))
            .bind(answer.answered_by.clone())
            .bind(answer.answered_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets the answer of one invitee, or all answers to a gallery's invitations.
    pub async fn delete_share_answers(
        &mut self,
        gallery: &str,
        invitee: Option<&str>,
    ) -> Result<()> {
        const SQL: &str =
            "DELETE FROM share_answers WHERE gallery = $1 AND ($2 = '' OR invitee = $2)";
        sqlx::query(SQL)
            .bind(gallery)
            .bind(invitee.unwrap_or_default())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Verifies a publisher, under a new name if it was verified before.
    pub async fn put_verified_publisher(&mut self, publisher: &VerifiedPublisher) -> Result<()> {
        const SQL: &str = "INSERT INTO verified_publishers (subscription, name, verified_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (subscription) DO UPDATE SET name = excluded.name, verified_ms = excluded.verified_ms";
        sqlx::query(SQL)
            .bind(publisher.subscription.to_ascii_lowercase())
            .bind(publisher.name.clone())
            .bind(publisher.verified_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Takes the badge from a subscription; whether it had one.
    pub async fn delete_verified_publisher(&mut self, subscription: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM verified_publishers WHERE subscription = $1")
            .bind(subscription.to_ascii_lowercase())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores what images a subscription allows.
    pub async fn put_allowed_images(
        &mut self,
        subscription: &str,
        rules: &AllowedImages,
        changed_ms: i64,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO allowed_images (subscription, rules, changed_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (subscription) DO UPDATE SET rules = excluded.rules, changed_ms = excluded.changed_ms";
        let text = serde_json::to_string(rules).map_err(|error| CatalogError::Corrupt {
            table: "allowed_images",
            key: subscription.to_owned(),
            reason: error.to_string(),
        })?;
        sqlx::query(SQL)
            .bind(subscription.to_ascii_lowercase())
            .bind(text)
            .bind(changed_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes what a subscription allows: all images again; whether there was anything.
    pub async fn delete_allowed_images(&mut self, subscription: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM allowed_images WHERE subscription = $1")
            .bind(subscription.to_ascii_lowercase())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Lets a subject stand for a principal; whether it is that principal's now, and not another's.
    pub async fn put_external_subject(&mut self, subject: &ExternalSubject) -> Result<bool> {
        const SQL: &str = "INSERT INTO external_subjects (issuer, subject, principal) VALUES ($1, $2, $3) \
             ON CONFLICT (issuer, subject) DO NOTHING";
        sqlx::query(SQL)
            .bind(subject.issuer.clone())
            .bind(subject.subject.clone())
            .bind(subject.principal.clone())
            .execute(self.connection())
            .await?;
        let kept = self
            .external_subject(&subject.issuer, &subject.subject)
            .await?;
        Ok(kept.as_ref() == Some(subject))
    }

    /// Ends what a subject stands for; whether it stood for anybody.
    pub async fn delete_external_subject(&mut self, issuer: &str, subject: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM external_subjects WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends what all subjects of a principal stand for.
    pub async fn delete_external_subjects_of(&mut self, principal: &str) -> Result<()> {
        sqlx::query("DELETE FROM external_subjects WHERE principal = $1")
            .bind(principal)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn answer(row: &AnyRow) -> Result<ShareAnswer> {
    Ok(ShareAnswer {
        gallery: row.try_get("gallery")?,
        invitee: row.try_get("invitee")?,
        is_accepted: row.try_get::<i64, _>("is_accepted")? != 0,
        answered_by: row.try_get("answered_by")?,
        answered_ms: row.try_get("answered_ms")?,
    })
}

fn publisher(row: &AnyRow) -> Result<VerifiedPublisher> {
    Ok(VerifiedPublisher {
        subscription: row.try_get("subscription")?,
        name: row.try_get("name")?,
        verified_ms: row.try_get("verified_ms")?,
    })
}

fn external(row: &AnyRow) -> Result<ExternalSubject> {
    Ok(ExternalSubject {
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        principal: row.try_get("principal")?,
    })
}
