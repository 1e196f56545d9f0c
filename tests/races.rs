//! What the example of races prints.

#[path = "../examples/race.rs"]
#[allow(dead_code, reason = "its `main` is for programs")]
mod race;

use tractor::runtime::testing;

#[test]
fn example_prints_who_was_first() {
    let mut out = Vec::new();
    testing::run(async || race::show(&mut out).await).unwrap();
    let expected = "\
answer after 2 ticks, 0 left open
request 2 answered first
answer after 2 ticks, in spite of refusals
all competitors failed (2 errors: one is closed; two is closed)
gathered [1, 2, 0, 1, 2, 0, 1, 2, 0]
ended with the session: 3
stalled: true, but not before it stopped: true
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
