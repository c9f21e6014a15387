//! A stand-in for Laravel, as far as a token check sees it: the token `token-of-<user>` belongs to `<user>`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::http::{Connection, header};

/// Serves `GET /api/v1/users/me` until it is dropped.
pub struct Laravel {
    pub address: SocketAddr,
    asked: Arc<Asked>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Asked {
    /// How often each user's token was checked.
    users: Mutex<HashMap<String, usize>>,
    strangers: AtomicU64,
    /// Whether a firewall answers for tokens that are nobody's.
    waf: bool,
}

impl Laravel {
    /// `waf`: tokens that are nobody's are answered with 429 and a page.
    pub async fn start(waf: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let asked = Arc::new(Asked { waf, ..Asked::default() });
        let counting = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(Connection::new(stream, String::new()), Arc::clone(&counting)));
            }
        });
        Ok(Self { address, asked, _tasks: tasks })
    }
}

impl Laravel {
    /// How often each user's token was checked so far.
    pub fn asked(&self) -> HashMap<String, usize> {
        self.asked.users.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often tokens that are nobody's were checked so far.
    pub fn asked_about_strangers(&self) -> u64 {
        self.asked.strangers.load(Ordering::Relaxed)
    }
}

async fn serve(mut connection: Connection, asked: Arc<Asked>) {
    // A node that closes in the middle of a request has given up on it.
    while let Ok(Some(head)) = connection.head().await {
        if let Some(user) = user_of(&head) {
            let mut users = asked.users.lock().unwrap_or_else(PoisonError::into_inner);
            *users.entry(user.to_owned()).or_default() += 1;
        } else if head.starts_with(ME) {
            asked.strangers.fetch_add(1, Ordering::Relaxed);
        }
        if connection.write(&answer(&head, asked.waf)).await.is_err() {
            return;
        }
    }
}

fn user_of(head: &str) -> Option<&str> {
    header(head, "authorization")?.strip_prefix("Bearer token-of-")
}

const ME: &str = "GET /api/v1/users/me ";

fn answer(head: &str, waf: bool) -> String {
    let user = user_of(head);
    let (status, body) = match (head.starts_with(ME), user) {
        (false, _) => ("404 Not Found", r#"{"success":false}"#.to_owned()),
        (true, None) if waf => ("429 Too Many Requests", "<html>Access denied</html>".to_owned()),
        (true, None) => ("401 Unauthorized", r#"{"success":false,"error":{"code":"UNAUTHENTICATED"}}"#.to_owned()),
        (true, Some(user)) => {
            let data = serde_json::json!({"id": user, "name": format!("Name of {user}"), "gender": "F"});
            ("200 OK", serde_json::json!({"success": true, "data": data}).to_string())
        }
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn knows_a_user_by_the_token() {
        let laravel = Laravel::start(false).await.expect("it starts");
        let stream = TcpStream::connect(laravel.address).await.expect("it listens");
        let mut client = Connection::new(stream, "laravel".into());
        let me = "/api/v1/users/me";
        for _ in 0..2 {
            let answer = client.ask(me, None).await.expect("an answer");
            assert_eq!((answer.status, answer.body.contains("UNAUTHENTICATED")), (401, true));
        }
        assert_eq!(client.ask("/users/me", None).await.expect("an answer").status, 404);
        let known = answer(&format!("GET {me} HTTP/1.1\r\nauthorization: Bearer token-of-USR_7\r\n\r\n"), false);
        assert!(known.contains(r#""id":"USR_7""#), "{known}");
    }
}
