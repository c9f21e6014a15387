//! Slashes that a client adds between or behind the parts of a path: `/api//calls/` is `/api/calls`.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use tower::ServiceExt;

/// The same routes, found by paths with slashes too many as well.
pub(super) fn forgiven(router: Router) -> Router {
    let exact = router.clone();
    router.fallback(async move |mut request: Request| {
        if let Some(uri) = without_excess(request.uri()) {
            *request.uri_mut() = uri;
        }
        exact.oneshot(request).await
    })
}

/// Absent where there are none too many.
fn without_excess(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !(path.contains("//") || path.ends_with('/') && path.len() > 1) {
        return None;
    }
    let mut short = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        short.push('/');
        short.push_str(segment);
    }
    if short.is_empty() {
        short.push('/');
    }
    if let Some(query) = uri.query() {
        short.push('?');
        short.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(short).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_too_many_are_taken_out() {
        let of = |path: &'static str| without_excess(&Uri::from_static(path)).map(|uri| uri.to_string());
        assert_eq!(of("/api/calls/").as_deref(), Some("/api/calls"));
        assert_eq!(of("//api///calls//?a=//").as_deref(), Some("/api/calls?a=//"));
        assert_eq!(of("/api/calls/CALL_1/").as_deref(), Some("/api/calls/CALL_1"));
        assert_eq!(of("//").as_deref(), Some("/"));
        assert_eq!((of("/"), of("/api/calls"), of("/api/calls?x=/")), (None, None, None));
    }
}
