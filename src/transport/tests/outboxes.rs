use std::collections::HashMap;

use proptest::prelude::*;

use super::super::outbox::{Outbox, SendError};
use super::*;
use crate::wire::{Carrier, Start};

/// Writes at most `size` bytes, as a kernel would, and says what.
fn write(outbox: &mut Outbox, size: usize) -> Vec<u8> {
    let mut written = outbox.next_batch().concat_slices();
    written.truncate(size);
    outbox.advance(written.len());
    written
}

fn write_all(outbox: &mut Outbox) -> Vec<Message> {
    let mut written = Vec::new();
    while !outbox.is_empty() {
        written.extend(write(outbox, usize::MAX));
    }
    messages_in(&written)
}

trait Concat {
    fn concat_slices(&self) -> Vec<u8>;
}

impl Concat for [std::io::IoSlice<'_>; 2] {
    fn concat_slices(&self) -> Vec<u8> {
        self.iter().flat_map(|slice| slice.to_vec()).collect()
    }
}

fn push(outbox: &mut Outbox, messages: &[&Message]) {
    for message in messages {
        outbox.push(message).expect("there is room");
    }
}

#[test]
fn everything_that_waits_goes_out_together() {
    let mut outbox = Outbox::new(Limits::default());
    let cid = Cid::fresh();
    let items: Vec<_> = (0..100)
        .map(|number| item(&cid, &number.to_string()))
        .collect();
    for item in &items {
        outbox.push(item).expect("there is room");
    }
    let batch = outbox.next_batch().concat_slices();
    assert_eq!(messages_in(&batch), items);
}

#[test]
fn control_overtakes_data() {
    let mut outbox = Outbox::new(Limits::default());
    let cid = Cid::fresh();
    let [first, second] = ["first", "second"].map(|value| item(&cid, value));
    push(&mut outbox, &[&first, &second, &credit(1), &credit(2)]);
    assert_eq!(
        write_all(&mut outbox),
        [credit(1), credit(2), first, second]
    );
}

#[test]
fn control_overtakes_the_data_behind_the_segment_that_is_being_written() {
    let mut outbox = Outbox::new(Limits::default());
    let cid = Cid::fresh();
    let large = item(&cid, &"x".repeat(60_000));
    push(&mut outbox, &[&large, &large, &large, &large]);
    let mut written = write(&mut outbox, 10);
    push(&mut outbox, &[&credit(1)]);
    while !outbox.is_empty() {
        written.extend(write(&mut outbox, 1000));
    }
    let order = messages_in(&written);
    assert_eq!(order[2], credit(1));
    assert_eq!(order.len(), 5);
}

#[test]
fn result_and_stop_stay_behind_the_items() {
    let mut outbox = Outbox::new(Limits::default());
    let cid = Cid::fresh();
    let stop = Message::Stop { cid: cid.clone() };
    let item = item(&cid, "item");
    let result = Message::Return {
        cid,
        pld: Payload::nil(),
    };
    push(&mut outbox, &[&item, &stop, &result]);
    assert_eq!(write_all(&mut outbox), [item, stop, result]);
}

#[test]
fn error_throws_out_what_its_dialog_has_queued_and_says_how_much() {
    let mut outbox = Outbox::new(Limits::default());
    outbox.set_overtaking(true);
    let [failing, other] = [Cid::fresh(), Cid::fresh()];
    let kept = item(&other, "kept");
    let large = item(&failing, &"x".repeat(70_000));
    let small = item(&failing, "small");
    push(
        &mut outbox,
        &[&small, &kept, &large, &small, &error(&failing)],
    );
    let written = write_all(&mut outbox);
    let [Message::Error(error), rest] = &written[..] else {
        panic!("the error is first, and one item is left: {written:?}");
    };
    assert_eq!(error.discarded, Some(3));
    assert_eq!(error.cid, Some(failing));
    assert_eq!(*rest, kept);
    assert_eq!(outbox.buffered(), 0);
}

#[test]
fn error_to_a_peer_that_does_not_know_better_takes_its_turn() {
    let mut outbox = Outbox::new(Limits::default());
    let cid = Cid::fresh();
    let item = item(&cid, "item");
    push(&mut outbox, &[&item, &error(&cid)]);
    assert_eq!(write_all(&mut outbox), [item, error(&cid)]);
    // Behind nothing it comes before the control messages that were sent after it.
    push(&mut outbox, &[&error(&cid), &credit(1)]);
    assert_eq!(write_all(&mut outbox), [error(&cid), credit(1)]);
}

#[test]
fn items_are_refused_at_the_limit_and_results_are_not() {
    let limits = Limits {
        buffered: 1000,
        ..Limits::default()
    };
    let mut outbox = Outbox::new(limits);
    let cid = Cid::fresh();
    let large = "x".repeat(5000);
    outbox
        .push_value(Carrier::Yield, &cid, "small")
        .expect("there is room");
    outbox
        .push_value(Carrier::Yield, &cid, &large)
        .expect("the one over the limit is taken whole");
    for refused in [
        outbox.push_value(Carrier::Yield, &cid, "one more"),
        outbox.push(&item(&cid, "one more")),
    ] {
        assert!(matches!(refused, Err(SendError::Full)));
    }
    outbox
        .push_value(Carrier::Return, &cid, "result")
        .expect("a result has room");
    write(&mut outbox, 10);
    assert!(
        !outbox.has_room(),
        "what is being written counts until it is"
    );
    assert_eq!(outbox.buffered() > 1000, !outbox.has_room());
    write(&mut outbox, 6000);
    assert!(outbox.has_room());
}

