//! What is still to be done about calls, in the order in which it was said, and how much of it is whose.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::BackendCommand;
use crate::call::{CallId, Command, UserId};

/// So much of phones waits, and so much of the backend. Beyond it the oldest is dropped, of phones that of the user who has
/// most.
const CAPACITY: usize = 10_000;
/// So much of one user waits; beyond it his own oldest is dropped.
const OF_A_USER: usize = 64;

/// Something that is still to be done about a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Owed {
    Command(Command),
    Backend(BackendCommand),
    /// The initiate with this nonce was answered as unavailable: if its call was written after all, nobody calls.
    Withdrawal {
        caller: UserId,
        nonce: u64,
    },
}

impl Owed {
    /// Whose share it is of; absent for the backend's.
    fn user(&self) -> Option<&UserId> {
        match self {
            Owed::Command(command) => command.by().map(|by| &by.user),
            Owed::Withdrawal { caller, .. } => Some(caller),
            Owed::Backend(_) => None,
        }
    }

    pub fn is_withdrawal(&self) -> bool {
        matches!(self, Owed::Withdrawal { .. })
    }
}

#[derive(Clone, Debug)]
pub struct Waiting {
    pub number: u64,
    pub id: CallId,
    pub owed: Owed,
    pub since: Duration,
    /// Whoever said it is still at it.
    pub in_hand: bool,
}

/// What is dropped for another.
#[derive(Debug)]
pub enum Dropped {
    /// All the places were taken.
    TooMany(Waiting),
    /// Its user had too many of them.
    TooManyOfAUser(Waiting),
}

/// All that waits.
#[derive(Default)]
pub struct OwedList {
    waiting: VecDeque<Waiting>,
    of_users: HashMap<UserId, usize>,
    of_backend: usize,
}

