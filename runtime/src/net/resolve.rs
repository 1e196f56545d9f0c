use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::thread;

/// The addresses of a host, by the resolver of the operating system. A checkpoint.
///
/// # Errors
///
/// Cancellation, at once: a thread may go on asking for a while, and its answer is discarded. That
/// the host has no address, and whatever else the resolver says.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        crate::checkpoint().await?;
        return Ok(vec![(address, port).into()]);
    }
    let name = host.to_owned();
    let ask = move || (name.as_str(), port).to_socket_addrs();
    let call = thread::Call::new().abandon_on_cancel(true).name("resolve");
    let addresses: Vec<_> = call.run(ask).await??.collect();
    if addresses.is_empty() {
        let text = format!("{host} has no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(addresses)
}