#[test]
fn control_has_room_of_its_own_and_an_end() {
    let limits = Limits {
        buffered: 100,
        buffered_control: 1000,
        ..Limits::default()
    };
    let mut outbox = Outbox::new(limits);
    let cid = Cid::fresh();
    while outbox.has_room() {
        outbox.push(&item(&cid, "item")).expect("there is room");
    }
    let mut count = 0;
    let stuck = loop {
        match outbox.push(&credit(1)) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count > 10, "control is not held up by data");
    assert_eq!(
        stuck.to_string(),
        "the peer does not read: more than 1000 bytes of control messages wait for it"
    );
}

#[test]
fn call_is_waited_for_and_holds_up_no_control() {
    let limits = Limits {
        buffered: 1000,
        buffered_control: 1000,
        ..Limits::default()
    };
    let mut outbox = Outbox::new(limits);
    let kwargs = Payload::encode(&HashMap::from([("args", "x".repeat(5000))]));
    let kwargs = kwargs.expect("a map can be encoded");
    let start = Start::new(Cid::fresh(), "ns", "func", kwargs, Uid::fresh("caller"));
    let start = Message::Start(Box::new(start));
    assert!(outbox.has_room_for_calls());
    outbox
        .push(&start)
        .expect("the one over the limit is taken whole");
    assert!(!outbox.has_room_for_calls());
    outbox.push(&credit(1)).expect("it has room of its own");
    assert_eq!(write_all(&mut outbox), [start, credit(1)]);
    assert!(outbox.has_room_for_calls());
}

#[test]
fn value_that_cannot_be_encoded_leaves_nothing() {
    struct Broken;

    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeSeq};
            serializer
                .serialize_seq(Some(2))?
                .serialize_element("half")?;
            Err(S::Error::custom("no"))
        }
    }

    let mut outbox = Outbox::new(Limits::default());
    let cid = Cid::fresh();
    let refused = outbox.push_value(Carrier::Yield, &cid, &Broken);
    assert!(matches!(refused, Err(SendError::Encode(_))));
    assert!(outbox.is_empty());
    outbox
        .push_value(Carrier::Yield, &cid, "whole")
        .expect("there is room");
    outbox
        .push_value(Carrier::Yield, &cid, &Broken)
        .expect_err("it is still broken");
    assert_eq!(write_all(&mut outbox), [item(&cid, "whole")]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Item { dialog: u8, size: usize },
    Control,
    Fail { dialog: u8 },
    Write { size: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, prop_oneof![4 => 0..100_usize, 1 => 1000..80_000_usize])
            .prop_map(|(dialog, size)| Step::Item { dialog, size }),
        2 => Just(Step::Control),
        1 => (0..3_u8).prop_map(|dialog| Step::Fail { dialog }),
        4 => prop_oneof![1..50_usize, 1..100_000_usize].prop_map(|size| Step::Write { size }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn frames_stay_whole_and_in_order_however_they_are_written(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut outbox = Outbox::new(Limits { buffered: usize::MAX, ..Limits::default() });
        outbox.set_overtaking(true);
        let cids = [Cid::fresh(), Cid::fresh(), Cid::fresh()];
        let mut pushed: HashMap<Cid, u64> = HashMap::new();
        let mut controls = 0;
        let mut written = Vec::new();
        for step in steps {
            match step {
                Step::Item { dialog, size } => {
                    let cid = &cids[usize::from(dialog)];
                    let number = pushed.entry(cid.clone()).or_default();
                    let value = (*number, "x".repeat(size));
                    *number += 1;
                    outbox.push_value(Carrier::Yield, cid, &value).expect("there is room");
                }
                Step::Control => {
                    controls += 1;
                    outbox.push(&credit(controls)).expect("there is room");
                }
                Step::Fail { dialog } => {
                    outbox.push(&error(&cids[usize::from(dialog)])).expect("there is room");
                }
                Step::Write { size } => written.extend(write(&mut outbox, size)),
            }
        }
        while !outbox.is_empty() {
            written.extend(write(&mut outbox, 1 << 20));
        }
        prop_assert_eq!(outbox.buffered(), 0);
        let mut came: HashMap<Cid, u64> = HashMap::new();
        let mut last: HashMap<Cid, u64> = HashMap::new();
        let mut control = 0;
        for message in messages_in(&written) {
            match message {
                Message::Yield { cid, pld } => {
                    let (number, _): (u64, String) = pld.decode().expect("what was sent");
                    let before = last.insert(cid.clone(), number);
                    prop_assert!(before.is_none_or(|before| before < number));
                    *came.entry(cid).or_default() += 1;
                }
                Message::Credit { items, .. } => {
                    control += 1;
                    prop_assert_eq!(items, control);
                }
                Message::Error(error) => {
                    let cid = error.cid.expect("it has one");
                    *came.entry(cid).or_default() += error.discarded.unwrap_or(0);
                }
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(control, controls);
        prop_assert_eq!(came.values().sum::<u64>(), pushed.values().sum::<u64>());
    }
}
