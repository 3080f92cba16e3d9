//! Uploaded kernels and ramdisks, kept once per content.
//!
//! A file is named by its SHA-256. It stays as long as a domain's configuration holds it, or the connection that sent it;
//! after that it goes when its room is needed.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use dom0_protocol::Digest;
use sha2::{Digest as _, Sha256};

/// A file's bytes, shared by all who need them.
pub(super) type Content = Arc<Vec<u8>>;

#[derive(Debug)]
struct File {
    content: Content,
    holders: BTreeSet<u16>,
}

/// All files, and how much of them there may be.
#[derive(Debug)]
pub(super) struct Files {
    files: BTreeMap<Digest, File>,
    /// Bytes promised to uploads under way.
    reserved: usize,
    limit: usize,
}

/// There is no room for a file of this length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full {
    pub(super) available: usize,
}

impl Files {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            files: BTreeMap::new(),
            reserved: 0,
            limit,
        }
    }

    /// Bytes kept now.
    fn bytes(&self) -> usize {
        self.files.values().map(|file| file.content.len()).sum()
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Content> {
        self.files.get(digest).map(|file| Arc::clone(&file.content))
    }

    /// Holds a file for a connection, if it is there.
    pub(super) fn hold(&mut self, digest: &Digest, connection: u16) -> bool {
        let Some(file) = self.files.get_mut(digest) else {
            return false;
        };
        file.holders.insert(connection);
        true
    }

    /// Sets room aside for an upload; files that nobody needs go first.
    pub(super) fn reserve(&mut self, length: usize) -> Result<(), Full> {
        if length > self.room() {
            self.files
                .retain(|_, file| Arc::strong_count(&file.content) > 1 || !file.holders.is_empty());
        }
        let available = self.room();
        if length > available {
            return Err(Full { available });
        }
        self.reserved += length;
        Ok(())
    }

    /// Gives back what `reserve` set aside.
    pub(super) fn unreserve(&mut self, length: usize) {
        self.reserved = self.reserved.saturating_sub(length);
    }

    /// Keeps a file whose digest has been checked.
    pub(super) fn insert(&mut self, digest: Digest, bytes: Vec<u8>, connection: u16) {
        let file = self.files.entry(digest).or_insert_with(|| File {
            content: Arc::new(bytes),
            holders: BTreeSet::new(),
        });
        file.holders.insert(connection);
    }

    /// The connection is gone: it holds nothing any more.
    pub(super) fn release(&mut self, connection: u16) {
        for file in self.files.values_mut() {
            file.holders.remove(&connection);
        }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes() + self.reserved)
    }
}

/// A file on its way, hashed as it comes.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) digest: Digest,
    pub(super) length: usize,
    bytes: Vec<u8>,
    hasher: Sha256,
}

/// What a piece of a file led to.
#[derive(Debug)]
pub(super) enum Arrival {
    /// More is to come.
    Partial,
    /// All is there and is what its digest says.
    Complete(Vec<u8>),
    /// It is longer than was said, or its content is another one.
    Wrong,
}

impl Arriving {
    /// Room for a file of this length; none if memory is short.
    pub(super) fn new(digest: Digest, length: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).ok()?;
        Some(Self {
            digest,
            length,
            bytes,
            hasher: Sha256::new(),
        })
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Arrival {
        if piece.len() > self.length - self.bytes.len() {
            return Arrival::Wrong;
        }
        self.hasher.update(piece);
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() < self.length {
            return Arrival::Partial;
        }
        if <[u8; 32]>::from(self.hasher.clone().finalize()) == self.digest.0 {
            Arrival::Complete(core::mem::take(&mut self.bytes))
        } else {
            Arrival::Wrong
        }
    }
}

/// The digest of bytes that are here already.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::{Arrival, Arriving, Files, Full, digest_of};
    use alloc::vec;

    #[test]
    fn content_is_kept_once_and_goes_when_nobody_needs_it() {
        let mut files = Files::new(100);
        let digest = digest_of(&[1; 60]);
        files.reserve(60).expect("room");
        files.insert(digest, vec![1; 60], 7);
        files.unreserve(60);
        files.insert(digest, vec![1; 60], 8);
        assert_eq!(files.bytes(), 60);
        assert_eq!(
            files.reserve(60),
            Err(Full { available: 40 }),
            "held by connections"
        );
        files.release(7);
        files.release(8);
        let held = files.get(&digest).expect("still there");
        assert!(files.reserve(60).is_err(), "held by a domain");
        drop(held);
        assert_eq!(files.reserve(60), Ok(()));
        assert!(files.get(&digest).is_none());
    }

    #[test]
    fn a_file_is_taken_only_if_it_is_what_it_was_said_to_be() {
        let digest = digest_of(b"abcdef");
        let mut good = Arriving::new(digest, 6).expect("memory");
        assert!(matches!(good.push(b"abc"), Arrival::Partial));
        assert!(matches!(good.push(b"def"), Arrival::Complete(bytes) if bytes == b"abcdef"));
        let mut other = Arriving::new(digest, 6).expect("memory");
        assert!(matches!(other.push(b"abcdeX"), Arrival::Wrong));
        let mut long = Arriving::new(digest, 6).expect("memory");
        assert!(matches!(long.push(b"abcdefg"), Arrival::Wrong));
    }
}
