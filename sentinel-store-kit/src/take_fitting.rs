//! Which of the waiting items make the next batch.

use std::collections::VecDeque;

/// Takes the items that fit, in their order. `fits` is called once for each item; the others keep waiting, in theirs.
pub fn take_fitting<T>(waiting: &mut VecDeque<T>, mut fits: impl FnMut(&T) -> bool) -> Vec<T> {
    let mut batch = Vec::new();
    for _ in 0..waiting.len() {
        let Some(item) = waiting.pop_front() else { break };
        if fits(&item) { batch.push(item) } else { waiting.push_back(item) }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_keeps_its_order() {
        let mut waiting = VecDeque::from([1, 2, 3, 4, 5]);
        let mut room = 2;
        let odd = take_fitting(&mut waiting, |n| {
            let fits = n % 2 == 1 && room > 0;
            room -= i32::from(fits);
            fits
        });
        assert_eq!((odd, waiting.into_iter().collect()), (vec![1, 3], vec![2, 4, 5]));
    }
}
