//! A bounded memory: what was used lately stays, the rest is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// A map in two halves that hold at most `most` each, by weight. When the young half is full it becomes the old one,
/// and what was in the old one is forgotten unless it was used meanwhile.
pub struct Recent<K, V> {
    most: usize,
    weight: usize,
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// An empty memory.
    pub fn new(most: usize) -> Self {
        Self { most, weight: 0, young: HashMap::new(), old: HashMap::new() }
    }

    /// What is remembered; it counts as used.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(key)?;
        self.insert(key.clone(), value.clone(), weight);
        Some(value)
    }

    /// Remembers a value of some weight.
    pub fn insert(&mut self, key: K, value: V, weight: usize) {
        if let Some((_, before)) = self.young.remove(&key) {
            self.weight -= before;
        }
        if self.weight + weight > self.most {
            self.old = mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.insert(key, (value, weight));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let mut recent = Recent::new(10);
        recent.insert("kept", 0, 1);
        for n in 1..1000 {
            recent.insert("other", n, 1);
            recent.insert(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"][n % 11], n, 1);
            assert_eq!(recent.get(&"kept"), Some(0));
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        recent.insert("heavy", 1, 10);
        recent.insert("heavier", 2, 10);
        assert_eq!((recent.get(&"kept"), recent.get(&"heavier")), (None, Some(2)));
    }
}
