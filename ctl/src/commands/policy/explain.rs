//! `tollgate policy explain`.

use std::process::ExitCode;

use tollgate_policy::explain::{self, Explanation};
use tollgate_policy::question::{Question, RequestWords, Verdict};

use super::{ExplainArguments, load, read};
use crate::failure::{Failure, Kind};
use crate::output::{Output, print_json};

/// Explains one answer. Ends with 0 whatever the verdict is.
pub(super) fn explain(arguments: ExplainArguments) -> Result<ExitCode, Failure> {
    let policy = load(&arguments.policy)?;
    let output = arguments.output;
    let explained = explain::explain(&policy, &question(arguments)?);
    match output {
        Output::Json => print_json(&explained),
        Output::Text => print(&explained),
    }
    Ok(ExitCode::SUCCESS)
}

fn question(arguments: ExplainArguments) -> Result<Question, Failure> {
    let request = match (&arguments.method, &arguments.path) {
        (None, None) => None,
        (method, path) => {
            let path = path.as_deref().unwrap_or("/");
            let path = match &arguments.query {
                Some(query) => format!("{path}?{query}"),
                None => path.to_owned(),
            };
            let body = arguments.body.as_deref().map(read).transpose()?;
            Some(RequestWords { method: method.clone().unwrap_or_else(|| "GET".to_owned()), path, body })
        }
    };
    let now = match &arguments.time {
        Some(time) => time.parse().map_err(|e| Failure::new(Kind::Usage, format!("--time {time}: {e}")))?,
        None => jiff::Timestamp::now(),
    };
    Ok(Question {
        host: arguments.host,
        port: arguments.port,
        binary: arguments.binary,
        ancestors: arguments.ancestors,
        request,
        agent: arguments.agent,
        user: arguments.user,
        sensitivity: arguments.sensitivity,
        now: Some(now.as_second()),
    })
}

fn print(explained: &Explanation) {
    let Explanation { question, answer, near_misses, change } = explained;
    let verdict = match answer.verdict {
        Verdict::Allow => "ALLOWED",
        Verdict::Audit => "PASSES, would be denied: the endpoint only audits",
        Verdict::Deny => "DENIED",
    };
    println!("{question}\n{verdict}");
    let line = |label: &str, value: &Option<String>| {
        if let Some(value) = value {
            println!("  {label:<9}{value}");
        }
    };
    line("policy", &answer.policy);
    line("entry", &answer.entry.clone().filter(|entry| Some(entry) != answer.policy.as_ref()));
    line("rule", &answer.rule);
    line("reason", &answer.reason);
    if !near_misses.is_empty() {
        println!("near misses:");
    }
    for near in near_misses {
        println!("  {} {} (line {}): {}", near.policy, near.endpoint, near.line, near.misses.join("; "));
    }
    if let Some(change) = change {
        println!("the smallest change: {}", change.summary);
        change.fragment.lines().for_each(|line| println!("  {line}"));
    }
}
