//! Which version `latest` is: laws and a table. Source: `API.md` 7.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use domain::image_version::VersionNumber;
use domain::latest::{Candidate, Lost, choose_latest, why_not};
use proptest::prelude::*;

fn usable(number: &str) -> Candidate {
    Candidate {
        number: number.parse().unwrap(),
        is_succeeded: true,
        is_complete_here: true,
        excluded_here: None,
        is_excluded: false,
    }
}

#[test]
fn numbers_order_as_numbers() {
    for (numbers, latest) in [
        (vec!["1.0.9", "1.0.10"], "1.0.10"),
        (vec!["1.10.0", "1.9.9"], "1.10.0"),
        (vec!["2.0.0", "10.0.0", "9.9.9"], "10.0.0"),
        (vec!["1.0.0"], "1.0.0"),
        (vec!["2147483647.0.0", "2147483646.9.9"], "2147483647.0.0"),
    ] {
        let all: Vec<Candidate> = numbers.iter().map(|n| usable(n)).collect();
        assert_eq!(choose_latest(&all).unwrap().number.to_string(), latest);
    }
}

#[test]
fn flags() {
    let base = usable("2.0.0");
    for (candidate, lost) in [
        (base, None),
        (
            Candidate {
                is_succeeded: false,
                ..base
            },
            Some(Lost::NotSucceeded),
        ),
        (
            Candidate {
                is_complete_here: false,
                ..base
            },
            Some(Lost::NotHere),
        ),
        (
            Candidate {
                is_excluded: true,
                ..base
            },
            Some(Lost::Excluded),
        ),
        (
            Candidate {
                excluded_here: Some(true),
                ..base
            },
            Some(Lost::Excluded),
        ),
        (
            Candidate {
                is_excluded: true,
                excluded_here: Some(false),
                ..base
            },
            None,
        ),
        (
            Candidate {
                is_excluded: true,
                excluded_here: Some(true),
                ..base
            },
            Some(Lost::Excluded),
        ),
        (
            Candidate {
                excluded_here: Some(false),
                ..base
            },
            None,
        ),
    ] {
        let all = [usable("1.0.0"), candidate];
        assert_eq!(why_not(&all, &candidate), lost, "{candidate:?}");
        let chosen = choose_latest(&all).unwrap().number;
        assert_eq!(chosen.major, if lost.is_none() { 2 } else { 1 });
    }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let part = 0..4_i32;
    let one = (
        part.clone(),
        part.clone(),
        part,
        any::<bool>(),
        any::<bool>(),
        any::<Option<bool>>(),
        any::<bool>(),
    );
    let one = one.prop_map(
        |(major, minor, patch, is_succeeded, is_complete_here, excluded_here, is_excluded)| {
            Candidate {
                number: VersionNumber {
                    major,
                    minor,
                    patch,
                },
                is_succeeded,
                is_complete_here,
                excluded_here,
                is_excluded,
            }
        },
    );
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn the_chosen_one_is_usable_and_nothing_usable_is_newer(all in candidates()) {
        let is_usable = |c: &Candidate| c.is_succeeded && c.is_complete_here && !c.excluded_here.unwrap_or(c.is_excluded);
        let wanted = all.iter().filter(|c| is_usable(c)).map(|c| c.number).max();
        prop_assert_eq!(choose_latest(&all).map(|c| c.number), wanted);
        for candidate in &all {
            prop_assert_eq!(why_not(&all, candidate).is_none(), is_usable(candidate) && Some(candidate.number) == wanted);
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(mut all in candidates()) {
        let first = choose_latest(&all).map(|c| c.number);
        all.reverse();
        prop_assert_eq!(choose_latest(&all).map(|c| c.number), first);
    }

    #[test]
    fn names_of_numbers_are_read_back(major in 0..=i32::MAX, minor in 0..=i32::MAX, patch in 0..=i32::MAX) {
        let number = VersionNumber { major, minor, patch };
        prop_assert_eq!(number.to_string().parse::<VersionNumber>(), Ok(number));
    }
}
