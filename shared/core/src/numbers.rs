//! Sets of agent numbers, and how they lie in values: a JSON list up to 256, a portable Roaring bitmap above.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sets of up to this many numbers are written as a JSON list.
const LIST: u64 = 256;

/// A set of agent numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers(RoaringBitmap);

impl Numbers {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The container of `number`: a container holds 65,536 consecutive numbers and is one key of a bucket.
    pub const fn container(number: u32) -> u16 {
        (number >> 16) as u16
    }

    /// Adds a number; false when it was there.
    pub fn insert(&mut self, number: u32) -> bool {
        self.0.insert(number)
    }

    /// Takes a number out; false when it was not there.
    pub fn remove(&mut self, number: u32) -> bool {
        self.0.remove(number)
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        self.0.contains(number)
    }

    /// How many numbers the set has.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether the set has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// The numbers above `after`, rising.
    pub fn after(&self, after: Option<u32>) -> impl Iterator<Item = u32> + '_ {
        let start = after.map_or(Some(0), |n| n.checked_add(1));
        start.into_iter().flat_map(move |start| self.0.range(start..))
    }

    /// The greatest number.
    pub fn max(&self) -> Option<u32> {
        self.0.max()
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Takes out all of `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    /// Keeps what `other` has too.
    pub fn intersect(&mut self, other: &Self) {
        self.0 &= &other.0;
    }

    /// What both have.
    pub fn and(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// What this has and `other` has not.
    pub fn minus(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// How many numbers both have.
    pub fn common(&self, other: &Self) -> u64 {
        self.0.intersection_len(&other.0)
    }

    /// The set's parts by container, in order.
    pub fn split(&self) -> Vec<(u16, Self)> {
        let mut parts: Vec<(u16, Self)> = Vec::new();
        for number in self.iter() {
            let container = Self::container(number);
            match parts.last_mut() {
                Some((last, part)) if *last == container => {
                    part.0.insert(number);
                }
                _ => parts.push((container, Self::from_iter([number]))),
            }
        }
        parts
    }

    /// The value that stands for the set in a bucket.
    pub fn encode(&self) -> Vec<u8> {
        if self.len() <= LIST {
            let list: Vec<String> = self.iter().map(|n| n.to_string()).collect();
            return format!("[{}]", list.join(",")).into_bytes();
        }
        let mut out = Vec::with_capacity(self.0.serialized_size());
        // Writing into a Vec cannot fail; were it to, the value would not decode and the reader would say so.
        let _ = self.0.serialize_into(&mut out);
        out
    }

    /// The set that a value stands for.
    ///
    /// # Errors
    /// When it is neither a JSON list of numbers nor a portable Roaring bitmap.
    pub fn decode(value: &[u8]) -> Result<Self, String> {
        if value.first() == Some(&b'[') {
            let list: Vec<u32> = serde_json::from_slice(value).map_err(|e| format!("not a list of numbers: {e}"))?;
            return Ok(list.into_iter().collect());
        }
        RoaringBitmap::deserialize_from(value).map(Self).map_err(|e| format!("not a Roaring bitmap: {e}"))
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

/// In a JSON document: a list, or the bitmap in Base64.
impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.len() <= LIST {
            serializer.collect_seq(self.iter())
        } else {
            serializer.serialize_str(&STANDARD.encode(self.encode()))
        }
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            List(Vec<u32>),
            Bitmap(String),
        }
        match Form::deserialize(deserializer)? {
            Form::List(list) => Ok(list.into_iter().collect()),
            Form::Bitmap(text) => STANDARD
                .decode(text)
                .map_err(|e| e.to_string())
                .and_then(|bytes| Self::decode(&bytes))
                .map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encoded_and_back(list in prop::collection::btree_set(0u32..200_000, 0..600)) {
            let set: Numbers = list.iter().copied().collect();
            prop_assert_eq!(Numbers::decode(&set.encode()).unwrap(), set.clone());
            prop_assert_eq!(serde_json::from_str::<Numbers>(&serde_json::to_string(&set).unwrap()).unwrap(), set.clone());
            prop_assert_eq!(set.encode()[0] == b'[', list.len() <= 256);
            let mut whole = Numbers::new();
            for (container, part) in set.split() {
                prop_assert!(part.iter().all(|n| Numbers::container(n) == container));
                whole.union_with(&part);
            }
            prop_assert_eq!(whole, set);
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        assert!(
            Numbers::decode(b"[1,").is_err() && Numbers::decode(b"{}").is_err() && Numbers::decode(b"[-1]").is_err()
        );
        assert_eq!(Numbers::from_iter([1, 5, u32::MAX]).after(Some(1)).collect::<Vec<_>>(), [5, u32::MAX]);
        assert_eq!(Numbers::from_iter([u32::MAX]).after(Some(u32::MAX)).count(), 0);
    }
}
