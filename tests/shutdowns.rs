//! What the example of an orderly end prints.

#[path = "../examples/shutdown.rs"]
#[allow(dead_code, reason = "its `main` is not run")]
mod shutdown;

use tractor::runtime::testing;

#[test]
fn requests_are_finished_or_cut_short_when_the_grace_is_over() {
    let printed = testing::run(async || {
        let mut printed = Vec::new();
        shutdown::show(&mut printed).await?;
        Ok(String::from_utf8(printed)?)
    })
    .unwrap();
    assert_eq!(
        printed,
        "2 requests were finished: true\n1 request was finished: true\n"
    );
}
