use super::*;

const PULL: Purpose = Purpose::named("pull");

fn draws(span: Span) -> Vec<u64> {
    let luck = Luck::new(7);
    let mut lengths: Vec<u64> = (0..200_000).map(|n| luck.span(PULL, n, 0, &span)).collect();
    lengths.sort_unstable();
    lengths
}

fn mean(lengths: &[u64]) -> u64 {
    lengths.iter().sum::<u64>() / lengths.len() as u64
}

#[track_caller]
fn near(found: u64, wanted: u64, permille: u64) {
    assert!(found.abs_diff(wanted) * 1_000 <= wanted * permille, "{found} is not near {wanted}");
}

#[test]
fn the_same_key_draws_the_same_and_every_part_of_it_matters() {
    let luck = Luck::new(1);
    let drawn = luck.draw(PULL, 2, 3);
    assert_eq!(drawn, Luck::new(1).draw(PULL, 2, 3));
    let others = [
        Luck::new(2).draw(PULL, 2, 3),
        luck.draw(Purpose::named("init"), 2, 3),
        luck.draw(PULL, 3, 3),
        luck.draw(PULL, 2, 4),
        luck.draw(PULL, 3, 2),
    ];
    assert!(!others.contains(&drawn));
}

#[test]
fn even_lengths_reach_both_ends() {
    let lengths = draws(Span::Even { min: 3, max: 7 });
    assert_eq!((lengths[0], lengths[lengths.len() - 1]), (3, 7));
    near(mean(&lengths.iter().map(|length| length * 1_000).collect::<Vec<_>>()), 5_000, 5);
}

#[test]
fn exponential_lengths_have_their_mean_and_their_tail() {
    let lengths = draws(Span::Exponential { mean: 60_000 });
    near(mean(&lengths), 60_000, 10);
    near(lengths[lengths.len() / 2], 41_589, 10);
    near(lengths[lengths.len() * 99 / 100], 276_310, 20);
}

#[test]
fn lognormal_lengths_have_their_median_and_their_tail() {
    let lengths = draws(Span::Lognormal { median: 10_000, sigma_permille: 1_000, max: u64::MAX });
    near(lengths[lengths.len() / 2], 10_000, 15);
    near(lengths[lengths.len() * 84 / 100], 27_018, 30);
    let cut = draws(Span::Lognormal { median: 10_000, sigma_permille: 1_000, max: 20_000 });
    assert_eq!(cut[cut.len() - 1], 20_000);
}

#[test]
fn the_ends_of_the_dice_make_no_harm() {
    for span in [
        Span::Exponential { mean: u64::MAX },
        Span::Exponential { mean: 0 },
        Span::Even { min: 5, max: 5 },
        Span::Even { min: 0, max: u64::MAX },
        Span::Lognormal { median: u64::MAX, sigma_permille: u32::MAX, max: u64::MAX },
        Span::Lognormal { median: 0, sigma_permille: 0, max: 0 },
    ] {
        for draw in [0, 1, u64::MAX / 2, u64::MAX] {
            span.at(draw);
        }
    }
    assert_eq!(Span::Exponential { mean: 100 }.at(u64::MAX), 0);
}
