//! Sign-in on another device: the program's endpoint, and the page where a person types the code.
//!
//! The page has no scripts and loads nothing; what it shows again is escaped.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use engine::identity::{Asked, SignInError, SignInResult};
use serde_json::json;

use super::form::Form;
use super::reply::{Context, protect, status};
use super::{Dialect, REQUEST_LIMIT, asked};
use crate::face::base_url;
use crate::state::ApiState;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// POST /{tenant}/oauth2/v2.0/devicecode.
pub(super) async fn begin_v2(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response<Body> {
    begin(&state, &tenant, Dialect::V2, request).await
}

/// POST /{tenant}/oauth2/devicecode.
pub(super) async fn begin_v1(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response<Body> {
    begin(&state, &tenant, Dialect::V1, request).await
}

/// POST /adfs/oauth2/devicecode.
pub(super) async fn begin_adfs(State(state): State<ApiState>, request: Request) -> Response<Body> {
    begin(&state, "adfs", Dialect::Adfs, request).await
}

async fn begin(
    state: &ApiState,
    tenant: &str,
    dialect: Dialect,
    request: Request,
) -> Response<Body> {
    let context = Context::of(&request, state.engine.now_ms());
    let started = async {
        let (parts, body) = request.into_parts();
        let form = Form::read(body).await?;
        let client_id = form
            .get("client_id")
            .ok_or(SignInError::Missing("client_id"))?;
        let mut asked = asked(dialect, &form);
        if asked.scope.is_empty() {
            // The scope is what is kept until the code is redeemed.
            let scope = asked
                .resource
                .as_deref()
                .map(|resource| format!("{resource}/.default"));
            asked = Asked {
                scope: scope.unwrap_or_default(),
                ..asked
            };
        }
        let base_url = base_url(&parts.headers, &parts.uri);
        state
            .engine
            .begin_device_flow(tenant, &base_url, client_id, &asked)
            .await
    };
    match tokio::time::timeout(REQUEST_LIMIT, started).await.unwrap_or(Err(SignInError::Unavailable)) {
        Ok(flow) => context.ok(&json!({
            "user_code": flow.user_code,
            "device_code": flow.device_code,
            "verification_uri": flow.verification_uri,
            "verification_url": flow.verification_uri,
            "expires_in": flow.expires_in_s,
            "interval": flow.interval_s,
            "message": format!(
                "To sign in, use a web browser to open the page {} and enter the code {} to authenticate.",
                flow.verification_uri, flow.user_code
            ),
        })),
        Err(error) => context.refuse(&error),
    }
}

/// GET /devicelogin.
pub(super) async fn page() -> Response<Body> {
    html(StatusCode::OK, &form_page("", "", None))
}

/// POST /devicelogin.
pub(super) async fn submit(State(state): State<ApiState>, request: Request) -> Response<Body> {
    let form = match Form::read(request.into_body()).await {
        Ok(form) => form,
        Err(error) => return html(status(&error), &form_page("", "", Some(&error))),
    };
    let code = form.get("code").unwrap_or_default();
    let user = form.get("username").unwrap_or_default();
    let settled = tokio::time::timeout(REQUEST_LIMIT, settle(&state, &form, code, user)).await;
    match settled.unwrap_or(Err(SignInError::Unavailable)) {
        Ok(said) => html(
            StatusCode::OK,
            &frame(&format!("<p role=\"status\">{said}</p>")),
        ),
        Err(error) => html(status(&error), &form_page(code, user, Some(&error))),
    }
}

async fn settle(
    state: &ApiState,
    form: &Form,
    code: &str,
    user: &str,
) -> SignInResult<&'static str> {
    if form.get("answer") == Some("cancel") {
        state.engine.deny_device(code).await?;
        return Ok("The sign-in was cancelled. You can close this page.");
    }
    let password = form
        .secret("password")
        .ok_or(SignInError::Missing("password"))?;
    state.engine.approve_device(code, user, password).await?;
    Ok("You have signed in on your device. You can close this page.")
}

fn form_page(code: &str, user: &str, error: Option<&SignInError>) -> String {
    let said = error
        .map(|error| format!("<p role=\"alert\">{}</p>", escape(&error.to_string())))
        .unwrap_or_default();
    frame(&format!(
        "<p>Enter the code that your program shows. Continue only if you started it yourself.</p>{said}\
         <form method=\"post\" action=\"/devicelogin\">\
         <label>Code <input name=\"code\" required autofocus autocomplete=\"off\" maxlength=\"20\" value=\"{}\"></label>\
         <label>User name <input name=\"username\" autocomplete=\"username\" maxlength=\"256\" value=\"{}\"></label>\
         <label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" maxlength=\"1024\"></label>\
         <button name=\"answer\" value=\"sign-in\">Sign in</button> \
         <button name=\"answer\" value=\"cancel\">Cancel</button></form>",
        escape(code),
        escape(user)
    ))
}

fn frame(inner: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sign in – Vitrine</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>body{{font:16px system-ui;max-width:24rem;margin:3rem auto;padding:0 1rem}}\
         label{{display:block;margin:1rem 0}}input{{display:block;width:100%;font:inherit;padding:.4rem;box-sizing:border-box}}\
         button{{font:inherit;padding:.4rem 1rem}}[role=alert]{{color:#a00}}</style></head><body><main><h1>Sign in</h1>{inner}</main></body></html>"
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn html(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static(POLICY),
    );
    protect(&mut response);
    response
}
