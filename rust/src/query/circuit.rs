//! The statement: a column holds 1 to `bucket` allowed tokens, then nothing.
//!
//! The allowed tokens are cut into intervals of at most `width` tokens, a public table. A row
//! holds `place`, its token plus one, or zero where the sequence has ended; `real`, which says
//! which of the two; and the distances to both ends of its interval. Then
//!
//! - (place − above, place + below, real) is in the table of intervals, with (0, 0, 0) for a
//!   padding row, and `above` and `below` are in the table 0 … width − 1: so `place` lies inside
//!   its interval (no sum wraps: the field has 255 bits), or is zero where `real` is;
//! - `real` is one in row 0, never rises again, and is zero after row `bucket`.
//!
//! Only `place` is opened to the enclave, so it is column 0, and no other column says more.

use ff::Field;
use halo2_proofs::circuit::{Layouter, Region, SimpleFloorPlanner, Value};
use halo2_proofs::pasta::Fp;
use halo2_proofs::plonk::{
    Advice, Circuit, Column, ConstraintSystem, Constraints, Error, Expression, Selector,
    TableColumn,
};
use halo2_proofs::poly::Rotation;

use super::key::Refusal;

/// Rows that halo2 keeps for blinding: `ConstraintSystem::blinding_factors` + 1.
pub const BLINDING_ROWS: usize = 6;
/// Columns that hold secrets.
pub const SECRET_COLUMNS: usize = 4;

const MIN_K: u32 = 5;
const MAX_K: u32 = 13;
const MAX_VOCABULARY: u32 = 1 << 24;

/// What the fixed part of the circuit depends on; equal shapes have equal keys.
#[derive(Clone, Debug)]
pub struct Shape {
    pub k: u32,
    pub bucket: usize,
    /// Allowed places, in order, both ends included; none wider than `width`.
    pub intervals: Vec<(u32, u32)>,
    pub width: u32,
}

impl Shape {
    /// The smallest circuit for a vocabulary; `denied` in strictly rising order.
    pub fn new(vocabulary: u32, denied: &[u32], bucket: usize) -> Result<Self, Refusal> {
        let rising = denied.windows(2).all(|pair| pair[0] < pair[1]);
        if vocabulary == 0 || vocabulary > MAX_VOCABULARY {
            return Err(Refusal::Vocabulary);
        }
        if !rising || denied.last().is_some_and(|last| *last >= vocabulary) {
            return Err(Refusal::Denied);
        }
        if bucket == 0 || bucket > 1 << (MAX_K - 1) {
            return Err(Refusal::Bucket);
        }
        for k in MIN_K..=MAX_K {
            let usable = (1usize << k) - BLINDING_ROWS;
            let width = usable as u32 - 1; // halo2 wants a row of each table to repeat
            let intervals = intervals(vocabulary, denied, width);
            if intervals.is_empty() {
                return Err(Refusal::Vocabulary);
            }
            // One row after the bucket, and in the table one of padding and one to repeat.
            if bucket < usable && intervals.len() + 1 < usable {
                return Ok(Shape {
                    k,
                    bucket,
                    intervals,
                    width,
                });
            }
        }
        Err(Refusal::Denied)
    }

    pub fn usable(&self) -> usize {
        (1 << self.k) - BLINDING_ROWS
    }

    /// The interval a token lies in; None where it is not allowed.
    pub fn interval(&self, token: u32) -> Option<(u32, u32)> {
        let place = token.checked_add(1)?;
        let after = self.intervals.partition_point(|(low, _)| *low <= place);
        let found = self.intervals.get(after.checked_sub(1)?)?;
        (place <= found.1).then_some(*found)
    }
}

/// Cut the allowed places 1 … vocabulary into intervals of at most `width`.
fn intervals(vocabulary: u32, denied: &[u32], width: u32) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    let mut low = 1;
    for end in denied.iter().copied().chain([vocabulary]) {
        // `end` as a token is `end + 1` as a place: the interval ends one before it.
        while low <= end {
            let high = end.min(low + width - 1);
            found.push((low, high));
            low = high + 1;
        }
        low = end + 2;
    }
    found
}

/// What one row hides.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub place: Fp,
    pub real: Fp,
    pub above: Fp,
    pub below: Fp,
}

impl Row {
    pub const PADDING: Row = Row {
        place: Fp::ZERO,
        real: Fp::ZERO,
        above: Fp::ZERO,
        below: Fp::ZERO,
    };

    /// The row of an allowed token.
    pub fn of(token: u32, (low, high): (u32, u32)) -> Row {
        let place = token + 1;
        Row {
            place: Fp::from(u64::from(place)),
            real: Fp::ONE,
            above: Fp::from(u64::from(place - low)),
            below: Fp::from(u64::from(high - place)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    place: Column<Advice>,
    real: Column<Advice>,
    above: Column<Advice>,
    below: Column<Advice>,
    low: TableColumn,
    high: TableColumn,
    kind: TableColumn,
    distance: TableColumn,
    first: Selector,
    later: Selector,
    after: Selector,
}

/// The circuit of a shape; `rows` is empty where there is no witness.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub shape: &'a Shape,
    pub rows: Vec<Row>,
}

impl Circuit<Fp> for Query<'_> {
    type Config = Config;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        Query {
            shape: self.shape,
            rows: Vec::new(),
        }
    }

