//! Galleries with the real Azure SDK for Python; the scripts in `clients/python` have the steps.

mod real_client;

#[tokio::test]
async fn the_python_sdk_goes_the_whole_thread() {
    let python = real_client::from_environment("VITRINE_TEST_PYTHON");
    real_client::run(&python, "python/thread.py", &[]).await;
}

#[tokio::test]
async fn the_python_sdk_works_at_every_api_version_it_has_models_for() {
    let python = real_client::from_environment("VITRINE_TEST_PYTHON");
    real_client::run(&python, "python/old_versions.py", &[]).await;
}

#[tokio::test]
async fn the_python_sdk_takes_machines_through_their_lives() {
    let python = real_client::from_environment("VITRINE_TEST_PYTHON");
    real_client::run(&python, "python/machines.py", &[]).await;
}

#[tokio::test]
async fn the_python_sdk_makes_images_and_snapshots_of_machines() {
    let python = real_client::from_environment("VITRINE_TEST_PYTHON");
    real_client::run(&python, "python/machine_steps.py", &[]).await;
}
