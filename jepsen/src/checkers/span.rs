//! Spans of time and their sets. A set is a list of spans that are not empty, rise, and do not touch.

use crate::history::Ns;

/// From the first instant up to, and without, the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First instant.
    pub from: Ns,
    /// First instant after it.
    pub until: Ns,
}

impl Span {
    /// From one instant to another; empty if they are the wrong way round.
    pub fn new(from: Ns, until: Ns) -> Self {
        Self { from, until: until.max(from) }
    }

    /// How long.
    pub fn len(self) -> Ns {
        self.until - self.from
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.from == self.until
    }

    /// Whether both have an instant in common.
    pub fn overlaps(self, other: Self) -> bool {
        !self.common(other).is_empty()
    }

    /// What both have in common.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self::new(self.from.max(other.from), self.until.min(other.until))
    }

    /// Grown at both ends.
    #[must_use]
    pub fn widened(self, before: Ns, after: Ns) -> Self {
        Self { from: self.from.saturating_sub(before), until: self.until.saturating_add(after) }
    }

    /// What of it is in none of a set.
    pub fn without(self, set: &[Self]) -> Vec<Self> {
        let mut left = Vec::new();
        let mut from = self.from;
        for other in set.iter().filter(|other| self.overlaps(**other)) {
            if other.from > from {
                left.push(Self::new(from, other.from));
            }
            from = from.max(other.until);
        }
        if from < self.until {
            left.push(Self::new(from, self.until));
        }
        left
    }
}

/// The set of all instants of any spans.
pub fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut sorted: Vec<_> = spans.into_iter().filter(|span| !span.is_empty()).collect();
    sorted.sort_unstable();
    let mut set: Vec<Span> = Vec::new();
    for span in sorted {
        match set.last_mut() {
            Some(last) if span.from <= last.until => last.until = last.until.max(span.until),
            _ => set.push(span),
        }
    }
    set
}

/// The instants of both sets.
pub fn intersection(one: &[Span], other: &[Span]) -> Vec<Span> {
    union(one.iter().flat_map(|a| other.iter().map(|b| a.common(*b))))
}

/// Length of a set.
pub fn total(set: &[Span]) -> Ns {
    set.iter().map(|span| span.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spans: &[(Ns, Ns)]) -> Vec<Span> {
        spans.iter().map(|(from, until)| Span::new(*from, *until)).collect()
    }

    #[test]
    fn spans_that_only_touch_do_not_overlap() {
        assert!(!Span::new(1, 2).overlaps(Span::new(2, 3)));
        assert!(Span::new(1, 3).overlaps(Span::new(2, 3)));
        assert!(!Span::new(2, 2).overlaps(Span::new(1, 3)));
    }

    #[test]
    fn a_union_joins_what_touches_and_drops_what_is_empty() {
        assert_eq!(union(set(&[(5, 7), (1, 2), (2, 3), (4, 4), (6, 6)])), set(&[(1, 3), (5, 7)]));
    }

    #[test]
    fn what_is_left_has_no_instant_of_the_set() {
        assert_eq!(Span::new(0, 10).without(&set(&[(0, 1), (3, 4), (9, 12)])), set(&[(1, 3), (4, 9)]));
        assert_eq!(Span::new(2, 3).without(&set(&[(1, 4)])), []);
        assert_eq!(Span::new(2, 3).without(&[]), set(&[(2, 3)]));
    }

    #[test]
    fn an_intersection_has_the_instants_of_both() {
        assert_eq!(intersection(&set(&[(0, 4), (6, 9)]), &set(&[(3, 7), (8, 20)])), set(&[(3, 4), (6, 7), (8, 9)]));
    }
}
