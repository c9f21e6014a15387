//! The ports of a node. Those that phones and Laravel come to are taken when it starts and open when it can serve.

use std::net::{Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Config;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

#[derive(Debug, thiserror::Error)]
#[error("binding {what} to {address} failed")]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens a port at once.
pub(super) async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { what, address, source })
}

/// A port that is taken and refuses whoever comes.
pub(super) struct ReservedPort {
    pub address: SocketAddr,
    what: &'static str,
    socket: TcpSocket,
}

impl ReservedPort {
    pub fn public(config: &Config) -> Result<Self, BindError> {
        Self::take("the public port", SocketAddr::new(config.host, config.port))
    }

    /// That of `/api/`, where it has one of its own.
    pub fn api(config: &Config) -> Result<Option<Self>, BindError> {
        config.api_port.map(|port| Self::take("the port of /api/", SocketAddr::new(config.host, port))).transpose()
    }

    fn take(what: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let open = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            if address.ip() == Ipv6Addr::UNSPECIFIED {
                // `::` is every address of the machine, also where the system says otherwise.
                socket2::SockRef::from(&socket).set_only_v6(false)?;
            }
            socket.bind(address)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| BindError { what, address, source })?;
        Ok(Self { address: socket.local_addr().unwrap_or(address), what, socket })
    }

    pub fn listen(self) -> Result<TcpListener, BindError> {
        let Self { address, what, socket } = self;
        socket.listen(BACKLOG).map_err(|source| BindError { what, address, source })
    }
}
