//! The phones of `loadtest idle`: a process of its own, for as many as its limit of open files allows. For each line on its
//! standard input it says what it has as a line of JSON; it ends with its standard input.

use std::io::stdin;
use std::process::exit;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::crowd::Crowd;
use crate::held::Held;
use crate::options::Bystanders;
use crate::phone::Listener;
use crate::report::Report;

/// In the place of [`Held`]'s words: why there are none.
pub const FAILED: &str = "failed";

pub async fn run(options: &Bystanders) -> anyhow::Result<Report> {
    let held = hold(options).await;
    if let Err(error) = &held {
        println!("{}", json!({FAILED: format!("{error:#}")}));
    }
    // Nothing else waits for the thread that reads the standard input.
    exit(i32::from(held.is_err()));
}

async fn hold(options: &Bystanders) -> anyhow::Result<()> {
    let Bystanders { nodes, run, from, phones, rate, transport } = options;
    let crowd = Crowd { nodes: nodes.clone(), transport: *transport, rate: *rate, run: *run };
    crowd.make_room(*phones, false)?;
    let held = Arc::new(Held::default());
    let listener: Arc<dyn Listener> = held.clone();
    let mut tasks = JoinSet::new();
    let (sender, mut questions) = mpsc::channel(1);
    std::thread::Builder::new().name("questions".into()).spawn(move || {
        let lines = stdin().lines().map_while(Result::ok);
        lines.map(|_| sender.blocking_send(())).all(|sent| sent.is_ok());
    })?;
    let come = crowd.come(*from, *phones, &listener, &mut tasks);
    tokio::pin!(come);
    // Kept: a phone lives as long as its sending side.
    let mut came = None;
    loop {
        tokio::select! {
            all = &mut come, if came.is_none() => came = Some(all?),
            question = questions.recv() => match question {
                Some(()) => println!("{}", serde_json::to_string(&held.told())?),
                None => return Ok(()),
            },
        }
    }
}
