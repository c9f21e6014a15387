use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

/// CORS for HTTP and Socket.IO alike, as the official server has it: the headers that a page asks for are allowed. No
/// origins: any.
pub fn cors(origins: &[String]) -> CorsLayer {
    let methods =
        [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::POST, Method::DELETE, Method::OPTIONS];
    let layer = CorsLayer::new().allow_methods(methods).allow_headers(AllowHeaders::mirror_request());
    if origins.is_empty() {
        return layer.allow_origin(Any);
    }
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    layer.allow_origin(AllowOrigin::list(origins))
}

/// Takes from answers to origins that are not allowed what would describe the server to them.
pub async fn strangers_get_nothing(request: Request, next: Next) -> Response {
    const TOLD: [HeaderName; 4] = [
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
    ];
    let mut response = next.run(request).await;
    if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in TOLD {
            response.headers_mut().remove(name);
        }
    }
    response
}
