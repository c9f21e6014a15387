//! The idle phones, from which random pairs are taken.

use rand::Rng;

/// Idle phones by node; phone `i` sits on node `i % nodes`.
pub struct Pool {
    idle: Vec<Vec<usize>>,
    gone: Vec<bool>,
}

impl Pool {
    pub fn new(phones: usize, nodes: usize) -> Self {
        let mut pool = Self::empty(phones, nodes);
        (0..phones).for_each(|phone| pool.add(phone));
        pool
    }

    /// One to which nobody has come yet.
    pub fn empty(phones: usize, nodes: usize) -> Self {
        Self { idle: vec![Vec::new(); nodes], gone: vec![true; phones] }
    }

    /// Lets a phone in that is not there, or not any more.
    pub fn add(&mut self, phone: usize) {
        if std::mem::take(&mut self.gone[phone]) {
            self.put(phone);
        }
    }

    /// Takes a caller and a callee, on different nodes where there are several.
    pub fn take_pair(&mut self, random: &mut impl Rng) -> Option<(usize, usize)> {
        let idle: usize = self.idle.iter().map(Vec::len).sum();
        let first = self.node_of_nth(random.random_range(0..idle.max(1)), None)?;
        let other = if self.idle.len() == 1 { None } else { Some(first) };
        let left = if self.idle.len() == 1 { idle - 1 } else { idle - self.idle[first].len() };
        if left == 0 {
            return None;
        }
        let caller = self.take(first, random);
        match self.node_of_nth(random.random_range(0..left), other) {
            Some(second) => Some((caller, self.take(second, random))),
            None => {
                self.put(caller);
                None
            }
        }
    }

    /// Takes any phone.
    pub fn take_any(&mut self, random: &mut impl Rng) -> Option<usize> {
        let idle: usize = self.idle.iter().map(Vec::len).sum();
        let node = self.node_of_nth(random.random_range(0..idle.max(1)), None)?;
        Some(self.take(node, random))
    }

    pub fn put(&mut self, phone: usize) {
        if !self.gone[phone] {
            let node = phone % self.idle.len();
            self.idle[node].push(phone);
        }
    }

    /// Takes a phone out, until it is let in again.
    pub fn remove(&mut self, phone: usize) {
        self.gone[phone] = true;
        let node = phone % self.idle.len();
        self.idle[node].retain(|idle| *idle != phone);
    }

    fn take(&mut self, node: usize, random: &mut impl Rng) -> usize {
        let place = random.random_range(0..self.idle[node].len());
        self.idle[node].swap_remove(place)
    }

    /// The node of the `nth` idle phone, `except` left out: nodes are as likely as they have idle phones.
    fn node_of_nth(&self, nth: usize, except: Option<usize>) -> Option<usize> {
        let mut left = nth;
        for (node, idle) in self.idle.iter().enumerate().filter(|(node, _)| Some(*node) != except) {
            if left < idle.len() {
                return Some(node);
            }
            left -= idle.len();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn pairs_are_on_different_nodes_until_there_is_none() {
        let mut random = StdRng::seed_from_u64(1);
        let mut pool = Pool::new(10, 2);
        let mut taken = Vec::new();
        while let Some((caller, callee)) = pool.take_pair(&mut random) {
            assert_ne!(caller % 2, callee % 2);
            taken.extend([caller, callee]);
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn one_node_pairs_its_own_phones() {
        let mut random = StdRng::seed_from_u64(1);
        let mut pool = Pool::new(3, 1);
        let (caller, callee) = pool.take_pair(&mut random).expect("a pair");
        assert_ne!(caller, callee);
        assert_eq!(pool.take_pair(&mut random), None);
        pool.put(caller);
        assert!(pool.take_pair(&mut random).is_some());
    }

    #[test]
    fn who_comes_back_is_there_once() {
        let mut random = StdRng::seed_from_u64(1);
        let mut pool = Pool::empty(2, 1);
        assert_eq!(pool.take_any(&mut random), None);
        pool.add(1);
        pool.add(1);
        assert_eq!((pool.take_any(&mut random), pool.take_any(&mut random)), (Some(1), None));
        pool.remove(1);
        pool.put(1); // its call was over after it had gone
        assert_eq!(pool.take_any(&mut random), None);
        pool.add(1);
        assert_eq!(pool.take_any(&mut random), Some(1));
    }

    #[test]
    fn phones_of_one_node_only_are_no_pair() {
        let mut random = StdRng::seed_from_u64(1);
        let mut pool = Pool::new(4, 2);
        pool.remove(1);
        pool.remove(3);
        pool.put(3); // its call was over after it had gone
        assert_eq!(pool.take_pair(&mut random), None);
    }
}
