//! The agent's environment, built from nothing: what it may know of the caller's, where the proxy is, what to trust, and a
//! placeholder for every secret.

use std::path::Path;

use tollgate_secrets::Vault;

/// Variables that pass from the caller as they are; `LC_*` as well.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "LANG",
    "LANGUAGE",
    "TZ",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "COLUMNS",
    "LINES",
];

/// Proxy variables, in every spelling that some client reads.
const PROXY: &[&str] =
    &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "grpc_proxy"];

/// Variables that name the sandbox's authority alone; their clients add it to what they trust already.
const CA_ALONE: &[&str] = &["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// Variables that name everything a client trusts: the system's store and the sandbox's authority.
const CA_BUNDLE: &[&str] = &[
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "HTTPLIB2_CA_CERTS",
    "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",
    "HEX_CACERTS_PATH",
    "JULIA_SSL_CA_ROOTS_PATH",
    "PERL_LWP_SSL_CA_FILE",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
];

/// The sandbox's own network stays inside and needs no proxy.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";

/// What `--env` asks for: `NAME` passes the caller's value, `NAME=VALUE` sets one.
pub type Extra = Vec<(String, String)>;

/// Builds the environment. Later ones win: the caller's, `extra`, the proxy and trust variables, the placeholders.
pub fn build(vault: &Vault, extra: &Extra, proxy: &str, ca: &Path, bundle: &Path) -> Vec<(String, String)> {
    let mut variables = std::collections::BTreeMap::new();
    variables.extend(passed());
    variables.extend(extra.iter().cloned());
    variables.insert("TOLLGATE_SANDBOX".to_owned(), "1".to_owned());
    variables.extend(through_gate(vault, Some(proxy), ca, bundle));
    variables.into_iter().collect()
}

/// What passes from our own environment as it is.
pub fn passed() -> impl Iterator<Item = (String, String)> {
    let passes = |name: &str| PASSED.contains(&name) || name.starts_with("LC_");
    std::env::vars_os().filter_map(move |(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        passes(&name).then_some((name, value))
    })
}

/// Variables that lead through the gate: nobody but the gate says what they are.
pub fn belongs_to_gate(name: &str) -> bool {
    [PROXY, CA_ALONE, CA_BUNDLE].concat().contains(&name)
        || ["NO_PROXY", "no_proxy", "NODE_USE_ENV_PROXY", "TOLLGATE_SANDBOX"].contains(&name)
}

/// The variables that lead programs through a gate: its address where they have to know it, what to trust, and a
/// placeholder for every secret.
pub fn through_gate(vault: &Vault, proxy: Option<&str>, ca: &Path, bundle: &Path) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut set = |names: &[&str], value: &str| {
        variables.extend(names.iter().map(|name| ((*name).to_owned(), value.to_owned())));
    };
    if let Some(proxy) = proxy {
        set(PROXY, proxy);
        set(&["NO_PROXY", "no_proxy"], NO_PROXY);
        set(&["NODE_USE_ENV_PROXY"], "1");
    }
    set(CA_ALONE, &ca.display().to_string());
    set(CA_BUNDLE, &bundle.display().to_string());
    variables.extend(vault.secrets().iter().map(|s| (s.name().to_string(), s.placeholder().to_owned())));
    variables
}
