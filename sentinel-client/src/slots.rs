//! A table that reuses its slots, so that keeping a grant for the time of a short call allocates nothing.

/// The position of a value. It is never reused, so a reply to an old heartbeat never reaches the next grant in the same
/// slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    place: usize,
    turn: u64,
}

#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Option<(Id, T)>>,
    free: Vec<usize>,
    turn: u64,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), turn: 0 }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> Id {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.turn += 1;
        let id = Id { place, turn: self.turn };
        self.places[place] = Some((id, value));
        id
    }

    pub(crate) fn remove(&mut self, id: Id) {
        if self.get_mut(id).is_some() {
            self.places[id.place] = None;
            self.free.push(id.place);
        }
        if self.is_empty() {
            // Shrinks an empty table: a table that was once large would cost memory and time at every tick.
            self.places.clear();
            self.free.clear();
            self.places.shrink_to(Self::KEPT);
            self.free.shrink_to(Self::KEPT);
        }
    }

    const KEPT: usize = 64;

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = self.places.get_mut(id.place)?.as_mut();
        place.filter(|(held, _)| *held == id).map(|(_, value)| value)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        self.places.iter_mut().flatten().map(|(id, value)| (*id, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten().map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_reused_and_its_old_id_finds_nothing() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert("a"), slots.insert("b"));
        slots.remove(a);
        slots.remove(a);
        let c = slots.insert("c");
        assert_eq!((c.place, slots.places.len()), (a.place, 2));
        assert_eq!([a, b, c].map(|id| slots.get_mut(id).copied()), [None, Some("b"), Some("c")]);
        slots.remove(a);
        assert_eq!(slots.get_mut(c).copied(), Some("c"), "an old id removes no other entry either");
        slots.remove(b);
        slots.remove(c);
        assert!(slots.is_empty() && slots.values().next().is_none());
        let d = slots.insert("d");
        assert_eq!([c, d].map(|id| slots.get_mut(id).copied()), [None, Some("d")]);
    }
}
