//! What every database must do: one contract, on SQLite and on PostgreSQL.
//!
//! Each law is one function over an empty database. On PostgreSQL the database sorts as people do
//! (ICU, en-US), so a law about order holds only when the catalog sees to it. PostgreSQL is found by
//! `VITRINE_TEST_POSTGRES`, which `cargo xtask test` sets.

mod access;
mod audit;
mod care;
mod coverage;
mod database;
mod deployments;
mod identity;
mod migrations;
mod operations;
mod platform_images;
mod resources;
mod sample;
mod sign_in;
mod storage;
mod trust;
mod writers;

/// Makes one test of every law for each database: attributes are what no function can make.
macro_rules! laws {
    ($($module:ident: $($law:ident),+;)+) => {
        mod sqlite {
            $($(#[tokio::test] async fn $law() {
                crate::$module::$law(&crate::database::Database::sqlite()).await;
            })+)+
        }
        mod postgres {
            $($(#[tokio::test] async fn $law() {
                let database = crate::database::Database::postgres().await;
                crate::$module::$law(&database).await;
                database.remove().await;
            })+)+
        }
    };
}

laws! {
    resources:
        rows_keep_their_case_and_are_found_whatever_the_case,
        every_member_of_a_row_comes_back,
        a_write_that_was_not_committed_leaves_nothing,
        who_read_an_old_revision_does_not_overwrite_a_newer_one,
        pages_walk_every_row_once_in_byte_order,
        a_list_shows_what_its_filter_says,
        versions_sort_by_number,
        children_are_what_is_below_and_nothing_beside,
        a_soft_deleted_row_is_found_among_the_deleted_alone,
        counts_hold_the_soft_deleted_too,
        galleries_with_a_sharing_profile_are_found_wherever_they_lie,
        a_name_is_held_until_its_owner_releases_it,
        settings_are_made_once_and_changed_on_purpose,
        replicas_are_kept_by_owner_slot_and_region,
        what_layers_stand_on_goes_with_their_owner;
    operations:
        an_operation_is_held_by_one_worker_until_its_lease_is_over,
        a_lease_is_kept_by_its_holder_alone,
        an_operation_ends_with_what_it_made,
        a_failed_try_comes_again_at_its_time,
        cancelling_takes_the_lease_away,
        what_waits_for_others_is_put_aside_with_its_step,
        a_node_that_starts_again_gets_back_what_it_held_and_nothing_else,
        a_command_in_a_guest_waits_for_what_came_before_and_holds_up_nothing,
        ended_operations_are_forgotten_oldest_first;
    writers:
        eight_workers_claim_each_operation_once_and_in_order,
        a_decision_sees_every_write_before_it;
    identity:
        tenants_and_subscriptions_come_back,
        principals_are_found_by_id_application_and_name,
        signing_keys_come_newest_first,
        roles_are_found_by_principal_and_by_scope;
    access:
        custom_roles_belong_to_their_tenant,
        every_change_of_rights_moves_their_generation_and_nothing_else_does,
        assignments_are_listed_above_and_below_a_scope,
        members_are_found_from_both_sides,
        what_was_given_at_a_scope_goes_with_it,
        locks_are_found_by_scope_and_name;
    deployments:
        deployments_are_kept_by_group_newest_first,
        steps_keep_the_order_in_which_they_were_begun,
        deployments_and_other_work_are_claimed_apart;
    audit:
        entries_stand_in_their_order_and_are_read_from_both_ends;
    sign_in:
        refresh_tokens_go_by_one_by_family_and_by_principal,
        device_codes_wait_for_their_person,
        keys_of_principals_come_newest_first,
        an_assertion_is_used_once;
    storage:
        containers_and_blobs_are_listed_in_byte_order,
        a_container_goes_with_what_is_in_it,
        the_blobs_of_a_region_are_walked_once,
        a_blob_is_changed_by_who_read_it_last,
        staged_blocks_wait_for_their_list,
        grants_end_with_their_resource;
    trust:
        the_last_answer_to_an_invitation_counts,
        a_subscription_has_one_badge,
        what_a_subscription_allows_comes_back,
        a_subject_stands_for_one_principal;
    platform_images:
        one_definition_is_offered_under_a_publisher_an_offer_and_a_sku;
    care:
        a_lease_has_one_owner_until_it_is_over,
        periodic_work_keeps_its_last_run,
        a_digest_is_asked_for_once_and_kept,
        usage_is_kept_by_day_and_subscription,
        bytes_are_held_until_they_are_freed,
        uploads_hold_bytes_until_they_end_or_are_not_renewed,
        a_copy_holds_what_was_committed_and_nothing_else;
    migrations:
        a_database_with_data_is_brought_up_to_date;
}
