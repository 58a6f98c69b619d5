//! The API's description of itself, made from the types and routes that it has.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

/// Where it is served.
const DOCUMENT: &str = "/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(info(
    description = "On a unix socket for the owner alone; where it is served on an address as well, with the bearer token that lies beside the socket.",
    license(name = "Apache-2.0")
))]
struct Description;

/// The routes, and one more that describes them.
pub fn documented(router: OpenApiRouter, title: &str) -> Router {
    let (router, mut document) = router.split_for_parts();
    document.info = Description::openapi().info;
    document.info.contact = None;
    title.clone_into(&mut document.info.title);
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().security_schemes.insert("token".to_owned(), bearer.into());
    router.route(DOCUMENT, get(move || async move { Json(document) }))
}
