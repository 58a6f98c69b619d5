//! What only looks: health, metrics, and the records of the journal as they are written.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use http::{StatusCode, Uri, header};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_audit::Record;
use tollgate_proxy::{Count, Journal};
use tollgate_wire::health::Health;
use tollgate_wire::policy::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::policy::answer;

/// What is being watched.
#[derive(Clone)]
pub struct Observed {
    journal: Arc<Journal>,
    /// The sandbox or proxy.
    name: Arc<str>,
    gauges: Arc<dyn Fn() -> Vec<Count> + Send + Sync>,
    followers: Arc<Semaphore>,
}

/// Each follows with a connection and a task of its own.
const MAX_FOLLOWERS: usize = 16;

/// So that whoever follows sees that nothing happens, rather than nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Observed {
    /// Of one process; `gauges` says what goes up and down.
    pub fn new(journal: &Arc<Journal>, name: &str, gauges: impl Fn() -> Vec<Count> + Send + Sync + 'static) -> Self {
        let followers = Arc::new(Semaphore::new(MAX_FOLLOWERS));
        Self { journal: Arc::clone(journal), name: name.into(), gauges: Arc::new(gauges), followers }
    }

    /// The routes.
    pub fn router(self) -> OpenApiRouter {
        OpenApiRouter::new().routes(routes!(health)).routes(routes!(metrics)).routes(routes!(events)).with_state(self)
    }
}

/// Whether requests can pass.
#[utoipa::path(get, path = "/healthz", responses(
    (status = 200, description = "They can", body = Health),
    (status = 503, description = "They are refused", body = Health),
))]
async fn health(State(observed): State<Observed>) -> (StatusCode, Json<Health>) {
    match observed.journal.check() {
        Ok(()) => (StatusCode::OK, Json(Health { is_healthy: true, reason: String::new() })),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { is_healthy: false, reason: error.to_string() })),
    }
}

/// Counters and gauges, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "All of them", body = String, content_type = "text/plain")))]
async fn metrics(State(observed): State<Observed>) -> Response {
    let mut text = String::new();
    for (kind, suffix, counts) in
        [("counter", "_total", observed.journal.tally().all()), ("gauge", "", (observed.gauges)())]
    {
        write_counts(&mut text, kind, suffix, &counts);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The exposition format 0.0.4: names, labels and help are our own, so nothing has to be escaped.
fn write_counts(text: &mut String, kind: &str, suffix: &str, counts: &[Count]) {
    let mut before = "";
    for Count { name, help, label, value } in counts {
        if *name != before {
            let _ = write!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
            before = name;
        }
        let label = label.map(|(name, value)| format!("{{{name}=\"{value}\"}}")).unwrap_or_default();
        let _ = writeln!(text, "{name}{suffix}{label} {value}");
    }
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// As the journal has them.
    Record,
    /// As OCSF has them.
    Ocsf,
}

/// The records of the journal from now on, as server-sent events: `id` is the record's number, `event` its kind, `data` the record
/// as JSON. `event: missed` tells how many were left out because they were not read in time.
#[utoipa::path(get, path = "/v1/events",
    params(("view" = Option<String>, Query, description = "`record` as the journal has it, or `ocsf`")),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 400, description = "Another query", body = Problem),
        (status = 503, description = "The journal has ended, or too many follow it", body = Problem),
    ))]
async fn events(State(observed): State<Observed>, uri: Uri) -> Response {
    let Some(view) = view(&uri) else {
        return answer(StatusCode::BAD_REQUEST, "use view=record or view=ocsf, and nothing else").into_response();
    };
    let unavailable = |message: &str| answer(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    let Ok(place) = Arc::clone(&observed.followers).try_acquire_owned() else {
        return unavailable("as many as may be follow the journal already; end one of them");
    };
    let Some(records) = observed.journal.follow() else { return unavailable("the journal has ended") };
    let following = Following { records, view, name: observed.name, _place: place };
    Sse::new(following.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn view(uri: &Uri) -> Option<View> {
    match uri.query().unwrap_or_default() {
        "" | "view=record" => Some(View::Record),
        "view=ocsf" => Some(View::Ocsf),
        _ => None,
    }
}

struct Following {
    records: Receiver<Arc<str>>,
    view: View,
    name: Arc<str>,
    _place: OwnedSemaphorePermit,
}

impl Following {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        unfold(self, |mut following| async move {
            let event = following.next().await?;
            Some((Ok(event), following))
        })
    }

    /// Nothing once the journal has ended.
    async fn next(&mut self) -> Option<Event> {
        match self.records.recv().await {
            Ok(line) => Some(self.event(&line)),
            Err(RecvError::Lagged(missed)) => Some(Event::default().event("missed").data(missed.to_string())),
            Err(RecvError::Closed) => None,
        }
    }

    fn event(&self, line: &str) -> Event {
        let Some(record) = Record::parse(line.as_bytes()) else { return Event::default().data(line) };
        let id = record.sequence().map(|number| number.to_string()).unwrap_or_default();
        let event = Event::default().event(record.event()).id(id);
        match self.view {
            View::Record => event.data(line),
            View::Ocsf => event.data(record.ocsf(&self.name).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let count = |name, label, value| Count { name, help: "Some", label, value };
        let mut text = String::new();
        let counts = [count("a", Some(("is", "x")), 1), count("a", Some(("is", "y")), 2), count("b", None, 3)];
        write_counts(&mut text, "counter", "_total", &counts);
        assert_eq!(
            text,
            "# HELP a_total Some\n# TYPE a_total counter\na_total{is=\"x\"} 1\na_total{is=\"y\"} 2\n\
             # HELP b_total Some\n# TYPE b_total counter\nb_total 3\n"
        );
    }

    /// A kind of record that is new, as approvals will be, needs no word of the stream's.
    #[tokio::test]
    async fn every_kind_of_record_is_streamed_under_its_name() {
        let (writer, records) = tokio::sync::broadcast::channel(4);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("free");
        let following = Following { records, view: View::Record, name: "box".into(), _place: place };
        let line = |kind| format!(r#"{{"seq":7,"event":"{kind}","time":"2026-05-04T09:00:00Z"}}"#);
        for kind in ["request", "approval"] {
            writer.send(line(kind).into()).expect("followed");
        }
        drop(writer);
        let body = Sse::new(following.stream()).into_response().into_body();
        let text = body.collect().await.expect("it ends").to_bytes();
        let expected = ["request", "approval"].map(|kind| format!("event: {kind}\nid: 7\ndata: {}\n\n", line(kind)));
        assert_eq!(String::from_utf8_lossy(&text), expected.concat());
    }

    #[test]
    fn views() {
        for (query, expected) in [
            ("", Some(View::Record)),
            ("?view=record", Some(View::Record)),
            ("?view=ocsf", Some(View::Ocsf)),
            ("?view=all", None),
            ("?view=ocsf&x", None),
        ] {
            assert_eq!(view(&format!("/v1/events{query}").parse().expect("a URI")), expected, "{query}");
        }
    }
}
