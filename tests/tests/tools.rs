//! Tools that agents work with, by both ways out: each does its whole job through the gate.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tollgate_inspect::websocket::Opcode;
use tollgate_tests::loopback::{Body, Scripted, Upstreams};
use tollgate_tests::websocket::Socket;
use tollgate_tests::{Bench, finish};

const POLICY: &str = "
version: 1
network_policies:
  tools:
    endpoints:
      - { host: git.test, port: 443, protocol: rest, access: full }
      - { host: grpc.test, port: 443, protocol: rest, rules: [{ allow: { method: POST, path: /echo.Echo/Say } }] }
      - { host: chat.test, port: 443, protocol: websocket, rules: [{ allow: { method: GET, path: /ws } }, { allow: { method: WEBSOCKET_TEXT, path: /ws } }] }
      - { host: api.test, port: 443, protocol: rest, access: read-only }
";

/// Knowing of a proxy, and knowing of none.
const WAYS: [&str; 2] = ["", "unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy grpc_proxy;"];

/// A sandbox to be, and what its upstreams run on.
fn start() -> (Bench, Upstreams, Runtime) {
    (Bench::new(POLICY), Upstreams::new(), Runtime::new().expect("a runtime"))
}

/// Runs a script as the agent, by both ways, with one more upstream; what it printed.
fn run(
    bench: &Bench,
    upstreams: &Upstreams,
    upstream: Option<(&str, &Scripted)>,
    options: &[&str],
    script: &str,
) -> Vec<String> {
    let ca = bench.write("upstream-ca.pem", std::fs::read(upstreams.file()).expect("readable")).display().to_string();
    let pin = upstream.map(|(name, upstream)| format!("{name}:443:{}", upstream.address));
    let pins = pin.iter().flat_map(|pin| ["--resolve", pin]);
    let options: Vec<_> = ["--upstream-ca", &ca].into_iter().chain(pins).chain(options.iter().copied()).collect();
    let run = |way: &&str| bench.shell(&options, &format!("set -e; {way} {script}")).succeeded();
    // The journal is that of one sandbox.
    WAYS.iter().map(run).collect()
}

/// The virtual environment that `tests/run.sh` makes.
fn python() -> (PathBuf, String) {
    let folder = std::env::var_os("TOLLGATE_TEST_PYTHON").map(PathBuf::from);
    let folder = folder.expect("TOLLGATE_TEST_PYTHON names a virtual environment; run tests/run.sh");
    let interpreter = folder.join("bin/python").display().to_string();
    (folder, interpreter)
}

fn run_python(bench: &Bench, upstreams: &Upstreams, upstream: Option<(&str, &Scripted)>, program: &str) -> Vec<String> {
    let (folder, interpreter) = python();
    run(
        bench,
        upstreams,
        upstream,
        &["--read-only", &folder.display().to_string()],
        &format!("{interpreter} -c '{program}'"),
    )
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    let mut command = Command::new("git");
    command.current_dir(folder).args(identity).args(arguments);
    let finished = finish(&mut command);
    assert_eq!(finished.code, 0, "git {arguments:?}: {}", finished.stderr);
}

/// A request to git's own server program (RFC 3875).
async fn serve_git(root: PathBuf, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("GIT_CONFIG_COUNT", "1");
    command.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    command.env("REQUEST_METHOD", parts.method.as_str()).env("PATH_INFO", parts.uri.path());
    command.env("QUERY_STRING", parts.uri.query().unwrap_or_default()).env("CONTENT_TYPE", header("content-type"));
    command.env("HTTP_CONTENT_ENCODING", header("content-encoding")).env("GIT_PROTOCOL", header("git-protocol"));
    command.env("CONTENT_LENGTH", body.len().to_string());
    let mut child = command.spawn().expect("git");
    let mut input = child.stdin.take().expect("piped");
    let writing = tokio::spawn(async move { input.write_all(&body).await });
    let output = child.wait_with_output().await.expect("ended").stdout;
    // It may answer without reading everything.
    let _ = writing.await.expect("no panic");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let mut reply = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        reply = match name {
            "Status" => reply.status(&value[..3]),
            _ => reply.header(name, value),
        };
    }
    Ok(reply.body(Full::from(output[end + 4..].to_vec()).boxed()).expect("a reply"))
}

#[test]
fn git_clones_a_large_pack() {
    const SIZE: usize = 16 * 1024 * 1024;
    let (bench, upstreams, runtime) = start();
    let _inside = runtime.enter();
    let (source, root) = (bench.path("source"), bench.path("repositories"));
    std::fs::create_dir(&source).expect("made");
    git(&source, &["init", "-q"]);
    // Does not compress.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(SIZE)
    .collect();
    std::fs::write(source.join("large.bin"), &noise).expect("written");
    git(&source, &["add", "."]);
    git(&source, &["commit", "-q", "-m", "first"]);
    git(&source, &["clone", "-q", "--bare", ".", &root.join("project.git").display().to_string()]);
    let served = root.clone();
    let upstream = upstreams.serve("git.test", &["http/1.1"], move |stream| {
        let root = served.clone();
        let service = service_fn(move |request| serve_git(root.clone(), request));
        async move {
            // Clients go when they like.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    let script =
        "rm -rf p; git clone -q https://git.test/project.git p && git -C p fsck --full && sha256sum <p/large.bin";
    let sums = run(&bench, &upstreams, Some(("git.test", &upstream)), &[], script);
    let mut command = Command::new("sha256sum");
    let sum = finish(command.arg(source.join("large.bin"))).stdout;
    let sum = sum.split(' ').next().expect("a sum");
    assert!(sums.iter().all(|printed| printed.contains(sum)), "{sum}: {sums:?}");
}

/// Says back what comes, with gRPC's trailers.
async fn serve_grpc(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let sent = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
    let body = Full::new(sent).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).expect("a reply"))
}

#[test]
fn grpc_over_http2_alone() {
    let (bench, upstreams, runtime) = start();
    let _inside = runtime.enter();
    let upstream = upstreams.serve("grpc.test", &["h2"], |stream| async move {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service_fn(serve_grpc)).await;
    });
    let printed = run_python(
        &bench,
        &upstreams,
        Some(("grpc.test", &upstream)),
        r#"import grpc
channel = grpc.secure_channel("grpc.test:443", grpc.ssl_channel_credentials())
for size in (5, 1000000):
    assert channel.unary_unary("/echo.Echo/Say")(b"x" * size, timeout=20) == b"x" * size
try:
    channel.unary_unary("/echo.Echo/Shout")(b"hello", timeout=20)
except grpc.RpcError as error:
    print(error.code(), error.details())"#,
    );
    for printed in printed {
        assert!(printed.contains("PERMISSION_DENIED") && printed.contains("policy_denied"), "{printed}");
    }
}

