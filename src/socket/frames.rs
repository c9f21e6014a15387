/// Follows the frames of a websocket (RFC 6455, 5.2) through one direction of its connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_LIMIT],
    /// Bytes of the head that were seen.
    seen: usize,
    /// Bytes of the payload that are still to come.
    payload: u64,
    /// Ping frames that began.
    pings: u32,
    /// All other frames that began.
    others: u32,
    /// What the frames of the message announce that comes now, or came last.
    message: u64,
    /// The same of the largest so far.
    largest: u64,
}

/// Flags and opcode, length, eight more bytes of length, mask.
const HEAD_LIMIT: usize = 14;
const OPCODE: u8 = 0x0f;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const MASKED: u8 = 0x80;

impl Frames {
    /// How many pings came since this was last asked.
    pub fn take_pings(&mut self) -> u32 {
        std::mem::take(&mut self.pings)
    }

    /// How many other frames came since this was last asked.
    pub fn take_others(&mut self) -> u32 {
        std::mem::take(&mut self.others)
    }

    /// Bytes of the largest message, as far as its frames were announced.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    fn begins(&mut self, payload: u64) {
        let opcode = self.head[0] & OPCODE;
        let count = if opcode == PING { &mut self.pings } else { &mut self.others };
        *count = count.saturating_add(1);
        match opcode {
            CONTINUATION => self.message = self.message.saturating_add(payload),
            opcode if opcode < CLOSE => self.message = payload,
            _ => {}
        }
        self.largest = self.largest.max(self.message);
        self.payload = payload;
        self.seen = 0;
    }

    /// Goes on by `bytes`, or up to where a Close frame begins: returns that place.
    pub fn close_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.payload > 0 {
                let here = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.payload -= here as u64;
                at += here;
                continue;
            }
            if self.seen == 0 && byte & OPCODE == CLOSE {
                return Some(at);
            }
            self.head[self.seen] = *byte;
            self.seen += 1;
            at += 1;
            if let Some(payload) = payload_of(&self.head[..self.seen]) {
                self.begins(payload);
            }
        }
        None
    }
}

/// The length of the payload, once the head is whole.
fn payload_of(head: &[u8]) -> Option<u64> {
    let short = *head.get(1)?;
    let mask = if short & MASKED == 0 { 0 } else { 4 };
    let (more, length) = match short & !MASKED {
        126 => (2, head.get(2..4)),
        127 => (8, head.get(2..10)),
        _ => (0, head.get(1..2)),
    };
    let length = length.filter(|_| head.len() == 2 + more + mask)?;
    let number = length.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Some(if more == 0 { number & u64::from(!MASKED) } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..126 => frame.push(mask | payload as u8),
            126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(if masked { &[0x88; 4][..] } else { &[] });
        // Every byte of it would begin a Close frame.
        frame.extend(std::iter::repeat_n(0x88, payload));
        frame
    }

    #[test]
    fn a_close_frame_is_found_behind_any_frames_in_any_pieces() {
        for masked in [false, true] {
            let before: Vec<u8> =
                [0, 1, 125, 126, 300, 70_000].into_iter().flat_map(|payload| frame(1, payload, masked)).collect();
            let whole = [before.clone(), frame(CLOSE, 2, masked)].concat();
            for piece in [1, 2, 3, 7, 1000, whole.len()] {
                let mut frames = Frames::default();
                let found = whole
                    .chunks(piece)
                    .enumerate()
                    .find_map(|(chunk, bytes)| Some(chunk * piece + frames.close_in(bytes)?));
                assert_eq!(found, Some(before.len()), "masked {masked}, in pieces of {piece}");
            }
        }
    }

    #[test]
    fn pings_and_what_a_message_announces_are_counted() {
        let mut frames = Frames::default();
        frames.close_in(&[frame(PING, 0, true), frame(1, 300, true), frame(PING, 125, true)].concat());
        assert_eq!((frames.take_pings(), frames.take_pings(), frames.largest()), (2, 0, 300));
        // In pieces, with a ping between; of the last only the head has come.
        let pieces = [frame(1, 200, true), frame(0, 200, true), frame(PING, 125, true)].concat();
        frames.close_in(&pieces);
        frames.close_in(&frame(0, 1_000_000, true)[..14]);
        assert_eq!((frames.take_pings(), frames.largest()), (1, 1_000_400));
        let mut endless = Frames::default();
        endless.close_in(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(endless.largest(), u64::MAX);
    }
}
