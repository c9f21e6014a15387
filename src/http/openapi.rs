//! The description of every route, made from the handlers, and a page that shows it.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use super::{access, admin, guarded, open, page, queries};

/// Of all routes; without a word of its own a route needs the secret.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "onlycare-signaling",
        description = "What Laravel asks and tells the nodes that ring phones, and how operators look at them. \
            Phones speak Socket.IO: docs/protocol.md. Every node answers for the whole cluster.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "Any node: API_PORT, or PORT where it is not set; for `operations` ADMIN_PORT")),
    security(("secret" = [])),
    tags(
        (name = "calls", description = "Ring, and ask what became of it"),
        (name = "transitions", description = "What Laravel's own REST API decided about a call"),
        (name = "users", description = "Presence, events, sending away"),
        (name = "health", description = "For load balancers"),
        (name = "operations", description = "On ADMIN_PORT only"),
        (name = "webhooks", description = "What the nodes POST to WEBHOOK_URL: docs/webhooks.md"),
    ),
)]
struct Description;

/// Examples of every operation, and what is sent to `WEBHOOK_URL`: no handler describes it.
const MORE: &str = include_str!("description.json");

fn document() -> Value {
    let mut document = serde_json::to_value(handlers()).unwrap_or_default();
    let more: Value = serde_json::from_str(MORE).unwrap_or_default();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut()) {
        let examples = &more["operations"][operation["operationId"].as_str().unwrap_or_default()];
        if let Some(request) = examples.get("request") {
            operation["requestBody"]["content"]["application/json"]["example"] = request.clone();
        }
        if examples["bodyMayBeAbsent"] == true {
            operation["requestBody"]["required"] = false.into();
        }
        let Some(content) = operation["responses"]["200"]["content"].as_object_mut() else { continue };
        for media in content.values_mut() {
            media["example"] = examples["answer"].clone();
        }
    }
    document["webhooks"] = more["webhooks"].clone();
    let schemas = document["components"]["schemas"].as_object_mut();
    if let (Some(schemas), Some(further)) = (schemas, more["schemas"].as_object()) {
        schemas.extend(further.clone());
    }
    document
}

fn handlers() -> utoipa::openapi::OpenApi {
    let mut document = Description::openapi();
    for part in [
        OpenApiRouter::into_openapi(guarded()),
        OpenApiRouter::into_openapi(queries()),
        OpenApiRouter::into_openapi(open()),
        OpenApiRouter::into_openapi(admin::probes()),
    ] {
        document.merge(part);
    }
    let secret = ApiKeyValue::with_description(access::SECRET_HEADER, "LARAVEL_API_SECRET");
    let scheme = SecurityScheme::ApiKey(ApiKey::Header(secret));
    document.components.get_or_insert_default().add_security_scheme("secret", scheme);
    document
}

/// The descriptions of requests and of events, and their page: none is secret.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let document = document();
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        .route("/asyncapi.json", get(async || page::file("application/json", include_str!("../../web/asyncapi.json"))))
        .route("/docs", get(async || page::file("text/html; charset=utf-8", include_str!("../../web/docs.html"))))
        .route("/docs/docs.css", get(async || page::file("text/css", include_str!("../../web/docs.css"))))
        .route("/docs/docs.js", get(async || page::file("text/javascript", include_str!("../../web/docs.js"))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::call::{EndReason, State, WebhookEventKind, What};

    fn operations(document: &Value) -> Vec<Value> {
        let paths = document["paths"].as_object().unwrap();
        paths.values().flat_map(|path| path.as_object().unwrap().values().cloned()).collect()
    }

    /// What generated clients make functions of, and what their readers copy.
    #[test]
    fn every_operation_has_a_name_of_its_own_and_examples() {
        let document = document();
        let mut names = BTreeSet::new();
        for operation in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            let verb = ["report", "ring", "get", "who", "is", "list", "send", "disconnect", "replay", "switch"];
            assert!(verb.iter().any(|verb| name.starts_with(verb)), "{name} says not what it does");
            assert!(names.insert(name.to_owned()), "{name} twice");
            for media in operation["responses"]["200"]["content"].as_object().unwrap().values() {
                assert!(!media["example"].is_null(), "{name}: no example of the answer");
            }
            let request = &operation["requestBody"];
            assert!(request.is_null() || request["content"]["application/json"]["example"].is_object(), "{name}");
        }
        let more: Value = serde_json::from_str(MORE).unwrap();
        let listed: BTreeSet<String> = more["operations"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, listed);
        assert!(names.contains("listDeadLetters") && names.contains("ringCall"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn words_of_closed_sets_are_those_of_the_rules() {
        let document = document();
        let words = |schema: &str| -> BTreeSet<String> {
            let listed = document["components"]["schemas"][schema]["enum"].as_array().unwrap();
            listed.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let rules = |file: &str, name: &str| -> BTreeSet<String> {
            let body = file.split(name).nth(1).unwrap().split("\n    }\n").next().unwrap();
            body.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
        };
        let record = include_str!("../call/record.rs");
        assert_eq!(
            words("CallState"),
            rules(record, "State::Trying =>").union(&["trying".into()].into()).cloned().collect()
        );
        let end = include_str!("../call/end.rs");
        assert_eq!(words("Ending"), rules(end, "pub fn name(&self)"));
        let timeline = include_str!("../call/timeline.rs");
        assert_eq!(words("Happening"), rules(timeline, "pub fn name(self)"));
        let event = include_str!("../call/event.rs");
        let hooks: BTreeSet<String> = document["webhooks"].as_object().unwrap().keys().cloned().collect();
        let calls: BTreeSet<String> = hooks.iter().filter(|name| name.starts_with("call.")).cloned().collect();
        assert_eq!(calls, rules(event, "pub fn name(self)"));
        assert_eq!(hooks.len() - calls.len(), 2, "presence");
        // One of each is at hand, so that a changed form is noticed here.
        assert_eq!((State::Trying.name(), EndReason::Busy.name()), ("trying", "busy"));
        assert_eq!((What::Created.name(), WebhookEventKind::Ended.name()), ("created", "call.ended"));
    }
}
