//! A queue without memory waits as long as it must: the simulator is right where the truth is known.
//!
//! Two comparisons. With the textbook's recursion over the same arrivals and services there is no luck left,
//! so that a fraction of a per cent is asked for. With Erlang's formula there is: at this number of arrivals
//! the standard error of the mean (measured over 60 recursions) is 22 % of it for one server, 30 % for five
//! and 90 % for fifty, since waits that follow each other are alike; three of them are allowed for. The seed
//! is fixed, so that nothing here is a matter of chance. `just bench-sim` takes two million arrivals.

use sim::erlang::{self, Queue};

const ARRIVALS: u32 = 4_000;

/// What a launch costs: milliseconds of minutes, more where there is little to wait for.
const RECURSION_MAX: f64 = 0.005;

#[track_caller]
fn check(servers: u32, standard_error: f64) {
    let waits = erlang::run(Queue { servers, arrivals: ARRIVALS, seed: 1 });
    assert_eq!(waits.count, u64::from(ARRIVALS) * 4 / 5, "all but the first fifth are counted");
    let ideal = waits.mean_ms() / waits.ideal_mean_ms() - 1.0;
    let expected = waits.mean_ms() / erlang::expected_ms(servers) - 1.0;
    println!(
        "{servers} servers: {:+.3} % off the recursion, {:+.1} % off Erlang",
        ideal * 100.0,
        expected * 100.0
    );
    assert!(ideal.abs() < RECURSION_MAX, "{servers} servers: {ideal} off the recursion");
    assert!(expected.abs() < 3.0 * standard_error, "{servers} servers: {expected} off Erlang");
}

#[test]
fn one_server_waits_as_erlang_says() {
    check(1, 0.22);
}

#[test]
fn five_servers_wait_as_erlang_says() {
    check(5, 0.30);
}

#[test]
fn fifty_servers_wait_as_erlang_says() {
    check(50, 0.90);
}

#[test]
fn the_formula_gives_the_known_values() {
    // One server: rho / (1 − rho) services. Five: 0.5541 services, from tables of Erlang C at 80 %.
    assert!((erlang::expected_ms(1) / 120_000.0 - 4.0).abs() < 1e-9);
    assert!((erlang::expected_ms(5) / 360_000.0 - 0.5541).abs() < 1e-4);
}
