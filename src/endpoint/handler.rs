use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Dialog;
use crate::Result;
use crate::actor::Connection;
use crate::context::{Context, Half};
use crate::stream::{MsgStream, SendStream};
use crate::wire::{EncodeError, FuncType, Limits, Payload, PayloadError};

/// A function that can be an endpoint: see [`endpoint!`](crate::endpoint).
///
/// It is implemented for every function of one of the three shapes, told apart by `Kind`, which
/// is always inferred.
pub trait Endpoint<Kind>: Copy + 'static {
    #[doc(hidden)]
    fn handler(self) -> Handler;
}

/// Marks the plain functions, `async fn(A) -> Result<R>`.
#[derive(Debug)]
pub struct PlainKind<A, R>(PhantomData<(A, R)>);

/// Marks the contexts, `async fn(&mut Context<D>, A) -> Result<R>`.
#[derive(Debug)]
pub struct ContextKind<D, A, R>(PhantomData<(D, A, R)>);

/// Marks those that send items one way, `async fn(&mut SendStream<T>, A) -> Result<()>`. Nothing is
/// streamed from a function that has nothing to send with:
///
/// ```compile_fail,E0277
/// use tractor::{Portal, ReceiveStream, Result};
///
/// async fn count_to(end: u32) -> Result<()> {
///     Ok(())
/// }
/// tractor::endpoint!(count_to);
///
/// async fn counted(portal: &Portal) -> Result<Option<u32>> {
///     let body = async |stream: &ReceiveStream<u32>| stream.receive().await;
///     portal.open_stream_from(count_to, 10, body).await
/// }
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct OneWayKind<T, A>(PhantomData<(T, A)>);

impl<F, A, R> Endpoint<PlainKind<A, R>> for F
where
    F: AsyncFn(A) -> Result<R> + Copy + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    fn handler(self) -> Handler {
        Handler {
            functype: FuncType::AsyncFunc,
            call: Box::new(move |call| {
                let args = decode_args::<A>(&call.kwargs)?;
                let limits = call.limits();
                Ok(Box::pin(async move { encode(self(args).await?, &limits) }))
            }),
        }
    }
}

impl<F, D, A, R> Endpoint<ContextKind<D, A, R>> for F
where
    F: AsyncFn(&mut Context<D>, A) -> Result<R> + Copy + 'static,
    D: Dialog,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    fn handler(self) -> Handler {
        Handler {
            functype: FuncType::Context,
            call: Box::new(move |call| {
                let args = decode_args::<A>(&call.kwargs)?;
                let limits = call.limits();
                let mut ctx = Context::new(call.half);
                Ok(Box::pin(async move {
                    encode(self(&mut ctx, args).await?, &limits)
                }))
            }),
        }
    }
}

impl<F, T, A> Endpoint<OneWayKind<T, A>> for F
where
    F: AsyncFn(&mut SendStream<T>, A) -> Result<()> + Copy + 'static,
    T: Serialize + 'static,
    A: DeserializeOwned + 'static,
{
    fn handler(self) -> Handler {
        Handler {
            functype: FuncType::AsyncGen,
            call: Box::new(move |call| {
                let args = decode_args::<A>(&call.kwargs)?;
                Ok(Box::pin(async move {
                    call.half.open_stream(None)?;
                    self(&mut MsgStream::new(call.half), args).await?;
                    Ok(Payload::nil())
                }))
            }),
        }
    }
}

/// An endpoint without its types.
pub struct Handler {
    pub(crate) functype: FuncType,
    call: Box<dyn Fn(Call) -> std::result::Result<Running, PayloadError>>,
}

/// The endpoint at work: it ends with the encoded result.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Payload>>>>;

/// What an endpoint is called with.
pub(crate) struct Call {
    pub(crate) kwargs: Payload,
    pub(crate) half: Rc<Half>,
}

impl Call {
    /// Of the connection that it came by.
    fn limits(&self) -> Limits {
        self.half.conn().link().limits()
    }
}

