//! A program in which two endpoints have one name.

use tractor::{Result, endpoint};

async fn one((): ()) -> Result<()> {
    Ok(())
}
endpoint!(one as "same:name");

async fn other((): ()) -> Result<()> {
    Ok(())
}
endpoint!(other as "same:name");

fn main() -> Result<()> {
    tractor::run(async || Ok(()))
}
