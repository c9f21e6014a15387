//! A call is dialled once, or once more with the same id: over HTTP beside the phone, or after a refusal. Who is refused
//! withdraws his dial and no other; the call goes with the last of them.

use super::Call;

/// More are not told apart: none of them is withdrawn from then on.
const AT_MOST: usize = 8;

/// What is left of a call when a dial was withdrawn.
#[derive(Debug, PartialEq)]
pub(super) enum Left {
    /// Others dialled it too: the call without that dial.
    Others(Box<Call>),
    Nobody,
}

impl Call {
    /// The call, dialled with this nonce too.
    pub(super) fn dialled_with(&self, nonce: u64) -> Call {
        let mut next = self.clone();
        if self.born == 0 || self.born == nonce || self.redialled.contains(&nonce) {
            return next;
        }
        if next.redialled.len() < AT_MOST {
            next.redialled.push(nonce);
        } else {
            (next.born, next.redialled) = (0, Vec::new());
        }
        next
    }

    /// What is left without the dial of this nonce; absent where none has it.
    pub(super) fn without_dial(&self, nonce: u64) -> Option<Left> {
        if self.born == 0 {
            return None;
        }
        let mut dials = [&[self.born], self.redialled.as_slice()].concat();
        let place = dials.iter().position(|dial| *dial == nonce)?;
        dials.remove(place);
        let Some((born, redialled)) = dials.split_first() else { return Some(Left::Nobody) };
        Some(Left::Others(Box::new(Call { born: *born, redialled: redialled.to_vec(), ..self.clone() })))
    }
}
