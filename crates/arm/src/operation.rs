//! Bodies and addresses of long-running operations. Source: `API.md` 2.1, recordings.

use domain::operation::{Family, Operation, OperationState, Work};
use serde_json::{Map, Value, json};

use crate::{error, time};

/// Where a client polls an operation; both are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollUrls {
    /// `Azure-AsyncOperation`: answers the status body. Groups have none.
    pub status: Option<String>,
    /// `Location`: answers 202 while running, then the result.
    pub result: String,
}

/// Returns the word of a state on the wire.
pub const fn state_word(state: OperationState) -> &'static str {
    match state {
        OperationState::InProgress => "InProgress",
        OperationState::Succeeded => "Succeeded",
        OperationState::Failed => "Failed",
        OperationState::Canceled => "Canceled",
    }
}

/// Returns the status body: `{startTime,endTime?,status,properties.output?,error?,name}`.
///
/// `output` is shown by the disk family and by commands in guests: recorded polls of galleries never hold more.
pub fn status(operation: &Operation) -> Value {
    if operation.family == Family::Deployment {
        return deployment_status(operation);
    }
    let mut out = Map::new();
    out.insert(
        "startTime".to_owned(),
        time::format(operation.started_ms).into(),
    );
    if operation.state != OperationState::InProgress
        && let Some(ended_ms) = operation.ended_ms
    {
        out.insert("endTime".to_owned(), time::format(ended_ms).into());
    }
    out.insert("status".to_owned(), state_word(operation.state).into());
    let has_output = operation.family == Family::Disk || operation.work == Work::RunCommand;
    match operation.state {
        OperationState::Succeeded if has_output => {
            if let Some(output) = &operation.output {
                out.insert("properties".to_owned(), json!({ "output": output }));
            }
        }
        OperationState::Failed | OperationState::Canceled => {
            if let Some(reason) = &operation.error {
                out.insert("error".to_owned(), error::detail(reason));
            }
        }
        _ => {}
    }
    out.insert("name".to_owned(), operation.id.to_string().into());
    Value::Object(out)
}

/// Deployments say less, and run where others are in progress. Source: recorded.
fn deployment_status(operation: &Operation) -> Value {
    let word = match operation.state {
        OperationState::InProgress => "Running",
        state => state_word(state),
    };
    let mut out = json!({ "status": word });
    if let Some(reason) = &operation.error
        && operation.state != OperationState::Succeeded
    {
        out["error"] = error::deployment_detail(reason);
    }
    out
}

/// Returns where an operation is polled, below the address that the client used.
pub fn poll_urls(base_url: &str, operation: &Operation, api_version: &str) -> PollUrls {
    let base = base_url.trim_end_matches('/');
    let (subscription, id, location) = (
        operation.resource.subscription(),
        operation.id,
        &operation.location,
    );
    let compute = format!(
        "{base}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}"
    );
    let network = format!(
        "{base}/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}"
    );
    let (path, query) = match operation.family {
        Family::Caps => (format!("{compute}/capsOperations/{id}"), String::new()),
        Family::Disk => (format!("{compute}/DiskOperations/{id}"), format!("p={id}&")),
        Family::Compute => (format!("{compute}/operations/{id}"), format!("p={id}&")),
        Family::Network => (format!("{network}/operations/{id}"), String::new()),
        Family::Deployment => {
            let (path, query) = (
                format!("{base}{}/operationStatuses/{id}", operation.resource),
                format!("api-version={api_version}"),
            );
            return PollUrls {
                status: Some(format!("{path}?{query}")),
                result: format!("{path}?monitor=true&{query}"),
            };
        }
        Family::Group => {
            let result = format!(
                "{base}/subscriptions/{subscription}/operationresults/{id}?api-version={api_version}"
            );
            return PollUrls {
                status: None,
                result,
            };
        }
    };
    PollUrls {
        status: Some(format!("{path}?{query}api-version={api_version}")),
        result: format!("{path}?{query}monitor=true&api-version={api_version}"),
    }
}

