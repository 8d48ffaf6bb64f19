//! The whole thread with the real Azure SDK for JavaScript; `clients/node/thread.mjs` has the steps.

mod real_client;

use std::ffi::OsStr;

#[tokio::test]
async fn the_javascript_sdk_goes_the_whole_thread() {
    const MODULES: &str = "VITRINE_TEST_NODE_MODULES";
    let modules = real_client::from_environment(MODULES);
    real_client::run(OsStr::new("node"), "node/thread.mjs", &[(MODULES, modules)]).await;
}
