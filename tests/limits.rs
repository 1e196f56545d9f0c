//! What one peer may make an actor hold.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::io::Write;

use common::HangGuard;
use serde_json::json;
use sockets::{Peer, any_port, aside, frame, start};
use tractor::runtime::time;
use tractor::{Result, RunOptions, endpoint, listen};

/// As documented.
const DIALOGS: usize = 1 << 14;

async fn sleeps((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleeps);

fn call(cid: usize, func: &str) -> serde_json::Value {
    let mut call = start("many", "limits", func);
    call["cid"] = json!(cid.to_string());
    call
}

#[test]
fn peer_with_too_many_dialogs_has_to_end_one_first() {
    let _guard = HangGuard::new();
    let options = RunOptions::new().enable(sleeps);
    let main = async || {
        let listening = listen(any_port())?;
        let address = listening.address().clone();
        aside(move || {
            let mut peer = Peer::known(&address, "many");
            let mut sender = Peer(peer.0.try_clone().unwrap());
            // What it is answered has to be read meanwhile.
            let sending = std::thread::spawn(move || {
                for cid in 0..=DIALOGS {
                    sender.0.write_all(&frame(&call(cid, "sleeps"))).unwrap();
                }
            });
            for cid in 0..DIALOGS {
                let answer = peer.receive().unwrap();
                assert_eq!(answer["msg_type"], "StartAck", "{answer}");
                assert_eq!(answer["cid"], cid.to_string());
            }
            let refused = peer.receive().unwrap();
            assert_eq!(refused["boxed_type_str"], "TooManyDialogs", "{refused}");
            assert_eq!(refused["cid"], DIALOGS.to_string());
            sending.join().unwrap();

            let mut cancel = start("many", "self", "_cancel_task");
            cancel["cid"] = json!("a request");
            cancel["kwargs"] = json!({"cid": "7"});
            peer.send(&cancel);
            // The answer to the request, and the end of what was cancelled.
            let mut answers = [(); 3].map(|()| peer.receive().unwrap());
            answers.sort_by_key(|answer| answer["msg_type"].to_string());
            assert_eq!(answers[0]["msg_type"], "CancelAck");
            assert_eq!(answers[1]["boxed_type_str"], "ContextCancelled");
            assert_eq!(answers[1]["cid"], "7");
            peer.send(&call(DIALOGS + 1, "sleeps"));
            assert_eq!(peer.receive().unwrap()["msg_type"], "StartAck");
        })
        .await
    };
    options.run(main).unwrap();
}
