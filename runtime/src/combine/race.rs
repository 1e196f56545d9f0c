use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use crate::cause::{CancelCause, CancelKind};
use crate::error::{Error, Result};
use crate::executor::current_label;
use crate::nursery::nursery;

/// Runs all, takes what the first to end comes out with, and cancels and waits for the others.
///
/// The competitors are an array or a `Vec`, or a tuple of different futures with one type of
/// result. They are tasks of a nursery, so that the losers can clean up, and none is left when
/// this returns. The value of one that comes through all the same, because its result was there
/// before it could be cancelled, is dropped: where that would lose something, say an item of a
/// channel, use [`wait_any`].
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{race, run, time::sleep};
///
/// run(async || {
///     let first = race((
///         async {
///             sleep(Duration::from_secs(3600)).await?;
///             Ok("slow")
///         },
///         async {
///             sleep(Duration::from_millis(1)).await?;
///             Ok("quick")
///         },
///     ))
///     .await?;
///     assert_eq!(first, "quick");
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// # Errors
///
/// The error of the first to end, if it failed. Those of others that fail when they are cancelled:
/// the value of the first is dropped then. [`NoCompetitors`]. A cancellation, if the scope is
/// cancelled before anybody is first.
#[track_caller]
pub fn race<C: Competitors>(competitors: C) -> impl Future<Output = Result<C::Output>> {
    let first = wait_any(competitors);
    async move { Ok(first.await?.value) }
}

/// [`race`] that says who was first, and keeps the values of those that came through as well.
///
/// # Errors
///
/// As [`race`].
#[track_caller]
pub fn wait_any<C: Competitors>(competitors: C) -> impl Future<Output = Result<First<C::Output>>> {
    run(competitors, Location::caller())
}

async fn run<C: Competitors>(
    competitors: C,
    location: &'static Location<'static>,
) -> Result<First<C::Output>> {
    let competitors = competitors.into_boxed();
    if competitors.is_empty() {
        return Err(NoCompetitors { _private: () }.into());
    }
    let first = RefCell::new(None);
    let result = nursery(async |n| {
        for (index, competitor) in competitors.into_iter().enumerate() {
            let first = &first;
            n.start_soon(async move {
                if came_through(first, index, competitor.await?) {
                    n.cancel_because(lost(location));
                }
                Ok(())
            });
        }
        Ok(())
    })
    .await;
    decide(result, first.into_inner())
}

/// Runs all, takes the value of the first to succeed, and cancels and waits for the others.
///
/// As [`race`], but those who fail do not end it.
///
/// # Errors
///
/// If none succeeds, what they failed with: several errors as a group, in the order of the
/// competitors. [`NoCompetitors`]. A cancellation, if the scope is cancelled before anybody
/// succeeds. If one succeeds, all errors are dropped.
#[track_caller]
pub fn first_ok<C: Competitors>(competitors: C) -> impl Future<Output = Result<C::Output>> {
    run_until_ok(competitors, Location::caller())
}

async fn run_until_ok<C: Competitors>(
    competitors: C,
    location: &'static Location<'static>,
) -> Result<C::Output> {
    let competitors = competitors.into_boxed();
    let (first, errors) = (RefCell::new(None), RefCell::new(Vec::new()));
    let result = nursery(async |n| {
        for (index, competitor) in competitors.into_iter().enumerate() {
            let (first, errors) = (&first, &errors);
            n.start_soon(async move {
                match competitor.await {
                    Ok(value) => {
                        if came_through(first, index, value) {
                            n.cancel_because(lost(location));
                        }
                        Ok(())
                    }
                    Err(error) => {
                        let (cancelled, failed) = error.split(Error::is_cancelled);
                        errors
                            .borrow_mut()
                            .extend(failed.map(|error| (index, error)));
                        cancelled.map_or(Ok(()), Err)
                    }
                }
            });
        }
        Ok(())
    })
    .await;
    let mut errors = errors.into_inner();
    let first = first.into_inner();
    if first.is_none() && result.is_ok() {
        if errors.is_empty() {
            return Err(NoCompetitors { _private: () }.into());
        }
        errors.sort_by_key(|(index, _)| *index);
        let errors = errors.into_iter().map(|(_, error)| error).collect();
        return Err(Error::group("all competitors failed", errors));
    }
    Ok(decide(result, first)?.value)
}

/// Notes a value. Whether it is the first.
fn came_through<T>(first: &RefCell<Option<First<T>>>, index: usize, value: T) -> bool {
    match &mut *first.borrow_mut() {
        Some(first) => {
            first.late.push((index, value));
            false
        }
        none => {
            *none = Some(First {
                index,
                value,
                late: Vec::new(),
            });
            true
        }
    }
}

fn lost(location: &'static Location<'static>) -> CancelCause {
    CancelCause::at(CancelKind::Requested, current_label(), location)
        .with_reason("another one was first")
}

/// A value that is there beats a cancellation, but no other error.
fn decide<T>(result: Result<()>, first: Option<First<T>>) -> Result<First<T>> {
    match (result, first) {
        (Ok(()), Some(first)) => Ok(first),
        (Err(error), Some(first)) if error.is_cancelled() => Ok(first),
        (Err(error), _) => Err(error),
        (Ok(()), None) => unreachable!("a race ended without a first and without an error"),
    }
}

/// What came out of [`wait_any`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct First<T> {
    /// Which of the competitors was first, from 0.
    pub index: usize,
    /// Its value.
    pub value: T,
    /// Those who came through as well before they could be cancelled, in the order in which they
    /// did.
    pub late: Vec<(usize, T)>,
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// What can take part in a [`race`]: arrays and `Vec`s of futures, and tuples of up to eight, all
/// with the same type of result.
pub trait Competitors: sealed::Sealed {
    /// What each gives if it succeeds.
    type Output;

    #[doc(hidden)]
    fn into_boxed<'a>(self) -> Vec<Boxed<'a, Self::Output>>
    where
        Self: 'a;
}

mod sealed {
    pub trait Sealed {}
}

impl<F> sealed::Sealed for Vec<F> {}

impl<T, F: Future<Output = Result<T>>> Competitors for Vec<F> {
    type Output = T;

    fn into_boxed<'a>(self) -> Vec<Boxed<'a, T>>
    where
        Self: 'a,
    {
        self.into_iter().map(|one| Box::pin(one) as _).collect()
    }
}

impl<F, const N: usize> sealed::Sealed for [F; N] {}

impl<T, F: Future<Output = Result<T>>, const N: usize> Competitors for [F; N] {
    type Output = T;

    fn into_boxed<'a>(self) -> Vec<Boxed<'a, T>>
    where
        Self: 'a,
    {
        self.into_iter().map(|one| Box::pin(one) as _).collect()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name),+> sealed::Sealed for ($($name,)+) {}

        impl<Value, $($name: Future<Output = Result<Value>>),+> Competitors for ($($name,)+) {
            type Output = Value;

            fn into_boxed<'a>(self) -> Vec<Boxed<'a, Value>>
            where
                Self: 'a,
            {
                #[expect(non_snake_case, reason = "named like their types")]
                let ($($name,)+) = self;
                vec![$(Box::pin($name)),+]
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// A [`race`] of nobody has no first.
#[derive(Clone, Debug)]
pub struct NoCompetitors {
    _private: (),
}

impl fmt::Display for NoCompetitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody took part")
    }
}

impl std::error::Error for NoCompetitors {}