#[test]
fn websockets_say_and_hear() {
    let (bench, upstreams, runtime) = start();
    let _inside = runtime.enter();
    let upstream = upstreams.serve("chat.test", &["http/1.1"], |stream| async move {
        let mut socket = Socket::accept_deflated(stream).await;
        while let Some((opcode, payload)) = socket.next().await {
            socket.send(opcode, &payload).await;
            if opcode == Opcode::Close {
                // The server closes first (RFC 6455, section 7.1.1).
                return;
            }
        }
    });
    let printed = run_python(
        &bench,
        &upstreams,
        Some(("chat.test", &upstream)),
        // Not its threads, which read and write one TLS connection at the same time: one in some hundred runs hangs.
        r#"import asyncio, os, ssl, time
from websockets.asyncio.client import connect
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
async def talk():
    async with connect("wss://chat.test/ws", ssl=context) as socket:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        for size in (2, 70000):
            await socket.send("h" * size)
            assert await asyncio.wait_for(socket.recv(), 20) == "h" * size
        begun = time.monotonic()
    assert time.monotonic() - begun < 4, "the end of the connection did not come"
asyncio.run(talk())
print("heard")"#,
    );
    assert_eq!(printed, ["heard\n", "heard\n"]);
}

/// An index of one package: a page of links.
#[test]
fn pip_installs_from_an_index() {
    let (bench, upstreams) = (Bench::new(POLICY), Upstreams::new());
    let index = bench.path("files/simple/tiny");
    std::fs::create_dir_all(&index).expect("made");
    let wheel = r#"import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("tiny.py", "said = \"hello from the package\"\n")
    wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("tiny-1.0.dist-info/RECORD", "")"#;
    let mut command = Command::new("/usr/bin/python3");
    let made = finish(command.args(["-c", wheel]).arg(index.join("tiny-1.0-py3-none-any.whl")));
    assert_eq!(made.code, 0, "{}", made.stderr);
    std::fs::write(
        index.join("index.html"),
        "<!DOCTYPE html><a href=\"tiny-1.0-py3-none-any.whl\">tiny-1.0-py3-none-any.whl</a>",
    )
    .expect("written");
    let (folder, interpreter) = python();
    let script = format!(
        "rm -rf site; {interpreter} -m pip install --quiet --disable-pip-version-check --no-cache-dir --target site \
         --index-url https://api.test/files/simple tiny && PYTHONPATH=site {interpreter} -c 'import tiny; print(tiny.said)'"
    );
    let printed = run(&bench, &upstreams, None, &["--read-only", &folder.display().to_string()], &script);
    assert_eq!(printed, ["hello from the package\n"; 2]);
}

/// A registry of one package: its description and its archive.
#[test]
fn npm_installs_from_a_registry() {
    let (bench, upstreams) = (Bench::new(POLICY), Upstreams::new());
    let (registry, package) = (bench.path("files/npm"), bench.path("source/package"));
    for folder in [&registry, &package] {
        std::fs::create_dir_all(folder).expect("made");
    }
    std::fs::write(package.join("package.json"), r#"{"name": "tiny", "version": "1.0.0"}"#).expect("written");
    std::fs::write(package.join("index.js"), "module.exports = 'hello from the package'\n").expect("written");
    let archive = registry.join("tiny-1.0.0.tgz");
    let mut command = Command::new("tar");
    let packed = finish(command.arg("-czf").arg(&archive).arg("-C").arg(bench.path("source")).arg("package"));
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &std::fs::read(&archive).expect("readable"));
    let version = json!({
        "name": "tiny",
        "version": "1.0.0",
        "dist": {
            "tarball": "https://api.test/files/npm/tiny-1.0.0.tgz",
            "integrity": format!("sha512-{}", STANDARD.encode(hash)),
        },
    });
    let description = json!({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}});
    std::fs::write(registry.join("tiny"), description.to_string()).expect("written");
    let script = "rm -rf site cache; mkdir site; cd site; /usr/bin/npm install --silent --no-audit --no-fund \
                  --no-update-notifier --cache ../cache --registry https://api.test/files/npm/ tiny >&2 && \
                  node -p \"require('tiny')\"";
    let printed = run(&bench, &upstreams, None, &[], script);
    assert_eq!(printed, ["hello from the package\n"; 2]);
    let lines = bench.origin.lines();
    assert_eq!(lines.iter().filter(|line| *line == "GET /files/npm/tiny-1.0.0.tgz").count(), 2, "{lines:?}");
}
