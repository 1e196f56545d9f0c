//! Endpoints in another crate than the one that calls them: nothing but the linker's list tells
//! a child of them, so they must survive whatever the linker leaves out.

use serde::{Deserialize, Serialize};
use tractor::{Context, Dialog, Result, endpoint};

/// A greeting in two parts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// What is said first.
    pub word: String,
    /// To whom.
    pub name: String,
}

/// Greets.
pub async fn greet(greeting: Greeting) -> Result<String> {
    Ok(format!("{}, {}!", greeting.word, greeting.name))
}
endpoint!(greet);

pub mod deeper {
    //! A module below.

    use super::*;

    /// Says back what it is told.
    #[derive(Debug)]
    pub struct Parrot;

    impl Dialog for Parrot {
        type Started = u32;
        type ToChild = String;
        type ToParent = String;
    }

    /// Repeats every word twice.
    pub async fn parrot(ctx: &mut Context<Parrot>, times: u32) -> Result<u32> {
        ctx.started(times).await?;
        let stream = ctx.open_stream()?;
        let mut words = 0;
        while let Some(word) = stream.receive().await? {
            words += 1;
            for _ in 0..times {
                stream.send(&word).await?;
            }
        }
        Ok(words)
    }
    endpoint!(parrot as "birds:parrot");
}
