//! One trace per call, whatever nodes it meets, in nobody's way.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use onlycare_signaling::telemetry::trace::ExporterSettings;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::cluster::config;
use crate::harness::collector::{Collector, Seen};
use crate::harness::laravel::Laravel;
use crate::harness::phone::{unique, unique_call};
use crate::harness::receiver::Receiver;
use crate::harness::{Backend, Cluster};
use crate::on_each_backend;

fn settings(url: String) -> ExporterSettings {
    ExporterSettings { endpoint: url, headers: Vec::new(), service: "signaling".into(), ratio: 1.0 }
}

async fn traced(backend: Backend, nodes: usize, collector: &Collector) -> Cluster {
    Cluster::tuned(backend, nodes, |config| config.traces = Some(settings(collector.url()))).await
}

fn named<'a>(spans: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// All of one trace, below one root, no parent missing.
fn assert_a_tree(spans: &[Seen]) {
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let by_id: HashMap<&str, &Seen> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "ids are unique");
    let roots: Vec<&str> = spans.iter().filter(|span| span.parent.is_empty()).map(|span| span.name.as_str()).collect();
    assert_eq!(roots, ["call"], "{spans:#?}");
    for span in spans.iter().filter(|span| !span.parent.is_empty()) {
        assert!(by_id.contains_key(span.parent.as_str()), "{} hangs in the air", span.name);
    }
}

on_each_backend! {
    async fn a_call_across_two_nodes_is_one_trace(backend: Backend) {
        let collector = Collector::start().await;
        let cluster = traced(backend, 2, &collector).await;
        let nodes: Vec<String> = cluster.nodes.iter().map(|node| node.id().to_string()).collect();
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        let id = ana.completes_call(&bo).await;
        let users = [ana.user.clone(), bo.user.clone()];
        drop((ana, bo));
        cluster.close().await;

        let spans = collector.spans_of(&id);
        assert_a_tree(&spans);
        let at = |span: &Seen| nodes.iter().position(|node| *node == span.node).expect("one of the nodes");
        let by_id: HashMap<&str, &Seen> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
        // What the phones did, where they did it.
        for (event, node, user) in [("call:initiate", 0, 0), ("call:accept", 1, 1), ("call:end", 0, 0)] {
            let [span] = named(&spans, event)[..] else { panic!("{event}: {spans:#?}") };
            assert_eq!((at(span), span.attribute("user")), (node, users[user].as_str()), "{span:?}");
            assert_eq!((span.attribute("outcome"), span.attribute("session").len()), ("ok", 32), "{span:?}");
        }
        // What it caused on the other node hangs below the envelope that told it.
        let delivered = named(&spans, "deliver");
        for (said, node) in [("incoming", 1), ("accepted", 0), ("ended", 1)] {
            let span = delivered.iter().find(|span| span.events.contains(&said.to_owned())).expect(said);
            let cause = by_id[span.parent.as_str()];
            // On Redis the write of the call tells it.
            let told_by = match (backend, said) {
                (Backend::Memory, _) => "publish",
                (Backend::Redis, "incoming") => "store: create",
                (Backend::Redis, _) => "store: swap",
            };
            assert_eq!((at(span), cause.name.as_str(), at(cause)), (node, told_by, 1 - node), "{said}");
            assert_eq!(cause.attribute("peer"), nodes[node]);
            assert!(cause.time.0 <= span.time.0, "causes begin first");
        }
        // The call itself, told by the node that ended it.
        let [call] = named(&spans, "call")[..] else { panic!("{spans:#?}") };
        assert_eq!((call.attribute("outcome"), at(call)), ("hung_up", 0));
        assert_eq!((call.attribute("caller"), call.attribute("callee")), (users[0].as_str(), users[1].as_str()));
        assert_eq!(call.events, ["ringing", "accepted"]);
    }
}

/// Node 0 sends nothing and names no cause; what the other does is in the call's trace all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_traces_sends_nothing() {
    let collector = Collector::start().await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    let cluster = Cluster::tuned(Backend::Memory, 2, |config| {
        let second = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        config.traces = second.then(|| settings(collector.url()));
        config.redis_prefix = "p".into();
    })
    .await;
    let quiet = cluster.nodes[0].id().to_string();
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    let id = ana.completes_call(&bo).await;
    drop((ana, bo));
    cluster.close().await;
    let spans = collector.spans_of(&id);
    assert!(spans.iter().all(|span| span.node != quiet), "{spans:#?}");
    assert!(!named(&spans, "call:accept").is_empty(), "{spans:#?}");
    let delivered = named(&spans, "deliver");
    assert!(delivered.iter().all(|span| span.parent == delivered[0].parent), "below the call: {delivered:#?}");
    // printf p:ID | sha256sum | cut -c1-32, as docs/operations.md says
    let digest = Sha256::digest(format!("p:{}", id.trim_start_matches("CALL_")));
    let trace: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:#?}");
}