#[cfg(test)]
mod tests {
    use domain::{Error, ResourceId};

    use super::*;

    fn operation(family: Family, state: OperationState) -> Operation {
        Operation {
            id: "423eb543-ec4a-4bd3-85e1-25ca23fa1f8e".parse().unwrap(),
            family,
            work: Work::Put,
            resource: ResourceId::group("s", "g"),
            location: "eastus2".to_owned(),
            state,
            step: Value::Null,
            error: None,
            output: None,
            attempts: 0,
            run_at_ms: 0,
            started_ms: 1_724_663_129_046,
            ended_ms: Some(1_724_663_130_000),
            lease_generation: 0,
        }
    }

    #[test]
    fn bodies_have_the_recorded_members_in_order() {
        let running = status(&operation(Family::Caps, OperationState::InProgress));
        assert_eq!(
            running.to_string(),
            r#"{"startTime":"2024-08-26T09:05:29.0460000+00:00","status":"InProgress","name":"423eb543-ec4a-4bd3-85e1-25ca23fa1f8e"}"#
        );
        let mut done = operation(Family::Disk, OperationState::Succeeded);
        done.output = Some(json!({"accessSAS": "u"}));
        assert_eq!(
            status(&done).to_string(),
            r#"{"startTime":"2024-08-26T09:05:29.0460000+00:00","endTime":"2024-08-26T09:05:30.0000000+00:00","status":"Succeeded","properties":{"output":{"accessSAS":"u"}},"name":"423eb543-ec4a-4bd3-85e1-25ca23fa1f8e"}"#
        );
        done.family = Family::Caps;
        assert!(status(&done).get("properties").is_none());
        let mut ran = operation(Family::Compute, OperationState::Succeeded);
        ran.output = Some(json!({"value": []}));
        assert!(status(&ran).get("properties").is_none());
        ran.work = Work::RunCommand;
        assert_eq!(status(&ran)["properties"]["output"], json!({"value": []}));
        let running = operation(Family::Deployment, OperationState::InProgress);
        assert_eq!(status(&running), json!({ "status": "Running" }));
        let done = operation(Family::Deployment, OperationState::Succeeded);
        assert_eq!(status(&done), json!({ "status": "Succeeded" }));
        let mut failed = operation(Family::Caps, OperationState::Failed);
        failed.error = Some(Error::conflict("Conflict", "No."));
        assert_eq!(
            status(&failed)["error"],
            json!({"code": "Conflict", "message": "No."})
        );
    }

    #[test]
    fn addresses_are_absolute_and_shaped_as_recorded() {
        let caps = poll_urls(
            "https://h:1/",
            &operation(Family::Caps, OperationState::InProgress),
            "2023-07-03",
        );
        let path = "https://h:1/subscriptions/s/providers/Microsoft.Compute/locations/eastus2";
        let id = "423eb543-ec4a-4bd3-85e1-25ca23fa1f8e";
        assert_eq!(
            caps.status.unwrap(),
            format!("{path}/capsOperations/{id}?api-version=2023-07-03")
        );
        assert_eq!(
            caps.result,
            format!("{path}/capsOperations/{id}?monitor=true&api-version=2023-07-03")
        );
        let disk = poll_urls(
            "https://h:1",
            &operation(Family::Disk, OperationState::InProgress),
            "2023-10-02",
        );
        assert_eq!(
            disk.result,
            format!("{path}/DiskOperations/{id}?p={id}&monitor=true&api-version=2023-10-02")
        );
        let group = poll_urls(
            "https://h:1",
            &operation(Family::Group, OperationState::InProgress),
            "2024-11-01",
        );
        assert_eq!(group.status, None);
        assert_eq!(
            group.result,
            format!("https://h:1/subscriptions/s/operationresults/{id}?api-version=2024-11-01")
        );
    }
}
