//! `latest`: the newest version that a region can use. Source: `API.md` 7.

use crate::image_version::VersionNumber;

/// What decides whether a version can be `latest` in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub number: VersionNumber,
    /// Whether its last write succeeded.
    pub is_succeeded: bool,
    /// Whether the region holds all of it.
    pub is_complete_here: bool,
    /// The regional flag, which wins over the global one.
    pub excluded_here: Option<bool>,
    /// The global flag.
    pub is_excluded: bool,
}

/// Why a version is not `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A higher number can be used.
    Older,
    /// Its last write did not succeed.
    NotSucceeded,
    /// The region does not hold it, or not all of it yet.
    NotHere,
    /// It is excluded, in the region or everywhere.
    Excluded,
}

/// Returns the version that `latest` means.
///
/// The highest number wins; the date does not matter, so a fix of an old line never becomes latest.
pub fn choose_latest(all: &[Candidate]) -> Option<&Candidate> {
    all.iter()
        .filter(|c| obstacle(c).is_none())
        .max_by_key(|c| c.number)
}

/// Returns why a version is not `latest`; `None` for the one that is.
pub fn why_not(all: &[Candidate], candidate: &Candidate) -> Option<Lost> {
    obstacle(candidate).or_else(|| {
        let latest = choose_latest(all)?;
        (latest.number != candidate.number).then_some(Lost::Older)
    })
}

fn obstacle(candidate: &Candidate) -> Option<Lost> {
    if !candidate.is_succeeded {
        Some(Lost::NotSucceeded)
    } else if !candidate.is_complete_here {
        Some(Lost::NotHere)
    } else if candidate.excluded_here.unwrap_or(candidate.is_excluded) {
        Some(Lost::Excluded)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: &str) -> Candidate {
        Candidate {
            number: number.parse().unwrap(),
            is_succeeded: true,
            is_complete_here: true,
            excluded_here: None,
            is_excluded: false,
        }
    }

    #[test]
    fn the_highest_number_that_is_usable_here_wins() {
        let old = candidate("1.9.0");
        let new = candidate("1.10.0");
        assert_eq!(choose_latest(&[new, old]), Some(&new));
        for (changed, why) in [
            (
                Candidate {
                    is_succeeded: false,
                    ..new
                },
                Lost::NotSucceeded,
            ),
            (
                Candidate {
                    is_complete_here: false,
                    ..new
                },
                Lost::NotHere,
            ),
            (
                Candidate {
                    is_excluded: true,
                    ..new
                },
                Lost::Excluded,
            ),
            (
                Candidate {
                    excluded_here: Some(true),
                    ..new
                },
                Lost::Excluded,
            ),
        ] {
            let all = [old, changed];
            assert_eq!(choose_latest(&all), Some(&old));
            assert_eq!(why_not(&all, &changed), Some(why));
        }
        let back = Candidate {
            is_excluded: true,
            excluded_here: Some(false),
            ..new
        };
        assert_eq!(choose_latest(&[old, back]), Some(&back));
        assert_eq!(why_not(&[old, back], &old), Some(Lost::Older));
        assert_eq!(choose_latest(&[]), None);
    }
}
