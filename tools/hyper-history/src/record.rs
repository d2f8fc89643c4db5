//! A run as a person reads it by itself.

use hyper_common::history::RunRecord;
use hyper_common::output::{Fact, human_bytes, human_span, human_time};

/// What a table shows of a run, line by line.
pub fn facts(run: &RunRecord) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name, value: String| facts.push(Fact::new(name, value));
    add("id", run.id.clone());
    add("tool", format!("{} {}", run.tool, run.version));
    add("outcome", run.outcome.to_string());
    add("started", human_time(run.started));
    if let Some(ended) = run.ended {
        add("ended", human_time(ended));
    }
    if let Some(span) = run.seconds.and_then(|s| std::time::Duration::try_from_secs_f64(s).ok()) {
        add("time", human_span(span));
    }
    add("process", format!("{} on {}", run.pid, run.host));
    run.sources.iter().for_each(|source| add("source", source.clone()));
    run.targets.iter().for_each(|target| add("target", target.clone()));
    if let Some(counts) = run.counts {
        let (done, of) = (counts.succeeded, counts.total);
        add("done", format!("{done} of {of}, {} failed, {} reused", counts.failed, counts.reused));
    }
    for (name, bytes) in [("read", run.read_bytes), ("written", run.written_bytes)] {
        if let Some(bytes) = bytes {
            add(name, human_bytes(bytes));
        }
    }
    for artifact in &run.artifacts {
        let verified = if artifact.verified { "verified" } else { "not verified" };
        add(
            "artifact",
            format!("{}, {}, {verified}", artifact.path, human_bytes(artifact.size_bytes)),
        );
        for (algorithm, sum) in &artifact.checksums {
            add("checksum", format!("{algorithm} {sum}"));
        }
    }
    if let Some(error) = &run.error {
        add("error", error.message.clone());
        error.hints.iter().for_each(|hint| add("hint", hint.clone()));
    }
    run.leftovers.iter().for_each(|thing| add("left behind", thing.to_string()));
    add("request", run.request.to_string());
    facts
}
