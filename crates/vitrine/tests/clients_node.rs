//! Galleries with the real Azure SDK for JavaScript; the scripts in `clients/node` have the steps.

mod real_client;

use std::ffi::OsStr;

const MODULES: &str = "VITRINE_TEST_NODE_MODULES";

#[tokio::test]
async fn the_javascript_sdk_goes_the_whole_thread() {
    let modules = real_client::from_environment(MODULES);
    real_client::run(OsStr::new("node"), "node/thread.mjs", &[(MODULES, modules)]).await;
}

#[tokio::test]
async fn the_javascript_sdk_asks_for_many_things_at_once() {
    let modules = real_client::from_environment(MODULES);
    let variables = [(MODULES, modules)];
    real_client::run(OsStr::new("node"), "node/parallel.mjs", &variables).await;
}