impl Handler {
    /// Of a plain function of this library that is told who calls it.
    pub(crate) fn told<A, R, F>(function: impl Fn(Rc<Connection>, A) -> F + 'static) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<R>> + 'static,
    {
        Self {
            functype: FuncType::AsyncFunc,
            call: Box::new(move |call| {
                let args = decode_args::<A>(&call.kwargs)?;
                let limits = call.limits();
                let called = function(call.half.conn().clone(), args);
                Ok(Box::pin(async move { encode(called.await?, &limits) }))
            }),
        }
    }

    /// Reads the arguments and makes the future that runs the endpoint.
    pub(crate) fn call(&self, call: Call) -> std::result::Result<Running, PayloadError> {
        (self.call)(call)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handler({})", self.functype.name())
    }
}

/// The path of a function in its program.
pub fn path_of<K, F: Endpoint<K>>(_function: F) -> &'static str {
    type_name::<F>()
}

/// The function without its types.
pub fn erase<K, F: Endpoint<K>>(function: F) -> Handler {
    function.handler()
}

/// One value as arguments by name: a map is what it is, nothing is the empty map, and anything
/// else is the one named `args`.
pub(crate) fn encode_args<A: Serialize>(
    args: &A,
    limits: &Limits,
) -> std::result::Result<Payload, EncodeError> {
    let value = Payload::encode_within(limits, args)?;
    if value.is_map() {
        return Ok(value);
    }
    if value.is_nil() {
        return Ok(Payload::empty_map());
    }
    Payload::encode_within(limits, &Wrapped { args })
}

pub(crate) fn decode_args<A: DeserializeOwned>(
    kwargs: &Payload,
) -> std::result::Result<A, PayloadError> {
    let error = match kwargs.try_decode::<A>() {
        Ok(args) => return Ok(args),
        Err(error) => error,
    };
    if *kwargs == Payload::empty_map() {
        let nothing = Payload::nil().try_decode();
        return nothing.map_err(|_| kwargs.described::<A>(&error));
    }
    match kwargs.try_decode::<Only<A>>() {
        Ok(only) => Ok(only.args),
        Err(inner) if kwargs.try_decode::<Only<serde::de::IgnoredAny>>().is_ok() => {
            Err(kwargs.described::<Only<A>>(&inner))
        }
        Err(_) => Err(kwargs.described::<A>(&error)),
    }
}

#[derive(Serialize)]
struct Wrapped<'a, A> {
    args: &'a A,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Only<A> {
    args: A,
}

fn encode<R: Serialize>(value: R, limits: &Limits) -> Result<Payload> {
    Ok(Payload::encode_within(limits, &value)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Named {
        x: u32,
        y: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct ArgsField {
        args: Vec<u32>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Choice {
        Plain,
        Some { x: u8 },
        One(u32),
    }

    #[test]
    fn arguments_of_every_shape() {
        fn round<A: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(args: A) {
            let kwargs = encode_args(&args, &Limits::new()).unwrap();
            assert!(kwargs.is_map(), "{args:?}");
            assert_eq!(decode_args::<A>(&kwargs).unwrap(), args);
        }
        round(());
        round(Unit);
        round(7u64);
        round(-7i8);
        round(String::from("text"));
        round((1u32, String::from("two")));
        round(vec![1u8, 2, 3]);
        round(Vec::<u8>::new());
        round(None::<u32>);
        round(Some(3u32));
        round(Named { x: 1, y: None });
        round(ArgsField { args: vec![1] });
        round(BTreeMap::from([(String::from("args"), 1u32)]));
        round(BTreeMap::<String, u32>::new());
        round(Choice::Plain);
        round(Choice::Some { x: 1 });
        round(Choice::One(3));
    }

    #[test]
    fn wrong_arguments_name_both_types() {
        let kwargs = encode_args(&"seven", &Limits::new()).unwrap();
        let error = decode_args::<u64>(&kwargs).unwrap_err();
        assert!(error.to_string().contains("u64"), "{error}");
        let error = decode_args::<Named>(&encode_args(&(), &Limits::new()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("Named"), "{error}");
    }
}
