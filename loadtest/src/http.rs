//! As much HTTP/1.1 as long polls and the Laravel stand-in need, over connections that stay open.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No head or body of this protocol comes near it.
const LIMIT: usize = 1024 * 1024;

/// A connection with what was read ahead.
pub struct Connection {
    stream: TcpStream,
    host: String,
    ahead: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Connection {
    pub fn new(stream: TcpStream, host: String) -> Self {
        Self { stream, host, ahead: Vec::new() }
    }

    /// Sends a request and reads its answer; a body makes it a POST.
    pub async fn ask(&mut self, path: &str, body: Option<&str>) -> anyhow::Result<Answer> {
        match body {
            None => {
                let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
                self.exchange(&head).await
            }
            Some(body) => self.post(path, "Content-Type: text/plain;charset=UTF-8\r\n", body).await,
        }
    }

    /// Sends a GET with these headers, each with its line break, and reads its answer.
    pub async fn get(&mut self, path: &str, headers: &str) -> anyhow::Result<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host);
        self.exchange(&head).await
    }

    /// The same with a POST.
    pub async fn post(&mut self, path: &str, headers: &str, body: &str) -> anyhow::Result<Answer> {
        let (host, length) = (&self.host, body.len());
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.exchange(&request).await
    }

    async fn exchange(&mut self, head: &str) -> anyhow::Result<Answer> {
        self.stream.write_all(head.as_bytes()).await.context("the request can't be sent")?;
        let head = self.head().await?.context("closed before an answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
        let body = match (header(&head, "content-length"), header(&head, "transfer-encoding")) {
            (Some(length), _) => self.take(length.parse().context("no length")?).await?,
            (None, Some("chunked")) => self.chunks().await?,
            (None, _) => Vec::new(),
        };
        Ok(Answer { status, body: String::from_utf8(body).context("the body is no text")? })
    }

    /// Reads the head of a request or an answer; nothing when the other side closed before one began.
    pub async fn head(&mut self) -> anyhow::Result<Option<String>> {
        let mut end = find(&self.ahead, b"\r\n\r\n");
        while end.is_none() {
            if !self.read_more().await? {
                return if self.ahead.is_empty() { Ok(None) } else { bail!("closed inside a head") };
            }
            end = find(&self.ahead, b"\r\n\r\n");
        }
        let head = self.ahead.drain(..end.unwrap_or_default() + 4).collect();
        Ok(Some(String::from_utf8(head).context("the head is no text")?))
    }

    pub async fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.read_more().await? {
                bail!("closed inside a body");
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            while find(&self.ahead, b"\r\n").is_none() {
                if !self.read_more().await? {
                    bail!("closed inside a chunk");
                }
            }
            let end = find(&self.ahead, b"\r\n").unwrap_or_default();
            let line = String::from_utf8_lossy(&self.take(end + 2).await?).into_owned();
            let size = usize::from_str_radix(line.trim(), 16).context("no size of a chunk")?;
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<bool> {
        if self.ahead.len() > LIMIT {
            bail!("a message is larger than {LIMIT} bytes");
        }
        Ok(self.stream.read_buf(&mut self.ahead).await.context("the connection broke")? > 0)
    }
}

/// A header's value; `name` in lower case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(raw: &'static str) -> anyhow::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served = async {
            let (stream, _) = listener.accept().await?;
            let mut server = Connection::new(stream, String::new());
            server.head().await?;
            server.write(raw).await?;
            anyhow::Ok(server)
        };
        let asked = async {
            let mut client = Connection::new(TcpStream::connect(address).await?, "host".into());
            client.ask("/", None).await
        };
        let (_server, answer) = tokio::join!(served, asked);
        answer
    }

    #[tokio::test]
    async fn bodies_by_length_and_in_chunks() {
        let plain = answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.expect("an answer");
        assert_eq!(plain, Answer { status: 200, body: "hello".into() });
        let chunked = "HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        assert_eq!(answered(chunked).await.expect("an answer"), Answer { status: 401, body: "hello".into() });
    }
}
