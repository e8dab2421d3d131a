//! One cheating witness for each constraint, and the constraint that catches it.

use super::*;
use halo2_proofs::dev::MockProver;

const BUCKET: usize = 4;
const INTERVAL: &str = "interval";
const DISTANCE: &str = "distance";

/// 100 tokens without 0, 1 and 50: intervals of places 3 … 27, 28 … 50, 52 … 76 and 77 … 100.
fn shape() -> Shape {
    Shape::new(100, &[0, 1, 50], BUCKET).expect("a shape")
}

fn token(token: u32) -> Row {
    Row::of(token, shape().interval(token).expect("an allowed token"))
}

fn field(value: i64) -> Fp {
    let size = Fp::from(value.unsigned_abs());
    if value < 0 {
        -size
    } else {
        size
    }
}

fn row(place: i64, real: i64, above: i64, below: i64) -> Row {
    Row {
        place: field(place),
        real: field(real),
        above: field(above),
        below: field(below),
    }
}

/// What a verifier of these rows would see: the constraints that fail, by name.
fn failures(rows: Vec<Row>) -> Vec<String> {
    let shape = shape();
    let k = shape.k;
    let query = Query {
        shape: &shape,
        rows,
    };
    let prover = MockProver::run(k, &query, vec![]).expect("it fits");
    let Err(found) = prover.verify() else {
        return Vec::new();
    };
    let mut named: Vec<String> = found
        .iter()
        .map(|failure| match failure {
            halo2_proofs::dev::VerifyFailure::Lookup {
                lookup_index: 0, ..
            } => INTERVAL.into(),
            halo2_proofs::dev::VerifyFailure::Lookup { .. } => DISTANCE.into(),
            other => other.to_string(),
        })
        .collect();
    named.dedup();
    named
}

fn refused_by(rows: Vec<Row>, name: &str) {
    let found = failures(rows);
    assert!(!found.is_empty(), "the cheat passes");
    assert!(found.iter().all(|one| one.contains(name)), "{found:?}");
}

#[test]
fn intervals_are_the_allowed_places() {
    let shape = shape();
    assert_eq!(shape.intervals, [(3, 27), (28, 50), (52, 76), (77, 100)]);
    for token in 0..200 {
        let allowed = token < 100 && ![0, 1, 50].contains(&token);
        assert_eq!(shape.interval(token).is_some(), allowed, "{token}");
    }
    assert_eq!(shape.interval(u32::MAX), None);
}

#[test]
fn shapes_are_the_smallest_that_fit() {
    let k = |vocabulary, bucket| Shape::new(vocabulary, &[], bucket).map(|shape| shape.k);
    assert_eq!(k(49_152, 128), Ok(8));
    assert_eq!(k(49_152, 512), Ok(10));
    assert_eq!(k(49_152, 2048), Ok(12));
    assert_eq!(k(262_144, 512), Ok(10));
    assert_eq!(k(1 << 24, 512), Ok(13));
    // The most that privity.anon.vocabulary allows, as scattered as can be.
    let scattered: Vec<u32> = (0..4096).map(|at| at * 4096).collect();
    assert!(Shape::new(1 << 24, &scattered, 2048).is_ok());
}

#[test]
fn what_is_no_vocabulary_is_refused() {
    let refusal = |vocabulary, denied: &[u32], bucket| Shape::new(vocabulary, denied, bucket).err();
    assert_eq!(refusal(0, &[], 4), Some(Refusal::Vocabulary));
    assert_eq!(refusal((1 << 24) + 1, &[], 4), Some(Refusal::Vocabulary));
    assert_eq!(refusal(2, &[0, 1], 4), Some(Refusal::Vocabulary));
    assert_eq!(refusal(9, &[1, 1], 4), Some(Refusal::Denied));
    assert_eq!(refusal(9, &[2, 1], 4), Some(Refusal::Denied));
    assert_eq!(refusal(9, &[9], 4), Some(Refusal::Denied));
    let scattered: Vec<u32> = (0..1 << 14).map(|at| at * 2).collect();
    assert_eq!(refusal(1 << 15, &scattered, 4), Some(Refusal::Denied));
    assert_eq!(refusal(9, &[], 0), Some(Refusal::Bucket));
    assert_eq!(refusal(9, &[], 4097), Some(Refusal::Bucket));
}

#[test]
fn allowed_tokens_pass() {
    for rows in [vec![2, 49, 51, 99], vec![2], vec![26, 27, 75, 76]] {
        assert_eq!(failures(rows.into_iter().map(token).collect()), [""; 0]);
    }
}

#[test]
fn an_empty_sequence_is_refused() {
    refused_by(vec![Row::PADDING], "it begins with a token");
}

#[test]
fn a_hole_is_refused() {
    refused_by(
        vec![token(2), Row::PADDING, token(3)],
        "nothing follows padding",
    );
}

#[test]
fn more_than_the_bucket_is_refused() {
    refused_by(vec![token(2); BUCKET + 1], "it ends within the bucket");
}

#[test]
fn what_is_hidden_after_the_bucket_is_refused() {
    let mut rows = vec![
        token(2),
        Row::PADDING,
        Row::PADDING,
        Row::PADDING,
        Row::PADDING,
    ];
    rows.push(token(2));
    refused_by(rows, "nothing follows padding");
}

#[test]
fn a_denied_token_is_refused_whatever_its_interval() {
    for (low, high) in shape().intervals {
        let (low, high) = (i64::from(low), i64::from(high));
        refused_by(vec![row(51, 1, 51 - low, high - 51)], DISTANCE);
    }
    refused_by(vec![row(51, 1, 0, 0)], INTERVAL);
    refused_by(vec![row(51, 1, 1, 1)], INTERVAL); // between the ends of two intervals
}

#[test]
fn a_token_outside_the_vocabulary_is_refused() {
    refused_by(vec![row(101, 1, 101 - 77, -1)], DISTANCE);
    refused_by(vec![row(101, 1, 24, 0)], INTERVAL);
    refused_by(vec![row(-1, 1, -4, 28)], DISTANCE);
}

#[test]
fn the_ends_of_two_intervals_are_none() {
    refused_by(vec![row(40, 1, 40 - 28, 60 - 40)], INTERVAL); // a high that is nowhere
    refused_by(vec![row(40, 1, 40 - 27, 50 - 40)], INTERVAL); // a low that is nowhere
    refused_by(vec![row(27, 1, 27 - 3, 50 - 27)], INTERVAL); // two that do not belong together
}

#[test]
fn a_kind_beside_token_and_padding_is_refused() {
    refused_by(
        vec![
            token(2),
            Row {
                real: field(2),
                ..token(2)
            },
        ],
        INTERVAL,
    );
}

#[test]
fn padding_with_a_token_is_refused() {
    refused_by(
        vec![
            token(2),
            Row {
                real: field(0),
                ..token(2)
            },
        ],
        INTERVAL,
    );
}

#[test]
fn a_token_without_a_place_is_refused() {
    refused_by(vec![token(2), row(0, 1, 0, 0)], INTERVAL);
}
