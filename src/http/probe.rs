//! The probe of a transport (Engine.IO 4, "Upgrade"): the client sends `2probe`, hears `3probe`, waits for its open poll
//! to be answered and says `5`. Played on the bare frames of its websocket (RFC 6455, 5.2): the engine would close the
//! session when any of it fails.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const TEXT: u8 = 0x1;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const MASKED: u8 = 0x80;
/// Longer payloads have longer heads; a probe has none.
const LONGEST: usize = 125;
/// Flags and opcode, length, mask.
const HEAD: usize = 6;
/// Pings and pongs of a client that checks its connection meanwhile.
const CONTROL_FRAMES: usize = 16;

/// `3probe` as this side writes it.
pub(super) const PROBE_ANSWER: [u8; 8] = *b"\x81\x063probe";
/// `2probe` and `5` as a client writes them, masked with zeros.
pub(super) const PROBE_FRAMES: [u8; 19] = *b"\x81\x86\0\0\0\x002probe\x81\x81\0\0\0\x005";

/// Plays the probe; `answered` is called before `3probe` goes out. Returns what the client sent behind its `5`.
pub(super) async fn play<S>(stream: &mut S, answered: impl FnOnce()) -> io::Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::default();
    frames.expect(stream, b"2probe").await?;
    answered();
    stream.write_all(&PROBE_ANSWER).await?;
    stream.flush().await?;
    frames.expect(stream, b"5").await?;
    Ok(frames.read)
}

#[derive(Default)]
struct Frames {
    /// What was read and belongs to no frame yet.
    read: Vec<u8>,
    control: usize,
}

impl Frames {
    /// Reads frames up to a message, which is to be this one.
    async fn expect<S>(&mut self, stream: &mut S, text: &[u8]) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let (head, payload) = self.next(stream).await?;
            match head & OPCODE {
                TEXT if payload == text => return Ok(()),
                PING | PONG if self.control < CONTROL_FRAMES => {
                    self.control += 1;
                    if head & OPCODE == PING {
                        let length = u8::try_from(payload.len()).unwrap_or_default();
                        stream.write_all(&[&[FINAL | PONG, length], payload.as_slice()].concat()).await?;
                        stream.flush().await?;
                    }
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// The first byte of the next frame and its payload.
    async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let [first, second, ..] = self.read[..] {
                let length = usize::from(second & !MASKED);
                // No extension was agreed on: a reserved bit is as wrong as a piece of a message.
                if first & !OPCODE != FINAL || second & MASKED == 0 || length > LONGEST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if self.read.len() >= HEAD + length {
                    let frame: Vec<u8> = self.read.drain(..HEAD + length).collect();
                    let (mask, payload) = frame[2..].split_at(4);
                    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
                    return Ok((first, payload));
                }
            }
            let mut piece = [0; 256];
            match stream.read(&mut piece).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.read.extend_from_slice(&piece[..read]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 1, 200, 33];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let head = [FINAL | opcode, MASKED | payload.len() as u8];
        head.into_iter().chain(mask).chain(masked).collect()
    }

    /// Plays against a client that writes these bytes in pieces and then ends; what it heard comes second.
    async fn played(bytes: &[u8], piece: usize) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let (mut client, mut node) = tokio::io::duplex(1024);
        let write = async {
            for piece in bytes.chunks(piece) {
                // Fails once the probe is over, whose rest is not read.
                let _ = client.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = client.shutdown().await;
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let play = async move { play(&mut node, || {}).await };
        tokio::join!(play, write)
    }

    #[tokio::test]
    async fn a_probe_in_any_pieces() {
        let behind = frame(TEXT, b"42[\"call:end\",{}]");
        let whole =
            [frame(PING, b"hm"), frame(TEXT, b"2probe"), frame(PONG, b""), frame(TEXT, b"5"), behind.clone()].concat();
        for piece in [1, 2, 5, 13, whole.len()] {
            let (rest, heard) = played(&whole, piece).await;
            assert!(behind.starts_with(&rest.unwrap()), "in pieces of {piece}");
            assert_eq!(heard, [b"\x8a\x02hm".as_slice(), &PROBE_ANSWER].concat(), "in pieces of {piece}");
        }
        let (rest, _) = played(&[frame(TEXT, b"2probe"), frame(TEXT, b"5"), behind.clone()].concat(), 500).await;
        assert_eq!(rest.unwrap(), behind, "what came behind is not lost");
        assert!(played(&PROBE_FRAMES, 500).await.0.is_ok(), "what the engine is given is a probe");
    }

    #[tokio::test]
    async fn what_is_no_probe_fails() {
        let probe = frame(TEXT, b"2probe");
        let wrong: Vec<Vec<u8>> = vec![
            frame(TEXT, b"2"),
            frame(TEXT, b"5"),
            frame(2, b"2probe"),
            frame(8, b""),
            b"\x81\x062probe".to_vec(),
            b"\xc1\x86\0\0\0\0\x002probe".to_vec(),
            b"\x01\x86\0\0\0\x002probe".to_vec(),
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            frame(TEXT, b"")[..3].to_vec(),
            Vec::new(),
            frame(PING, b"").repeat(CONTROL_FRAMES + 1),
            probe.clone(),
            [probe.clone(), probe.clone()].concat(),
            [probe.clone(), frame(8, b"")].concat(),
            [probe, vec![0x81, 0xfe, 0xff, 0xff]].concat(),
        ];
        for bytes in wrong {
            assert!(played(&bytes, 500).await.0.is_err(), "{bytes:?}");
        }
    }
}
