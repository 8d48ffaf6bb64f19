use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{Event, LINE_BYTES_MAX, Qmp};
use crate::error::VmError;

/// The other end of a connection, played by the test.
struct Fake {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Fake {
    async fn say(&mut self, message: &Value) {
        let line = format!("{message}\r\n");
        self.writer
            .write_all(line.as_bytes())
            .await
            .expect("written");
    }

    async fn hear(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("read").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }
}

async fn pair() -> (Qmp, Fake) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (reader, writer) = theirs.into_split();
    let mut fake = Fake {
        lines: BufReader::new(reader).lines(),
        writer,
    };
    let greet = async {
        fake.say(&json!({"QMP": {"version": {}, "capabilities": ["oob"]}}))
            .await;
        let asked = fake.hear().await;
        assert_eq!(asked["execute"], "qmp_capabilities");
        fake.say(&json!({"return": {}, "id": asked["id"]})).await;
        fake
    };
    let (qmp, fake) = tokio::join!(Qmp::open(ours), greet);
    (qmp.expect("greeted"), fake)
}

#[tokio::test]
async fn answers_find_their_commands_in_any_order() {
    let (qmp, mut fake) = pair().await;
    let serve = async {
        let (first, second) = (fake.hear().await, fake.hear().await);
        fake.say(&json!({"event": "RTC_CHANGE", "data": {}})).await;
        for asked in [second, first] {
            fake.say(&json!({"return": asked["arguments"], "id": asked["id"]}))
                .await;
        }
    };
    let (a, b, ()) = tokio::join!(
        qmp.run("a", json!({"of": "a"})),
        qmp.run("b", json!({"of": "b"})),
        serve
    );
    assert_eq!(a.expect("answered"), json!({"of": "a"}));
    assert_eq!(b.expect("answered"), json!({"of": "b"}));
}

#[tokio::test]
async fn a_refusal_keeps_the_emulators_words() {
    let (qmp, mut fake) = pair().await;
    let serve = async {
        let asked = fake.hear().await;
        let error = json!({"class": "DeviceNotFound", "desc": "Device 'x' not found"});
        fake.say(&json!({"error": error, "id": asked["id"]})).await;
    };
    let (refused, ()) = tokio::join!(qmp.run("device_del", json!({"id": "x"})), serve);
    let refused = refused.expect_err("refused");
    assert!(refused.is_absent(), "{refused}");
    assert_eq!(
        refused.to_string(),
        "the emulator refused device_del: Device 'x' not found"
    );
}

#[tokio::test]
async fn only_events_that_decide_something_are_passed_on() {
    let (qmp, mut fake) = pair().await;
    let mut events = qmp.events();
    for message in [
        json!({"event": "STOP"}),
        json!({"event": "DEVICE_DELETED", "data": {"path": "/machine/x"}}),
        json!({"event": "DEVICE_DELETED", "data": {"device": "disk-lun1", "path": "/p"}}),
        json!({"event": "DEVICE_UNPLUG_GUEST_ERROR", "data": {"device": "disk-lun2"}}),
        json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}),
    ] {
        fake.say(&message).await;
    }
    drop(fake);
    for event in [
        Event::DeviceDeleted {
            device: "disk-lun1".to_owned(),
        },
        Event::UnplugRefused {
            device: "disk-lun2".to_owned(),
        },
        Event::Shutdown {
            by_guest: true,
            reason: "guest-shutdown".to_owned(),
        },
    ] {
        assert_eq!(events.recv().await, Ok(event));
    }
    assert!(events.recv().await.is_err(), "the emulator left");
    assert!(qmp.events().recv().await.is_err(), "and stays away");
}

#[tokio::test]
async fn an_emulator_that_leaves_or_breaks_the_protocol_ends_every_command() {
    for last_words in [String::new(), "{not json}\n".to_owned(), "x".repeat(100)] {
        let (qmp, mut fake) = pair().await;
        let serve = async {
            fake.hear().await;
            fake.writer
                .write_all(last_words.as_bytes())
                .await
                .expect("written");
            drop(fake);
        };
        let (answer, ()) = tokio::join!(qmp.run("stop", json!({})), serve);
        assert!(matches!(answer, Err(VmError::NotRunning)), "{last_words}");
        let later = qmp.run("stop", json!({})).await;
        assert!(matches!(later, Err(VmError::NotRunning)), "{last_words}");
    }
}

#[tokio::test]
async fn a_line_without_end_is_not_kept_in_memory() {
    let (qmp, mut fake) = pair().await;
    let sent = std::cell::Cell::new(0);
    let flood = async {
        let part = vec![b'x'; 1 << 16];
        while fake.writer.write_all(&part).await.is_ok() {
            sent.set(sent.get() + part.len() as u64);
        }
        // The emulator's end is not this one's.
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = qmp.run("stop", json!({})) => answer,
        () = flood => unreachable!("it floods for ever"),
    };
    assert!(matches!(answer, Err(VmError::NotRunning)));
    assert!(sent.get() <= 2 * LINE_BYTES_MAX, "{}", sent.get());
}

#[tokio::test]
async fn what_does_not_greet_is_no_emulator() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    theirs
        .write_all(b"{\"hello\": 1}\n")
        .await
        .expect("written");
    assert!(matches!(Qmp::open(ours).await, Err(VmError::Protocol(_))));
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    assert!(matches!(Qmp::open(ours).await, Err(VmError::Protocol(_))));
}
