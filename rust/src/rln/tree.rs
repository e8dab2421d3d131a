//! The membership tree: every computed node kept, one dense vector a level.
//!
//! `zerokit_utils::OptimalMerkleTree` computes the same roots (a test compares them), but keeps its
//! nodes in a hash map keyed by (level, index) and allocates a byte for each of the 2^depth leaves
//! up front. Members are appended in order, so a vector a level holds the same nodes without
//! hashing keys, an empty tree costs nothing, and a path is `depth` indexed reads.

use rayon::prelude::*;
use rln::prelude::{Fr, Hasher, PoseidonHash};

use super::field::Refused;

/// Levels computed by fewer parents than this stay on one thread: a hash takes 20 µs or so.
const PARALLEL_FROM: usize = 16;

/// An append-only tree of given depth, whose leaves may be overwritten.
pub struct Tree {
    depth: usize,
    /// `empty[h]` is the root of an empty subtree of height h.
    empty: Vec<Fr>,
    /// `levels[0]` are the leaves; `levels[depth]` holds the root once there is a leaf.
    levels: Vec<Vec<Fr>>,
}

impl Tree {
    /// Returns an empty tree; `depth` is 1 to 32.
    pub fn new(depth: usize) -> Result<Self, Refused> {
        if !(1..=32).contains(&depth) {
            return Err(Refused(format!("a tree of depth {depth} is not supported")));
        }
        let mut empty = vec![Fr::from(0u64)];
        for height in 0..depth {
            empty.push(Hasher::<PoseidonHash>::hash_pair(
                empty[height],
                empty[height],
            ));
        }
        Ok(Self {
            depth,
            empty,
            levels: vec![Vec::new(); depth + 1],
        })
    }

    pub fn len(&self) -> usize {
        self.levels[0].len()
    }

    pub fn root(&self) -> Fr {
        self.node(self.depth, 0)
    }

    pub fn leaf(&self, index: usize) -> Result<Fr, Refused> {
        self.within(index)?;
        Ok(self.levels[0][index])
    }

    /// Appends leaves, computes what is above them once, and returns the first one's index.
    pub fn extend(&mut self, leaves: &[Fr]) -> Result<usize, Refused> {
        let first = self.len();
        if leaves.len() > (1usize << self.depth) - first {
            return Err(Refused("the tree is full".to_owned()));
        }
        self.levels[0].extend_from_slice(leaves);
        if !leaves.is_empty() {
            self.update(first, first + leaves.len() - 1);
        }
        Ok(first)
    }

    /// Overwrites a leaf that was appended before.
    pub fn set(&mut self, index: usize, leaf: Fr) -> Result<(), Refused> {
        self.within(index)?;
        self.levels[0][index] = leaf;
        self.update(index, index);
        Ok(())
    }

    /// Returns the siblings from the leaf upwards.
    pub fn path(&self, index: usize) -> Result<Vec<Fr>, Refused> {
        self.within(index)?;
        Ok((0..self.depth)
            .map(|height| self.node(height, (index >> height) ^ 1))
            .collect())
    }

    fn within(&self, index: usize) -> Result<(), Refused> {
        if index < self.len() {
            return Ok(());
        }
        Err(Refused(format!(
            "leaf {index} was never set: the tree has {}",
            self.len()
        )))
    }

    fn node(&self, height: usize, index: usize) -> Fr {
        self.levels[height]
            .get(index)
            .copied()
            .unwrap_or(self.empty[height])
    }

    /// Computes again what is above the leaves `first` to `last`.
    fn update(&mut self, mut first: usize, mut last: usize) {
        for height in 0..self.depth {
            first >>= 1;
            last >>= 1;
            let parent = |index: usize| {
                let left = self.node(height, 2 * index);
                let right = self.node(height, 2 * index + 1);
                Hasher::<PoseidonHash>::hash_pair(left, right)
            };
            let parents: Vec<Fr> = if last - first < PARALLEL_FROM {
                (first..=last).map(parent).collect()
            } else {
                (first..=last).into_par_iter().map(parent).collect()
            };
            let level = &mut self.levels[height + 1];
            level.resize(level.len().max(last + 1), self.empty[height + 1]);
            level[first..=last].copy_from_slice(&parents);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerokit_utils::merkle_tree::{OptimalMerkleTree, ZerokitMerkleProof, ZerokitMerkleTree};

    fn theirs(depth: usize) -> OptimalMerkleTree<PoseidonHash> {
        <OptimalMerkleTree<PoseidonHash> as ZerokitMerkleTree>::default(depth).unwrap()
    }

    #[test]
    fn roots_and_paths_are_zerokits() {
        let (mut ours, mut peer) = (Tree::new(20).unwrap(), theirs(20));
        assert_eq!(ours.root(), peer.root());
        for batch in [1usize, 2, 5, 40] {
            let leaves: Vec<Fr> = (0..batch as u64).map(|n| Fr::from(n * n + 7)).collect();
            let first = ours.extend(&leaves).unwrap();
            peer.set_range(first, leaves.into_iter()).unwrap();
            assert_eq!(ours.root(), peer.root());
        }
        ours.set(3, Fr::from(0u64)).unwrap();
        peer.delete(3).unwrap();
        assert_eq!(ours.root(), peer.root());
        for index in 0..ours.len() {
            let path = peer.proof(index).unwrap().get_path_elements();
            assert_eq!(ours.path(index).unwrap(), path);
        }
    }

    #[test]
    fn a_full_tree_refuses_and_is_unchanged() {
        let mut tree = Tree::new(2).unwrap();
        tree.extend(&[Fr::from(1u64); 3]).unwrap();
        let root = tree.root();
        assert!(tree.extend(&[Fr::from(1u64); 2]).is_err());
        assert_eq!((tree.len(), tree.root()), (3, root));
        tree.extend(&[Fr::from(1u64)]).unwrap();
        assert!(tree.extend(&[Fr::from(1u64)]).is_err());
    }

    #[test]
    fn unset_leaves_have_no_path() {
        let mut tree = Tree::new(20).unwrap();
        assert!(tree.path(0).is_err());
        assert!(tree.set(0, Fr::from(1u64)).is_err());
        assert!(tree.leaf(usize::MAX).is_err());
        assert!(Tree::new(0).is_err());
        assert!(Tree::new(64).is_err());
    }
}
