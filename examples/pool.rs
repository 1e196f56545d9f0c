//! A pool of worker processes that looks for primes: back-pressure, results as they come, and a
//! worker that dies.
//!
//! ```text
//! cargo run --example pool [numbers]
//! ```

use std::process::ExitCode;

use tractor::trionics::worker_pool;
use tractor::{Result, SpawnOptions, endpoint, exit_code};

/// How many numbers a worker looks at in one call.
const BLOCK: u64 = 10_000;

/// How many primes there are in a block.
async fn primes(block: u64) -> Result<u64> {
    let numbers = block * BLOCK..(block + 1) * BLOCK;
    Ok(numbers.filter(|number| is_prime(*number)).count() as u64)
}
endpoint!(primes);

fn is_prime(number: u64) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

fn main() -> ExitCode {
    let numbers = std::env::args().nth(1).and_then(|arg| arg.parse().ok());
    let blocks: u64 = numbers.unwrap_or(200_000_u64).div_ceil(BLOCK);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let found = tractor::run(async || {
        worker_pool(workers, SpawnOptions::new().enable(primes), async |pool| {
            let mut found = 0;
            // However many blocks there are, few are under way at a time.
            pool.map(primes, 0..blocks, async |_, count| {
                found += count;
                Ok(())
            })
            .await?;
            Ok(found)
        })
        .await
    });
    match found {
        Ok(found) => {
            println!("{found} primes below {}", blocks * BLOCK);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pool: {error}");
            exit_code(&error).into()
        }
    }
}
