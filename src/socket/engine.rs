use std::convert::Infallible;

use engineioxide::service::NotFoundService;
use hyper::body::{Body, Bytes};
use hyper::service::Service;
use hyper::{Request, Response};
use socketioxide::service::SocketIoService;
use tokio::io::{AsyncRead, AsyncWrite};

/// The engine, as the edge of HTTP sees it.
#[derive(Clone)]
pub struct Engine(SocketIoService<NotFoundService>);

impl Engine {
    pub(super) fn new(service: SocketIoService<NotFoundService>) -> Self {
        Self(service)
    }

    #[cfg(test)]
    pub fn without_sessions() -> Self {
        Self(socketioxide::SocketIo::builder().build_svc().0)
    }

    /// Answers a request of the engine's path.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
    ) -> Response<impl Body<Data = Bytes, Error = Infallible> + Send + use<B>>
    where
        B: Body + Send + Unpin + std::fmt::Debug + 'static,
        B::Error: std::fmt::Debug,
        B::Data: Send,
    {
        let Ok(response) = Service::<Request<B>>::call(&self.0, request).await;
        response
    }

    /// Takes over a stream on which the answer to this request for a websocket was the last that was HTTP. What the engine
    /// keeps of the request lives as long as the websocket. False where it is no request for one.
    pub fn takes<S>(&self, stream: S, request: Request<()>) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Service::<(S, Request<()>)>::call(&self.0, (stream, request)).into_inner().is_ok()
    }
}
