//! A library whose endpoints its tests run in other actors.

use serde::{Deserialize, Serialize};
use tractor::{Context, Dialog, Result, SpawnOptions, endpoint};

/// Words and how long each is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The words.
    pub words: Vec<String>,
}

/// Counts the letters of each word.
pub async fn count(words: Words) -> Result<Vec<usize>> {
    Ok(words.words.iter().map(String::len).collect())
}
endpoint!(count);

/// Has it counted by an actor below this one.
pub async fn count_below(words: Words) -> Result<Vec<usize>> {
    tractor::nursery(async |an| {
        let portal = an
            .start_actor("below", SpawnOptions::new().enable(count))
            .await?;
        let counts = portal.run(count, words).await?;
        an.cancel();
        Ok(counts)
    })
    .await
}
endpoint!(count_below);

/// Items that come back in capitals.
#[derive(Debug)]
pub struct Shouting;
impl Dialog for Shouting {
    type Started = ();
    type ToChild = String;
    type ToParent = String;
}

/// Sends every item back in capitals.
pub async fn shout(ctx: &mut Context<Shouting>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(item) = stream.receive().await? {
        stream.send(&item.to_uppercase()).await?;
    }
    Ok(())
}
endpoint!(shout);

/// Fails as no endpoint should.
pub async fn give_up((): ()) -> Result<()> {
    panic!("it gave up")
}
endpoint!(give_up);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_tests_start_processes_too() {
        let pid = tractor::run(async || {
            tractor::nursery(async |an| {
                let options = SpawnOptions::new().enable(process_id);
                let portal = an.start_actor("actor", options).await?;
                let pid = portal.run(process_id, ()).await?;
                an.cancel();
                Ok(pid)
            })
            .await
        });
        assert_ne!(pid.unwrap(), std::process::id());
    }

    async fn process_id((): ()) -> Result<u32> {
        Ok(std::process::id())
    }
    endpoint!(process_id);
}
