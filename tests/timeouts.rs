//! What the example of the runtime alone prints.

#[path = "../examples/timeouts.rs"]
#[allow(dead_code, reason = "its `main` is for programs")]
mod timeouts;

use tractor::runtime::testing;

#[test]
fn example_prints_what_came_of_each_timeout() {
    let mut out = Vec::new();
    testing::run(async || timeouts::show(&mut out).await).unwrap();
    let expected = "\
moved on: true
failed: true
in time: true
attempt of 8 ticks given up
attempt of 4 ticks given up
answer after 1 ticks
cleaned up: true
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