    fn configure(meta: &mut ConstraintSystem<Fp>) -> Config {
        let config = Config {
            place: meta.advice_column(), // the first: what the seed opens
            real: meta.advice_column(),
            above: meta.advice_column(),
            below: meta.advice_column(),
            low: meta.lookup_table_column(),
            high: meta.lookup_table_column(),
            kind: meta.lookup_table_column(),
            distance: meta.lookup_table_column(),
            first: meta.selector(),
            later: meta.selector(),
            after: meta.selector(),
        };
        lookups(meta, &config);
        gates(meta, &config);
        config
    }

    fn synthesize(&self, config: Config, mut layouter: impl Layouter<Fp>) -> Result<(), Error> {
        self.tables(&config, &mut layouter)?;
        layouter.assign_region(
            || "sequence",
            |mut region| {
                for at in 0..self.shape.usable() {
                    self.row(&config, &mut region, at)?;
                }
                config.first.enable(&mut region, 0)?;
                for at in 1..self.shape.usable() {
                    config.later.enable(&mut region, at)?;
                }
                config.after.enable(&mut region, self.shape.bucket)
            },
        )
    }
}

fn lookups(meta: &mut ConstraintSystem<Fp>, config: &Config) {
    let (place, real) = (config.place, config.real);
    let (above, below) = (config.above, config.below);
    let (low, high, kind, distance) = (config.low, config.high, config.kind, config.distance);
    meta.lookup(move |cells| {
        let place = cells.query_advice(place, Rotation::cur());
        let real = cells.query_advice(real, Rotation::cur());
        let above = cells.query_advice(above, Rotation::cur());
        let below = cells.query_advice(below, Rotation::cur());
        vec![
            (place.clone() - above, low),
            (place + below, high),
            (real, kind),
        ]
    });
    for column in [above, below] {
        meta.lookup(move |cells| vec![(cells.query_advice(column, Rotation::cur()), distance)]);
    }
}

fn gates(meta: &mut ConstraintSystem<Fp>, config: &Config) {
    let real = config.real;
    let one = || Expression::Constant(Fp::ONE);
    let (first, later, after) = (config.first, config.later, config.after);
    meta.create_gate("it begins with a token", |cells| {
        let real = cells.query_advice(real, Rotation::cur());
        Constraints::with_selector(cells.query_selector(first), [one() - real])
    });
    meta.create_gate("nothing follows padding", |cells| {
        let before = cells.query_advice(real, Rotation::prev());
        let real = cells.query_advice(real, Rotation::cur());
        Constraints::with_selector(cells.query_selector(later), [real * (one() - before)])
    });
    meta.create_gate("it ends within the bucket", |cells| {
        let real = cells.query_advice(real, Rotation::cur());
        Constraints::with_selector(cells.query_selector(after), [real])
    });
}

impl Query<'_> {
    fn tables(&self, config: &Config, layouter: &mut impl Layouter<Fp>) -> Result<(), Error> {
        layouter.assign_table(
            || "allowed intervals",
            |mut table| {
                let padding = [(0, 0, 0)];
                let allowed = self
                    .shape
                    .intervals
                    .iter()
                    .map(|(low, high)| (*low, *high, 1));
                for (at, (low, high, kind)) in padding.into_iter().chain(allowed).enumerate() {
                    for (column, value) in
                        [(config.low, low), (config.high, high), (config.kind, kind)]
                    {
                        let value = Value::known(Fp::from(u64::from(value)));
                        table.assign_cell(|| "end", column, at, || value)?;
                    }
                }
                Ok(())
            },
        )?;
        layouter.assign_table(
            || "distances",
            |mut table| {
                for at in 0..self.shape.width {
                    let value = Value::known(Fp::from(u64::from(at)));
                    table.assign_cell(|| "distance", config.distance, at as usize, || value)?;
                }
                Ok(())
            },
        )
    }

    fn row(&self, config: &Config, region: &mut Region<'_, Fp>, at: usize) -> Result<(), Error> {
        let row = match self.rows.get(at) {
            Some(row) => Value::known(*row),
            None if self.rows.is_empty() => Value::unknown(),
            None => Value::known(Row::PADDING),
        };
        region.assign_advice(|| "place", config.place, at, || row.map(|row| row.place))?;
        region.assign_advice(|| "real", config.real, at, || row.map(|row| row.real))?;
        region.assign_advice(|| "above", config.above, at, || row.map(|row| row.above))?;
        region.assign_advice(|| "below", config.below, at, || row.map(|row| row.below))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
