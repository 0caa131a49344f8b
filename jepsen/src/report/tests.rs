#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::checkers::judge;
use crate::story::good;

#[test]
fn every_tile_is_of_a_figure_that_there_is() {
    let verdicts = judge(&mut good());
    for Tile { title, checker, figure, beside } in TILES {
        for name in [Some(figure), beside.map(|(name, _)| name)].into_iter().flatten() {
            assert!(find(&verdicts, checker, name).is_some(), "{title}: {checker} has no figure {name}");
        }
    }
}