/// Every node decides by the call's id: a call is traced as a whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_traced_as_a_whole_or_not_at_all() {
    let collector = Collector::start().await;
    let half = |config: &mut onlycare_signaling::config::Config| {
        config.traces = Some(ExporterSettings { ratio: 0.5, ..settings(collector.url()) });
    };
    let cluster = Cluster::tuned(Backend::Memory, 2, half).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    let mut calls = Vec::new();
    for _ in 0..24 {
        calls.push(ana.completes_call(&bo).await);
    }
    drop((ana, bo));
    cluster.close().await;
    let traced: Vec<Vec<Seen>> =
        calls.iter().map(|id| collector.spans_of(id)).filter(|spans| !spans.is_empty()).collect();
    assert!((1..24).contains(&traced.len()), "{} of 24", traced.len());
    traced.iter().for_each(|spans| assert_a_tree(spans));
}

/// Laravel's words, its webhooks, and a call that takes another's line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_backend_says_and_hears_is_in_the_trace() {
    let (collector, receiver) = (Collector::start().await, Receiver::start().await);
    let cluster = Cluster::tuned(Backend::Memory, 2, |config| {
        config.traces = Some(settings(collector.url()));
        receiver.hears_of(config);
    })
    .await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    let (id, next, last) = (unique_call(), unique_call(), unique_call());
    ana.rings(&id, &bo).await;
    let body = json!({"callId": id, "callerId": ana.user, "receiverId": bo.user});
    assert_eq!(cluster.post(1, "/api/emit/call-accepted", body).await.0, 200);
    ana.expect("call:accepted").await;
    ana.end(&id).await;
    receiver.expect(&id, "call.ended").await;
    ana.rings(&next, &bo).await;
    // She dials another: the ring gives way.
    ana.call(&last, &unique("cleo")).await;
    bo.expect("call:cancelled").await;
    assert_eq!(ana.cancel(&last).await["success"], true);
    receiver.expect(&last, "call.cancelled").await;
    drop((ana, bo));
    cluster.close().await;
    let spans = collector.spans_of(&id);
    assert_a_tree(&spans);
    let [word] = named(&spans, "POST /api/emit/call-accepted")[..] else { panic!("{spans:#?}") };
    assert_eq!(word.attribute("outcome"), "ok");
    assert!(spans.iter().any(|span| span.name == "accept" && span.parent == word.id), "{spans:#?}");
    assert_eq!(named(&spans, "webhook").len(), 4, "{spans:#?}");
    assert!(named(&spans, "webhook").iter().all(|span| span.attribute("outcome") == "done"));
    let displaced = collector.spans_of(&next);
    assert_a_tree(&displaced);
    let [displace] = named(&displaced, "displace")[..] else { panic!("{displaced:#?}") };
    assert_eq!(displace.links, [collector.spans_of(&last)[0].trace.clone()], "another call's trace has the cause");
}

/// Questions to Laravel lie below what asked them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_laravel_lies_below_its_event() {
    let (collector, laravel) = (Collector::start().await, Laravel::start().await);
    let url = format!("http://{}", laravel.address);
    let checked = config(&[("AUTH", "laravel"), ("LARAVEL_API_URL", &url), ("INITIATE_CHECK", "enforce")]);
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        (config.auth, config.initiate_check) = (checked.auth.clone(), checked.initiate_check);
        config.traces = Some(settings(collector.url()));
    })
    .await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let id = unique_call();
    ana.call(&id, &unique("bo")).await;
    ana.cancel(&id).await;
    drop(ana);
    cluster.close().await;
    let spans = collector.spans_of(&id);
    let [initiate] = named(&spans, "call:initiate")[..] else { panic!("{spans:#?}") };
    assert!(spans.iter().any(|span| span.name == "laravel" && span.parent == initiate.id), "{spans:#?}");
}

/// A collector that takes requests and never answers, and one that is not there: calls go on, a stop has its bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_collector_is_in_nobodys_way() {
    let silent = Collector::start().await;
    silent.fall_silent();
    for url in [silent.url(), "http://127.0.0.1:9".into()] {
        let cluster = Cluster::tuned(Backend::Memory, 2, |config| config.traces = Some(settings(url.clone()))).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        ana.completes_call(&bo).await;
        if url == silent.url() {
            // Both nodes hang in a request now.
            silent.asked(2).await;
        }
        for _ in 0..20 {
            ana.completes_call(&bo).await;
        }
        drop((ana, bo));
        tokio::time::timeout(Duration::from_secs(20), cluster.close()).await.expect("the nodes stop");
    }
}