impl OwedList {
    /// Puts it last, and drops something where that is beyond a share.
    pub fn push(&mut self, new: Waiting) -> Option<Dropped> {
        let of_user = new.owed.user().map(|user| {
            let count = self.of_users.entry(user.clone()).or_default();
            *count += 1;
            *count
        });
        self.of_backend += usize::from(of_user.is_none());
        self.waiting.push_back(new);
        let has_too_many = of_user.is_some_and(|count| count > OF_A_USER);
        let of_phones = self.waiting.len() - self.of_backend;
        let are_too_many = if of_user.is_some() { of_phones > CAPACITY } else { self.of_backend > CAPACITY };
        if !has_too_many && !are_too_many {
            return None;
        }
        // Whoever has too many has most.
        let most = self.of_users.values().copied().max();
        let may_go = |waiting: &Waiting| match waiting.owed.user() {
            Some(user) => of_user.is_some() && self.of_users.get(user).copied() == most,
            None => of_user.is_none(),
        };
        // A ring too many ends by its deadline; a hang-up has nothing behind it.
        let least = self.waiting.iter().position(|waiting| waiting.owed.is_withdrawal() && may_go(waiting));
        let place = least.or_else(|| self.waiting.iter().position(may_go))?;
        let dropped = self.remove_at(place)?;
        Some(if has_too_many { Dropped::TooManyOfAUser(dropped) } else { Dropped::TooMany(dropped) })
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// False where it is not there any more.
    pub fn remove(&mut self, number: u64) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting.number == number);
        place.and_then(|place| self.remove_at(place)).is_some()
    }

    fn remove_at(&mut self, place: usize) -> Option<Waiting> {
        let removed = self.waiting.remove(place)?;
        self.count_off(&removed);
        Some(removed)
    }

    fn count_off(&mut self, removed: &Waiting) {
        let Some(user) = removed.owed.user() else {
            self.of_backend -= 1;
            return;
        };
        if let Some(count) = self.of_users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.of_users.remove(user);
            }
        }
    }

    /// Takes out all of which this is true.
    pub fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        if !self.waiting.iter().any(&which) {
            return vec![];
        }
        let (taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = left.into();
        taken.iter().for_each(|waiting| self.count_off(waiting));
        taken
    }

    /// Whoever said it is no longer at it.
    pub fn put_down(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.number == number) {
            waiting.in_hand = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Actor;

    fn waiting(number: u64, owed: Owed) -> Waiting {
        let id = CallId::parse(&format!("call{number}")).unwrap();
        Waiting { number, id, owed, since: Duration::ZERO, in_hand: false }
    }

    fn end(user: &str) -> Owed {
        Owed::Command(Command::End { by: Actor::over_http(&UserId::parse(user).unwrap(), None), reason: None })
    }

    fn withdrawal(user: &str) -> Owed {
        Owed::Withdrawal { caller: UserId::parse(user).unwrap(), nonce: 1 }
    }

    fn ended() -> Owed {
        Owed::Backend(BackendCommand::Ended { by: None, reason: None })
    }

    fn numbers(list: &OwedList) -> Vec<u64> {
        list.iter().map(|waiting| waiting.number).collect()
    }

    #[test]
    fn a_user_has_a_share_of_his_own() {
        let mut list = OwedList::default();
        for (number, owed) in [end("ana"), withdrawal("bo"), ended()].into_iter().enumerate() {
            assert!(list.push(waiting(number as u64, owed)).is_none());
        }
        let dropped = (10..20_010).filter_map(|number| list.push(waiting(number, end("eve")))).count();
        assert_eq!((dropped, list.len()), (20_000 - OF_A_USER, OF_A_USER + 3));
        assert_eq!(numbers(&list)[..4], [0, 1, 2, 20_010 - OF_A_USER as u64], "his own oldest go");
        assert!(list.push(waiting(30_000, withdrawal("eve"))).is_some());
        assert_eq!(numbers(&list).last(), Some(&20_009), "his withdrawals first");
    }

    #[test]
    fn where_all_places_are_taken_the_oldest_of_who_has_most_goes() {
        let mut list = OwedList::default();
        assert!(list.push(waiting(0, end("ana"))).is_none() && list.push(waiting(1, ended())).is_none());
        let eves = CAPACITY / OF_A_USER;
        for number in 0..eves * OF_A_USER {
            assert!(list.push(waiting(100 + number as u64, end(&format!("eve{}", number % eves)))).is_none());
        }
        let free = CAPACITY - 1 - eves * OF_A_USER;
        (0..free as u64).for_each(|number| drop(list.push(waiting(90_000 + number, end(&format!("user{number}"))))));
        assert_eq!((list.len(), list.of_backend), (CAPACITY + 1, 1));
        let dropped = list.push(waiting(99_000, withdrawal("bo")));
        assert!(matches!(dropped, Some(Dropped::TooMany(Waiting { number: 100, .. }))), "{dropped:?}");
        let dropped = list.push(waiting(99_001, end("eve1")));
        assert!(matches!(dropped, Some(Dropped::TooManyOfAUser(Waiting { number: 101, .. }))), "{dropped:?}");
        assert_eq!(numbers(&list)[..2], [0, 1]);
    }

    #[test]
    fn the_backend_has_a_share_of_its_own() {
        let mut list = OwedList::default();
        assert!(list.push(waiting(0, end("ana"))).is_none());
        let dropped = (1..=CAPACITY as u64 + 2).filter_map(|number| list.push(waiting(number, ended())));
        let dropped: Vec<_> = dropped.map(|dropped| matches!(dropped, Dropped::TooMany(_))).collect();
        assert_eq!(dropped, [true, true]);
        assert_eq!(numbers(&list)[..2], [0, 3]);
        let words = (0..CAPACITY as u64 + 1).map(|number| waiting(50_000 + number, end(&format!("user{number}"))));
        let dropped: Vec<_> = words.filter_map(|waiting| list.push(waiting)).collect();
        assert!(matches!(&dropped[..], [Dropped::TooMany(Waiting { number: 0, .. }), _]), "the oldest of equals");
        assert_eq!(list.of_backend, CAPACITY);
    }

    #[test]
    fn what_is_done_is_counted_no_more() {
        let mut list = OwedList::default();
        [end("ana"), end("ana"), withdrawal("bo"), ended()].into_iter().zip(0..).for_each(|(owed, number)| {
            assert!(list.push(waiting(number, owed)).is_none());
        });
        assert!(list.remove(1) && !list.remove(1));
        assert_eq!(list.take(|waiting| waiting.owed.is_withdrawal()).len(), 1);
        assert!(list.take(|waiting| waiting.owed.is_withdrawal()).is_empty());
        assert_eq!((list.of_users.len(), list.of_backend, numbers(&list)), (1, 1, vec![0, 3]));
        assert_eq!(list.take(|_| true).len(), 2);
        assert_eq!((list.of_users.len(), list.of_backend, list.len()), (0, 0, 0));
    }
}
