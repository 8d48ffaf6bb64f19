//! The whole thread with the real Azure SDK for Python; `clients/python/thread.py` has the steps.

mod real_client;

#[tokio::test]
async fn the_python_sdk_goes_the_whole_thread() {
    let python = real_client::from_environment("VITRINE_TEST_PYTHON");
    real_client::run(&python, "python/thread.py", &[]).await;
}
